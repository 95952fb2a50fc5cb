#include <algorithm>
#include <cmath>
#include <limits>

#include "signs.h"
#include "suites.h"

namespace bimacosr::tests {
namespace {

struct Shape {
  int channels, rows, side;  // input channels, output channels, of the window (3 or 1)
  int width, height;
};

enum class Values {
  kRandom,   // with some zeros
  kUniform,  // all channels of a pixel and of a row of weights alike: the largest dot products
};

// A binary layer over a random map, its input as the kernels see it and as it is.
class Layer {
 public:
  Layer(const Kernels& kernels, const Shape& shape, Values values, bool zero_is_positive,
        Random* random)
      : kernels_(kernels),
        shape_(shape),
        row_(round_up(shape.width, 16)),
        pixels_(round_up(row_ * shape.height, kTile)),
        taps_(shape.side * shape.side),
        zero_is_positive_(zero_is_positive),
        x_(shape.channels, pixels_),
        y_(shape.channels, pixels_),
        signs_(kernels, shape.channels, row_, pixels_),
        negative_(kernels, shape.channels, row_, pixels_) {
    weights_.resize(static_cast<size_t>(shape.rows) * taps_ * shape.channels);
    if (values == Values::kRandom)
      fill_randomly(random);
    else
      fill_uniformly();
    prepare();
  }

  // The sums for the tap scales given, one per pixel and tap, from the kernels.
  // listed: where weights can be listed first, they are
  std::vector<float> sums(const std::vector<float>& scales, int at_a_time, bool listed = true);
  // The same, one multiplication at a time.
  double naive_sum(int n, int p, const std::vector<float>& scales) const;

  // Does the tap read inside the picture?
  bool inside(int tap, int p) const {
    const int x = p % row_ + dx(tap), y = p / row_ + dy(tap);
    return x >= 0 && x < shape_.width && y >= 0 && y < shape_.height && p % row_ < shape_.width;
  }
  int pixels() const { return pixels_; }
  int taps() const { return taps_; }
  int rows() const { return shape_.rows; }
  bool gaps_kept() const { return gaps_kept_; }

 private:
  void fill_randomly(Random* random);
  void fill_uniformly();
  void prepare();
  Array<uint8_t> pack() const;
  int dx(int tap) const { return tap % shape_.side - shape_.side / 2; }
  int dy(int tap) const { return tap / shape_.side - shape_.side / 2; }
  // Are there two planes of bits because zeros have no sign?
  bool two_planes() const { return !kernels_.zero_is_exact && !zero_is_positive_; }
  int8_t weight(int n, int tap, int c) const {
    return weights_[(static_cast<size_t>(n) * taps_ + tap) * shape_.channels + c];
  }

