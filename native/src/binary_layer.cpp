#include <algorithm>

#include "binary_frame.h"
#include "bimacosr/resample.h"

namespace bimacosr {

namespace {

constexpr int kLeastStrip = 256;         // pixels
constexpr int kStripFloats = 96 * 1024;  // floats of a thread's input of a strip, about

}  // namespace

BinaryLayer::BinaryLayer(const Kernels& kernels, const BinarySource& source)
    : kernels_(kernels),
      outputs_(source.outputs),
      inputs_(source.inputs),
      taps_(source.taps),
      rank_(source.rank),
      zero_is_positive_(source.zero_is_positive),
      block_bytes_((kernels.weight_bytes(source.inputs, source.taps) + 63) / 64 * 64) {
  const int block = kernels.gemm_channels;
  const size_t row_words = static_cast<size_t>(taps_) * ((inputs_ + 63) / 64);
  weights_.reserve(blocks() * block_bytes_);
  for (int b = 0; b < blocks(); b++)
    kernels.pack_weights(source.signs + b * block * row_words,
                         std::min(block, outputs_ - b * block), inputs_, taps_,
                         weights_.data() + b * block_bytes_);
  scale_.assign(source.scale, source.scale + outputs_);
  for (float scale : scale_) half_scale_.push_back(0.5f * scale);
  if (source.bias) bias_.assign(source.bias, source.bias + outputs_);
  if (source.rprelu)
    for (int n = 0; n < outputs_; n++)
      for (int i = 0; i < 3; i++) rprelu_.push_back(source.rprelu[i * outputs_ + n]);
  if (rank_) {
    low_rank_in_.assign(source.low_rank_in, source.low_rank_in + rank_ * inputs_);
    low_rank_out_.assign(source.low_rank_out, source.low_rank_out + outputs_ * rank_);
  }
  if (source.sparse_count) {
    std::vector<int> order(source.sparse_count);
    for (int i = 0; i < source.sparse_count; i++) order[i] = i;
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return std::pair(source.sparse_rows[a], source.sparse_columns[a]) <
             std::pair(source.sparse_rows[b], source.sparse_columns[b]);
    });
    sparse_start_.assign(outputs_ + 1, 0);
    for (int i : order) {
      sparse_start_[source.sparse_rows[i] + 1]++;
      sparse_.push_back({source.sparse_columns[i], source.sparse_values[i]});
    }
    for (int n = 0; n < outputs_; n++) sparse_start_[n + 1] += sparse_start_[n];
  }
}

size_t BinaryLayer::list_bytes() const {
  return (kernels_.list_bytes(inputs_, taps_) + 63) / 64 * 64;
}

const uint8_t* BinaryLayer::list_weights(int pixels, Workspace& space, Buffer<uint8_t>& to) const {
  if (!kernels_.list_weights || pixels < kLeastListed) return nullptr;
  Timer timer(space, multiplies());
  to.reserve(blocks() * list_bytes());
  space.pool.run(blocks(), [&](int block, int) {
    kernels_.list_weights(weights_.data() + block * block_bytes_, inputs_, taps_,
                          to.data() + block * list_bytes());
  });
  return to.data();
}

BinaryLayer::Frame BinaryLayer::frame_of(const Shape& shape) const {
  Frame frame{};
  frame.shape = shape;
  frame.in_pixels = frame.out_pixels = frame.period = shape.tiles() * kTile;
  frame.kept = frame.in_pixels;
  frame.margin = frame.reach = taps_ == 1 ? 0 : round_up(shape.row + 32, kTile);
  for (int t = 0; t < taps_; t++) {
    const int dy = taps_ == 9 ? t / 3 - 1 : 0, dx = taps_ == 9 ? t % 3 - 1 : 0;
    frame.places.push_back({dy * shape.row + dx, dx, -1, 0});
  }
  return frame;
}

void BinaryLayer::run(const BinaryCall& call, const Target& out, Workspace& space) const {
  Frame frame = frame_of(out.shape);
  // signs are made and used while they and the floats they come from are near
  const int step = std::max(kLeastStrip, kernels_.gemm_pixels);
  const int strip = space.pool.threads() * std::max(step, round_up(kStripFloats / inputs_, step));
  frame.kept = std::min(frame.kept, round_up(strip + frame.reach, step));
  reserve(call, frame, space);
  int prepared = 0;
  for (int begin = 0; begin < frame.out_pixels; begin += strip) {
    const int end = std::min(frame.out_pixels, begin + strip);
    const int needed = std::min(frame.in_pixels, end + frame.reach);
    prepare(call, frame, prepared, needed, space);
    prepared = needed;
    multiply(call, frame, begin, end, out, space);
  }
}

