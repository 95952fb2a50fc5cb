#include "timers.h"

#include <algorithm>
#include <random>

namespace bimacosr::bench {
namespace {

int round_up(int value, int to) { return (value + to - 1) / to * to; }

// As BinaryLayer does: pixels that all blocks of output channels work on before the next ones.
constexpr int kStrip = 1024;

void fill_at_random(Map& map) {
  std::minstd_rand random(1);
  std::uniform_real_distribution<float> value(-1.0f, 1.0f);
  for (size_t i = 0; i < map.shape().tiles() * map.tile_stride(); i++)
    map.data()[i] = value(random);
}

}  // namespace

LayerTimer::LayerTimer(std::shared_ptr<const BinaryLayer> layer, int height, int width, int threads)
    : layer_(std::move(layer)), pool_(threads), space_(pool_) {
  const Shape shape = Shape::tight(height, width);
  in_.reshape(layer_->inputs(), shape);
  out_.reshape(layer_->outputs(), shape);
  fill_at_random(in_);
  call_.inputs[0] = in_.view();
}

void LayerTimer::run() { layer_->run(call_, out_, space_); }

PairTimer::PairTimer(std::shared_ptr<const BinaryLayer> first,
                     std::shared_ptr<const BinaryLayer> second, bool gelu, int pixels, int threads)
    : first_(std::move(first)), second_(std::move(second)), gelu_(gelu), memory_(threads) {
  const Shape shape{1, pixels, round_up(pixels, kTile)};
  in_.reshape(first_->inputs(), shape);
  out_.reshape(second_->outputs(), shape);
  fill_at_random(in_);
}

void PairTimer::run() {
  const int tiles = in_.shape().tiles();
  const int each = strip_tiles(first_->kernels(), tiles, memory_.pool.threads());
  const int strips = (tiles + each - 1) / each;
  const uint8_t* lists[2];
  for (int i = 0; i < 2; i++)
    lists[i] = (i ? second_ : first_)->list_weights(tiles * kTile, memory_.space, memory_.lists[i]);
  const auto strip = [&](int i, UnetMemory::Worker& worker) {
    run_strip(i * each, std::min(each, tiles - i * each), lists, worker);
  };
  if (strips < memory_.pool.threads())
    for (int i = 0; i < strips; i++) strip(i, memory_.all);
  else
    memory_.pool.run(strips, [&](int i, int thread) { strip(i, *memory_.workers[thread]); });
}

void PairTimer::run_strip(int first_tile, int tiles, const uint8_t* const* lists,
                          UnetMemory::Worker& worker) {
  const Shape& all = in_.shape();
  const int begin = first_tile * kTile;
  const Shape strip{1, std::min(tiles * kTile, all.width - begin), tiles * kTile};
  const auto part = [&](float* data, int channels, int tile) {
    const size_t stride = static_cast<size_t>(channels) * kTile;
    return Target{data + tile * stride, stride, strip};
  };
  const int between = first_->outputs(), taken = second_->inputs();
  worker.hidden.reserve(static_cast<size_t>(tiles) * between * kTile);
  const Target from = part(in_.data(), first_->inputs(), first_tile);
  const Target hidden = part(worker.hidden.data(), between, 0);
  BinaryCall in;
  in.inputs[0] = {from.data, from.tile_stride, first_->inputs()};
  in.gelu = gelu_;
  in.lists = lists[0];
  first_->run(in, hidden, worker.space);
  BinaryCall out;
  out.inputs[0] = {hidden.data + (between - taken) * kTile, hidden.tile_stride, taken};
  out.lists = lists[1];
  second_->run(out, part(out_.data(), second_->outputs(), first_tile), worker.space);
}

GemmTimer::GemmTimer(const Kernels& kernels, int outputs, int inputs, int taps, int height,
                     int width)
    : kernels_(kernels),
      inputs_(inputs),
      layer_taps_(taps),
      blocks_((outputs + kernels.gemm_channels - 1) / kernels.gemm_channels) {
  const Shape shape = Shape::tight(height, width);
  pixels_ = shape.tiles() * kTile;
  const int margin = taps == 1 ? 0 : round_up(shape.row + 32, kTile);
  const int span = pixels_ + 2 * margin;
  const int units =
      round_up((inputs + kernels.unit_channels - 1) / kernels.unit_channels, kernels.unit_multiple);
  const bool grouped = kernels.sign_layout == SignLayout::kGroups;
  // an odd number of cache lines from plane to plane, as in a layer
  sign_stride_ = grouped ? static_cast<size_t>(units) * 64 : static_cast<size_t>(span) | 64;
  const size_t sign_bytes = sign_stride_ * (grouped ? span / 16 : units);
  std::minstd_rand random(2);
  const auto some_bits = [&] { return static_cast<uint64_t>(random()); };
  signs_.reserve(sign_bytes);
  for (size_t i = 0; i < sign_bytes; i++) {
    const auto drawn = static_cast<uint8_t>(random() >> 8);
    signs_[i] = grouped ? (drawn & 1 ? 0x01 : 0xff)
                        : static_cast<uint8_t>(drawn & ((1 << kernels.unit_channels) - 1));
  }
  scales_.reserve(span);
  std::fill_n(scales_.data(), span, 1.0f);
  std::vector<uint64_t> words(static_cast<size_t>(kernels.gemm_channels) * taps *
                              ((inputs + 63) / 64));
  block_bytes_ = round_up(static_cast<int>(kernels.weight_bytes(inputs, taps)), 64);
  weights_.reserve(blocks_ * block_bytes_);
  for (int b = 0; b < blocks_; b++) {
    for (uint64_t& word : words) word = some_bits() << 40 ^ some_bits() << 20 ^ some_bits();
    kernels.pack_weights(words.data(), kernels.gemm_channels, inputs, taps,
                         weights_.data() + b * block_bytes_);
  }
  scratch_.reserve(kernels.scratch_bytes(inputs, taps));
  if (kernels.sign_scratch_bytes) sign_scratch_.reserve(kernels.sign_scratch_bytes(inputs, taps));
  if (kernels.list_bytes && pixels_ >= BinaryLayer::kLeastListed)
    list_bytes_ = round_up(static_cast<int>(kernels.list_bytes(inputs, taps)), 64);
  lists_.reserve(blocks_ * list_bytes_);
  sums_.reserve(static_cast<size_t>(kernels.gemm_channels) * kernels.gemm_pixels);
  for (int t = 0; t < taps; t++) {
    const int dy = taps == 9 ? t / 3 - 1 : 0, dx = taps == 9 ? t % 3 - 1 : 0;
    const int offset = margin + dy * shape.row;
    // where taps must start at multiples of 16, a layer reads shifted copies: as many bytes
    const uint8_t* signs =
        grouped ? signs_.data() + offset / 16 * sign_stride_ : signs_.data() + offset + dx;
    taps_.push_back({signs, scales_.data() + offset + dx, t});
  }
}

void GemmTimer::run() {
  BinaryGemmTask task{};
  task.taps = taps_.data();
  task.tap_count = static_cast<int>(taps_.size());
  task.sign_stride = sign_stride_;
  task.channels = inputs_;
  task.layer_taps = layer_taps_;
  task.sums = sums_.data();
  task.sums_stride = kernels_.gemm_pixels;
  task.sign_scratch = sign_scratch_.data();
  task.scratch = scratch_.data();
  task.rows = kernels_.gemm_channels;
  const auto multiply = [&](int block, int begin, bool new_weights, bool new_signs) {
    task.begin = begin;
    task.end = std::min(pixels_, begin + kernels_.gemm_pixels);
    task.weights = weights_.data() + block * block_bytes_;
    task.lists = list_bytes_ ? lists_.data() + block * list_bytes_ : nullptr;
    task.new_weights = new_weights;
    task.new_signs = new_signs;
    kernels_.binary_gemm(task);
  };
  if (kernels_.sign_scratch_bytes) {
    if (list_bytes_)
      for (int b = 0; b < blocks_; b++)
        kernels_.list_weights(weights_.data() + b * block_bytes_, inputs_, layer_taps_,
                              lists_.data() + b * list_bytes_);
    for (int begin = 0; begin < pixels_; begin += kernels_.gemm_pixels)
      for (int b = 0; b < blocks_; b++) multiply(b, begin, begin == 0, b == 0);
    return;
  }
  for (int strip = 0; strip < pixels_; strip += kStrip)
    for (int b = 0; b < blocks_; b++)
      for (int begin = strip; begin < std::min(pixels_, strip + kStrip);
           begin += kernels_.gemm_pixels)
        multiply(b, begin, begin == strip, true);
}

}  // namespace bimacosr::bench