  const Kernels& kernels_;
  const Shape shape_;
  const int row_, pixels_, taps_;
  const bool zero_is_positive_;
  Map x_, y_;
  Signs signs_, negative_;
  std::vector<int8_t> weights_;
  bool gaps_kept_ = true;
};

void Layer::fill_randomly(Random* random) {
  random->fill(&x_, -1.0f, 1.0f);
  for (int c = 0; c < shape_.channels; c++)
    for (int p = 0; p < pixels_; p++)
      if (random->below(16) == 0) x_.at(c, p) = random->below(2) ? 0.0f : -0.0f;
  for (int8_t& weight : weights_) weight = static_cast<int8_t>(2 * random->below(2) - 1);
}

void Layer::fill_uniformly() {
  for (int c = 0; c < shape_.channels; c++)
    for (int p = 0; p < pixels_; p++) x_.at(c, p) = p % 3 ? 1.0f : -1.0f;
  for (size_t i = 0; i < weights_.size(); i++)
    weights_[i] = i / (shape_.channels * static_cast<size_t>(taps_)) % 2 ? 1 : -1;
}

void Layer::prepare() {
  Array<float> scales(static_cast<size_t>(pixels_));
  PrepareTask task{};
  task.inputs[0] = x_.view();
  task.inputs[1] = {x_.data(), 0, 0};
  task.channels = shape_.channels;
  task.y = y_.data();
  task.zero_is_positive = zero_is_positive_;
  task.signs = signs_.origin();
  task.negative_signs = two_planes() ? negative_.origin() : nullptr;
  task.sign_stride = signs_.stride();
  task.scales = scales.data();
  task.end = pixels_;
  kernels_.prepare(task);
}

// The file's words of rows from `first` on.
std::vector<uint64_t> words_of(const std::vector<int8_t>& weights, int channels) {
  const size_t words_a_tap = static_cast<size_t>(channels + 63) / 64;
  std::vector<uint64_t> words(weights.size() / channels * words_a_tap);
  for (size_t i = 0; i < weights.size(); i++)
    if (weights[i] > 0) {
      const size_t c = i % channels;
      words[i / channels * words_a_tap + c / 64] |= uint64_t{1} << (c % 64);
    }
  return words;
}

Array<uint8_t> Layer::pack() const {
  const std::vector<uint64_t> words = words_of(weights_, shape_.channels);
  const size_t words_a_row = words.size() / shape_.rows;
  const size_t block = kernels_.weight_bytes(shape_.channels, taps_);
  const int blocks = (shape_.rows + kernels_.gemm_channels - 1) / kernels_.gemm_channels;
  Array<uint8_t> packed(blocks * block);
  for (int b = 0; b < blocks; b++) {
    const int first = b * kernels_.gemm_channels;
    kernels_.pack_weights(words.data() + first * words_a_row,
                          std::min(kernels_.gemm_channels, shape_.rows - first), shape_.channels,
                          taps_, packed.data() + b * block);
  }
  return packed;
}

std::vector<float> Layer::sums(const std::vector<float>& scales, int at_a_time, bool listed) {
  constexpr float kUntouched = std::numeric_limits<float>::infinity();
  const Array<uint8_t> packed = pack();
  const size_t block = kernels_.weight_bytes(shape_.channels, taps_);
  // a half for each of two planes
  std::vector<Array<float>> tap_scales;
  std::vector<Tap> taps;
  const float share = two_planes() ? 0.5f : 1.0f;
  for (int t = 0; t < taps_; t++) {
    tap_scales.emplace_back(static_cast<size_t>(pixels_));
    for (int p = 0; p < pixels_; p++)
      tap_scales[t][p] = share * scales[static_cast<size_t>(t) * pixels_ + p];
  }
  for (int plane = 0; plane < (two_planes() ? 2 : 1); plane++)
    for (int t = 0; t < taps_; t++) {
      Signs& signs = plane ? negative_ : signs_;
      taps.push_back({signs.tap(dy(t), dx(t)), tap_scales[t].data(), t});
    }
  const int blocks = (shape_.rows + kernels_.gemm_channels - 1) / kernels_.gemm_channels;
  Array<uint8_t> scratch(kernels_.scratch_bytes(shape_.channels, taps_));
  const size_t list_bytes = listed && kernels_.list_bytes
                                ? (kernels_.list_bytes(shape_.channels, taps_) + 63) / 64 * 64
                                : 0;
  Array<uint8_t> lists(blocks * list_bytes);
  if (list_bytes)
    for (int b = 0; b < blocks; b++)
      kernels_.list_weights(packed.data() + b * block, shape_.channels, taps_,
                            lists.data() + b * list_bytes);
  Array<uint8_t> sign_scratch(
      kernels_.sign_scratch_bytes
          ? kernels_.sign_scratch_bytes(shape_.channels, static_cast<int>(taps.size()))
          : 0);
  const int stride = kernels_.gemm_pixels + 16;
  Array<float> out(static_cast<size_t>(kernels_.gemm_channels) * stride);
  std::vector<float> all(static_cast<size_t>(shape_.rows) * pixels_);
  for (int p = 0; p < pixels_; p += at_a_time)
    for (int b = 0; b < blocks; b++) {
      const int end = std::min(pixels_, p + at_a_time), first = b * kernels_.gemm_channels;
      std::fill_n(out.data(), out.size(), kUntouched);
      kernels_.binary_gemm(
          {taps.data(), static_cast<int>(taps.size()), signs_.stride(), shape_.channels,
           packed.data() + b * block, taps_, std::min(kernels_.gemm_channels, shape_.rows - first),
           list_bytes ? lists.data() + b * list_bytes : nullptr, true, b == 0, p, end, out.data(),
           static_cast<size_t>(stride), scratch.data(), sign_scratch.data()});
      for (int n = 0; n < kernels_.gemm_channels; n++) {
        for (int q = end - p; q < stride; q++) gaps_kept_ &= out[n * stride + q] == kUntouched;
        if (first + n < shape_.rows)
          std::copy_n(out.data() + n * stride, end - p,
                      all.data() + static_cast<size_t>(first + n) * pixels_ + p);
      }
    }
  return all;
}

double Layer::naive_sum(int n, int p, const std::vector<float>& scales) const {
  double sum = 0;
  for (int t = 0; t < taps_; t++) {
    if (!inside(t, p)) continue;
    const int from = p + dy(t) * row_ + dx(t);
    int dot = 0;
    for (int c = 0; c < shape_.channels; c++) {
      const float x = x_.at(c, from);
      dot += weight(n, t, c) * (x > 0 || (x == 0 && zero_is_positive_) ? 1 : x < 0 ? -1 : 0);
    }
    sum += static_cast<double>(scales[static_cast<size_t>(t) * pixels_ + p]) * dot;
  }
  return sum;
}

// Scales from `low` to `high`, and 0 where a tap leaves the picture.
std::vector<float> tap_scales(const Layer& layer, float low, float high, Random* random) {
  std::vector<float> scales(static_cast<size_t>(layer.taps()) * layer.pixels());
  for (int t = 0; t < layer.taps(); t++)
    for (int p = 0; p < layer.pixels(); p++)
      if (layer.inside(t, p))
        scales[static_cast<size_t>(t) * layer.pixels() + p] = random->between(low, high);
  return scales;
}

void compare(const Kernels& kernels, const Shape& shape, Layer* layer,
             const std::vector<float>& scales, double tolerance, const std::string& test,
             Report* report) {
  const std::vector<float> sums = layer->sums(scales, kernels.gemm_pixels);
  for (int n = 0; n < shape.rows; n++)
    for (int p = 0; p < layer->pixels(); p++)
      report->check_near(sums[static_cast<size_t>(n) * layer->pixels() + p],
                         layer->naive_sum(n, p, scales), tolerance, test,
                         "row " + std::to_string(n) + ", pixel " + std::to_string(p));
  report->check(layer->gaps_kept(), test, "wrote beyond the pixels asked for");
  for (int fewer = kTile; fewer < kernels.gemm_pixels; fewer *= 2)
    report->check(layer->sums(scales, fewer) == sums, test,
                  "other sums " + std::to_string(fewer) + " pixels at a time");
  report->check(layer->sums(scales, kernels.gemm_pixels, false) == sums, test,
                "other sums where weights are not listed");
}

constexpr Shape kShapes[] = {
    {1, 3, 3, 16, 4},           {3, 1, 3, 9, 7},     {8, 5, 1, 40, 5},
    {51, 7, 3, 21, 14},         {64, 33, 1, 64, 2},  {70, 4, 3, 33, 5},
    {160, 6, 3, 20, 14},        {193, 2, 3, 16, 9},  {248, 3, 1, 16, 4},
    {249, 3, 1, 16, 4},         {252, 3, 3, 16, 4},  {253, 3, 1, 16, 4},
    {160, 35, 3, 32, 20},       {510, 3, 3, 64, 10}, {700, 6, 3, 32, 12},
    {301, 5, 3, 16, 16},        {1290, 5, 1, 64, 8}, {320, 37, 3, 17, 4},
    {700, 3, 1, 50, 7},         {1280, 3, 3, 8, 8},  {1280, 2, 1, 30, 3},
    {kMostInputs, 5, 1, 16, 9},
};

}  // namespace

void test_binary_gemm(const Kernels& kernels, Report* report) {
  Random random(1);
  for (const Shape& shape : kShapes)
    for (bool zero_is_positive : {false, true}) {
      Layer layer(kernels, shape, Values::kRandom, zero_is_positive, &random);
      const std::string test = "binary_gemm " + std::to_string(shape.channels) + " -> " +
                               std::to_string(shape.rows) + ", " + std::to_string(layer.taps()) +
                               " taps, " + (zero_is_positive ? "0 is +1" : "0 is 0");
      // integers below 2^24: equal to the last bit
      compare(kernels, shape, &layer, tap_scales(layer, 1.0f, 1.0f, &random), 0.0, test, report);
      // the largest sums have the size of sqrt(taps * channels)
      const double size = std::sqrt(static_cast<double>(layer.taps()) * shape.channels);
      compare(kernels, shape, &layer, tap_scales(layer, 0.1f, 1.0f, &random), 1e-5 * size,
              test + ", scaled", report);
      Layer uniform(kernels, shape, Values::kUniform, zero_is_positive, &random);
      compare(kernels, shape, &uniform, tap_scales(uniform, 1.0f, 1.0f, &random), 0.0,
              test + ", uniform", report);
    }
}

}  // namespace bimacosr::tests
