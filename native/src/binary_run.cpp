#include <algorithm>
#include <array>
#include <cstring>

#include "binary_frame.h"

namespace bimacosr {

namespace {

constexpr int kChunk = 128;  // pixels that a thread prepares at a time, at most

// Into how many parts to cut each of some equal jobs, at most `most`, so that all threads have work
// and end about together: of 5 jobs, one of two threads would have 2 and wait for the other. Where
// there is enough, every thread has a part of its own, which it finds in its cache again.
int parts_of_each(int jobs, int most, int threads) {
  if (most >= 4 * threads) return threads;
  int parts = 1;
  const auto idle = [&] {  // share of the threads' time
    const int all = jobs * parts, rounds = (all + threads - 1) / threads;
    return 1 - static_cast<double>(all) / (rounds * threads);
  };
  if (threads > 1)
    while (parts < most && (jobs * parts < 2 * threads || idle() > 0.1)) parts++;
  return parts;
}

// Whether the layer sees its input as it lies there, so that no copy is needed for its branches.
bool is_plain(const BinaryCall& call) {
  return call.inputs[1].channels == 0 && !call.gain && !call.shift && !call.silu;
}

}  // namespace

void BinaryLayer::prepare(const BinaryCall& call, const Frame& frame, int begin, int end,
                          Workspace& space) const {
  if (begin >= end) return;
  Timer timer(space, taps_ == 1 ? Work::kPrepare1x1 : Work::kPrepare3x3);
  const int each = (end - begin + space.pool.threads() - 1) / space.pool.threads();
  const int chunk_pixels = std::min(kChunk, round_up(each, kTile));
  const int chunks = (end - begin + chunk_pixels - 1) / chunk_pixels;
  const bool grouped = kernels_.sign_layout == SignLayout::kGroups;
  const int used = (inputs_ + kernels_.unit_channels - 1) / kernels_.unit_channels;
  space.pool.run(chunks, [&](int chunk, int) {
    PrepareTask task{};
    task.inputs[0] = call.inputs[0];
    task.inputs[1] = call.inputs[1];
    task.channels = inputs_;
    task.gain = call.gain;
    task.shift = call.shift;
    task.silu = call.silu;
    task.y = is_plain(call) || !has_branches() ? nullptr : space.y_.data();
    task.zero_is_positive = zero_is_positive_;
    task.signs = frame.signs(space.signs_[0]);
    task.negative_signs = two_signs() ? frame.signs(space.signs_[1]) : nullptr;
    task.sign_stride = frame.sign_stride;
    task.scales = frame.scales(space.scales_[1]);
    task.zeros = frame.zeros;
    task.outside = frame.outside;
    task.low_rank = rank_ ? low_rank_in_.data() : nullptr;
    task.rank = rank_;
    task.projected = space.projected_.data();
    const int first = begin + chunk * chunk_pixels, last = std::min(end, first + chunk_pixels);
    for (task.begin = first; task.begin < last; task.begin = task.end) {
      task.y_begin = frame.lap(task.begin);
      task.end = std::min(last, task.y_begin + frame.kept);
      kernels_.prepare(task);
    }
    // channels that only fill up the units must be 0, wherever a layer before left its signs
    if (grouped && used < frame.units)
      for (int p = first; p < last; p += 16)
        std::memset(task.signs + p / 16 * frame.sign_stride + used * 64, 0,
                    static_cast<size_t>(frame.units - used) * 64);
    if (taps_ == 9) place_scales(frame, first, last, space);
  });
  if (frame.shifts.empty()) return;
  // the last group of what is prepared has no right neighbour yet
  const int from = begin ? begin - 16 : -frame.margin + 16;
  const int to = end == frame.in_pixels ? end + frame.margin - 16 : end - 16;
  const int groups = (to - from) / 16, share = 64, parts = (groups + share - 1) / share;
  const int shifts = static_cast<int>(frame.shifts.size());
  space.pool.run(parts * shifts, [&](int job, int) {
    const int first = from + job / shifts * share * 16, shift = job % shifts;
    kernels_.shift_signs(frame.signs(space.signs_[0]), frame.signs(space.shifted_[shift]),
                         frame.sign_stride, frame.units, frame.shifts[shift], first,
                         std::min(to, first + share * 16));
  });
}

// What a tap of the left or right column must not read, since it lies in another row, has scale 0
// for it; so has what lies between rows and after the last.
void BinaryLayer::place_scales(const Frame& frame, int begin, int end, Workspace& space) const {
  float* middle = frame.scales(space.scales_[1]);
  float* left = frame.scales(space.scales_[0]);
  float* right = frame.scales(space.scales_[2]);
  const Shape& shape = frame.shape;
  const int pixels = shape.pixels();
  for (int p = begin; p < end;) {
    const int in_phase = p % frame.period, x = in_phase % shape.row;
    const int count = std::min({end - p, shape.row - x, frame.period - in_phase});
    const int seen = in_phase < pixels ? std::clamp(shape.width - x, 0, count) : 0;
    std::fill_n(middle + p + seen, count - seen, 0.0f);
    std::copy_n(middle + p, count, left + p);
    std::copy_n(middle + p, count, right + p);
    if (x == 0) right[p] = 0;
    if (shape.width - 1 >= x && shape.width - 1 < x + count) left[p + shape.width - 1 - x] = 0;
    p += count;
  }
}

// All that does not change from block to block and strip to strip.
EpilogueTask BinaryLayer::epilogue_of(const BinaryCall& call, const Frame& frame,
                                      Workspace& space) const {
  EpilogueTask rest{};
  rest.bias = bias_.empty() ? nullptr : bias_.data();
  rest.rprelu = rprelu_.empty() ? nullptr : rprelu_.data();
  rest.x = is_plain(call) ? call.inputs[0]
                          : MapView{space.y_.data(), static_cast<size_t>(inputs_) * kTile, inputs_};
  if (!sparse_start_.empty()) {
    rest.sparse_start = sparse_start_.data();
    rest.sparse = sparse_.data();
  }
  rest.low_rank = rank_ ? low_rank_out_.data() : nullptr;
  rest.rank = rank_;
  rest.projected = space.projected_.data();
  rest.prelu = call.prelu;
  rest.gain = call.output_gain;
  rest.residual = call.residual;
  rest.gelu = call.gelu;
  rest.moments = call.moments;
  rest.moments_channels = outputs_;
  rest.row = frame.shape.row;
  rest.width = frame.shape.width;
  rest.pixels = frame.shape.pixels();
  return rest;
}

void BinaryLayer::multiply(const BinaryCall& call, const Frame& frame, int begin, int end,
                           const Target& out, Workspace& space) const {
  Timer timer(space, multiplies());
  const bool grouped = kernels_.sign_layout == SignLayout::kGroups;
  std::array<Tap, 18> taps;
  for (int pass = 0; pass < (two_signs() ? 2 : 1); pass++)
    for (int t = 0; t < taps_; t++) {
      const Frame::Place& place = frame.places[t];
      Tap& tap = taps[pass * taps_ + t];
      Buffer<uint8_t>& signs =
          place.shifted < 0 ? space.signs_[pass] : space.shifted_[place.shifted];
      tap.signs = frame.signs(signs) +
                  (grouped ? place.aligned / 16 * static_cast<ptrdiff_t>(frame.sign_stride)
                           : place.aligned);
      tap.scales = frame.scales(space.scales_[1 + place.dx]) + place.offset;
      tap.weight = t;
    }
  const int blocks = this->blocks();
  const int gemm_pixels = kernels_.gemm_pixels;
  const int most = (end - begin + gemm_pixels - 1) / gemm_pixels;
  const int threads = space.pool.threads();
  const int cuts = parts_of_each(blocks, most, threads);
  const int share = round_up((end - begin + cuts - 1) / cuts, gemm_pixels);
  const int parts = (end - begin + share - 1) / share;
  // where signs are rearranged for all blocks, a job has many
  const bool keeps = kernels_.sign_scratch_bytes;
  const int each = keeps ? (blocks * parts + threads - 1) / threads : 1;
  const int in_group = std::min(blocks, each), groups = (blocks + in_group - 1) / in_group;
  space.pool.run(groups * parts, [&](int job, int thread) {
    const int first_block = job % groups * in_group, first = begin + job / groups * share;
    const int last = std::min(end, first + share);
    const int last_block = std::min(blocks, first_block + in_group);
    BinaryGemmTask gemm{};
    gemm.taps = taps.data();
    gemm.sign_stride = frame.sign_stride;
    gemm.channels = inputs_;
    gemm.layer_taps = taps_;
    gemm.sums = space.sums_[thread].data();
    gemm.sums_stride = gemm_pixels + kSumsGap;
    gemm.scratch = space.scratch_[thread].data();
    gemm.sign_scratch = space.sign_scratch_[thread].data();
    EpilogueTask rest = epilogue_of(call, frame, space);
    rest.sums = gemm.sums;
    rest.sums_stride = gemm.sums_stride;
    rest.out = out.data;
    rest.out_tile_stride = out.tile_stride;
    for (int p = first, next; p < last; p = next) {
      const bool two_passes = frame.sees_zero(p);
      const int limit = std::min(last, p + gemm_pixels - (p - first) % gemm_pixels);
      for (next = p + kTile; next < limit && frame.sees_zero(next) == two_passes;) next += kTile;
      gemm.begin = rest.begin = p;
      gemm.end = rest.end = next;
      gemm.tap_count = two_passes ? 2 * taps_ : taps_;
      rest.scale = (two_passes ? half_scale_ : scale_).data();
      if (!is_plain(call)) rest.x_begin = frame.lap(p);
      gemm.new_signs = true;
      for (int block = first_block; block < last_block; block++) {
        rest.first = block * kernels_.gemm_channels;
        rest.count = gemm.rows = std::min(kernels_.gemm_channels, outputs_ - rest.first);
        gemm.weights = weights_.data() + block * block_bytes_;
        gemm.new_weights = p == first;
        gemm.lists = frame.lists ? frame.lists + block * list_bytes() : nullptr;
        kernels_.binary_gemm(gemm);
        gemm.new_signs = false;
        kernels_.epilogue(rest);
      }
    }
  });
}

}  // namespace bimacosr