void BinaryLayer::run_half(const BinaryCall& call, const Target& out, Workspace& space) const {
  Frame frame = frame_of(out.shape);
  frame.period = phase_pixels(out.shape);
  frame.in_pixels = frame.kept = 4 * frame.period;
  // row 2y - 1 is row y - 1 of the odd rows; columns alike
  for (int t = 0; t < taps_; t++) {
    const int dy = t / 3 - 1, dx = t % 3 - 1;
    const int phase = (dy != 0 ? 2 : 0) + (dx != 0 ? 1 : 0);
    const int row = dy < 0 ? -1 : 0, column = dx < 0 ? -1 : 0;
    frame.places[t] = {phase * frame.period + row * out.shape.row + column, column, -1, 0};
  }
  frame.reach = frame.in_pixels;
  reserve(call, frame, space);
  prepare(call, frame, 0, frame.in_pixels, space);
  multiply(call, frame, 0, frame.out_pixels, out, space);
}

// Where a map's pixels are only padding; null if nowhere.
const float* BinaryLayer::mark_outside(const Frame& frame, Workspace& space) const {
  const Shape& shape = frame.shape;
  if (shape.width == shape.row && frame.period == shape.pixels()) return nullptr;
  space.outside_.reserve(frame.in_pixels);
  float* outside = space.outside_.data();
  std::fill_n(outside, frame.in_pixels, 1.0f);
  for (int phase = 0; phase < frame.in_pixels; phase += frame.period)
    for (int y = 0; y < shape.height; y++)
      std::fill_n(outside + phase + y * shape.row, shape.width, 0.0f);
  return outside;
}

void BinaryLayer::reserve(const BinaryCall& call, Frame& frame, Workspace& space) const {
  const bool grouped = kernels_.sign_layout == SignLayout::kGroups;
  frame.units = round_up((inputs_ + kernels_.unit_channels - 1) / kernels_.unit_channels,
                         kernels_.unit_multiple);
  const size_t span = frame.in_pixels + 2 * frame.margin;
  if (grouped) {
    frame.sign_stride = static_cast<size_t>(frame.units) * 64;
    frame.sign_bytes = frame.sign_stride * (span / 16);
    frame.sign_origin = frame.sign_stride * (frame.margin / 16);
    for (Frame::Place& place : frame.places) {
      const int shift = static_cast<int>(((place.offset + 1) % 16 + 16) % 16) - 1;
      place.aligned = place.offset - shift;
      if (shift == 0) continue;
      const auto found = std::find(frame.shifts.begin(), frame.shifts.end(), shift);
      place.shifted = static_cast<int>(found - frame.shifts.begin());
      if (found == frame.shifts.end()) frame.shifts.push_back(shift);
    }
  } else {
    frame.sign_stride = span | 64;  // an odd number of cache lines, since span is a multiple of 64
    frame.sign_bytes = frame.sign_stride * frame.units;
    frame.sign_origin = frame.margin;
    for (Frame::Place& place : frame.places) place.aligned = place.offset;
  }
  space.signs_[0].reserve(frame.sign_bytes);
  if (two_signs()) {
    space.signs_[1].reserve(frame.sign_bytes);
    space.zeros_.reserve(frame.in_pixels / kTile);
    frame.zeros = space.zeros_.data();
    frame.outside = mark_outside(frame, space);
  }
  space.shifted_.resize(std::max(space.shifted_.size(), frame.shifts.size()));
  for (size_t i = 0; i < frame.shifts.size(); i++) space.shifted_[i].reserve(frame.sign_bytes);
  for (Buffer<float>& scales : space.scales_) {
    scales.reserve(span);
    std::fill_n(scales.data(), frame.margin, 0.0f);
    std::fill_n(scales.data() + frame.margin + frame.in_pixels, frame.margin, 0.0f);
  }
  space.y_.reserve(static_cast<size_t>(frame.kept) * inputs_);
  space.projected_.reserve(static_cast<size_t>(frame.in_pixels) * rank_);
  space.sums_.resize(space.pool.threads());
  space.scratch_.resize(space.pool.threads());
  space.sign_scratch_.resize(space.pool.threads());
  for (int i = 0; i < space.pool.threads(); i++) {
    space.sums_[i].reserve(static_cast<size_t>(kernels_.gemm_channels) *
                           (kernels_.gemm_pixels + kSumsGap));
    space.scratch_[i].reserve(kernels_.scratch_bytes(inputs_, taps_));
    if (kernels_.sign_scratch_bytes)
      space.sign_scratch_[i].reserve(kernels_.sign_scratch_bytes(inputs_, 2 * taps_));
  }
  frame.lists = call.lists ? call.lists : list_weights(frame.out_pixels, space, space.lists_);
}

}  // namespace bimacosr
