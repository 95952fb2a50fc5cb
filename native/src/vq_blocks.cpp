#include <algorithm>
#include <cmath>
#include <utility>

#include "bimacosr/vq.h"

namespace bimacosr {

namespace {

constexpr int kGroups = 32;
constexpr double kEpsilon = 1e-6;

}  // namespace

void VqMemory::clear() {
  for (PixelMap* map : {&x, &h, &other}) map->clear();
  scratch = {};
  scratch_beside = {};
}

Buffer<float> load_array(const VqWeights& weights, const std::string& name,
                         const std::vector<int>& shape) {
  size_t count = 1;
  for (int side : shape) count *= side;
  Buffer<float> space, kept(count);
  std::copy_n(weights(name, shape)(space), count, kept.data());
  return kept;
}

VqNorm::VqNorm(const VqWeights& weights, const std::string& name, int channels)
    : channels_(channels),
      gain_(load_array(weights, name + ".weight", {channels})),
      shift_(load_array(weights, name + ".bias", {channels})) {}

Normalization VqNorm::fold(const Moments& moments, bool silu) const {
  const int size = channels_ / kGroups;
  Normalization result;
  result.gain.assign(moments.channels, 0.0f);
  result.shift.assign(moments.channels, 0.0f);
  result.silu = silu;
  for (int group = 0; group < kGroups; group++) {
    double count = 0, sum = 0, squares = 0;
    for (size_t part = 0; part < moments.pixels.size(); part++) {
      const float* of_part = moments.part(static_cast<int>(part));
      const double pixels = moments.pixels[part];
      for (int c = group * size; c < (group + 1) * size; c++) {
        const double pivot = of_part[c], above = of_part[moments.channels + c];
        count += pixels;
        sum += pixels * pivot + above;
        squares += of_part[2 * moments.channels + c] + 2 * pivot * above + pixels * pivot * pivot;
      }
    }
    const double mean = sum / count, variance = squares / count - mean * mean;
    const double scale = 1 / std::sqrt((variance > 0 ? variance : 0) + kEpsilon);
    for (int c = group * size; c < (group + 1) * size; c++) {
      result.gain[c] = static_cast<float>(gain_[c] * scale);
      result.shift[c] = static_cast<float>(shift_[c] - mean * gain_[c] * scale);
    }
  }
  return result;
}

VqResBlock::VqResBlock(const Arithmetic& arithmetic, const VqWeights& weights,
                       const std::string& name, int inputs, int outputs)
    : norm1_(weights, name + ".norm1", inputs),
      norm2_(weights, name + ".norm2", outputs),
      conv1_(load_convolution(arithmetic, weights, name + ".conv1", Sampling::kSame, 3, outputs,
                              inputs)),
      conv2_(load_convolution(arithmetic, weights, name + ".conv2", Sampling::kSame, 3, outputs,
                              outputs)) {
  if (inputs != outputs)
    shortcut_.emplace(load_convolution(arithmetic, weights, name + ".nin_shortcut", Sampling::kSame,
                                       1, outputs, inputs));
}

void VqResBlock::run(VqMemory& memory) const {
  const Normalization first = norm1_.fold(memory.of_x, true);
  if (shortcut_)
    run_both(first, memory);
  else
    conv1_.run({&memory.x, &first, &memory.h, nullptr, &memory.of_h}, memory.pool, memory.scratch);
  const Normalization second = norm2_.fold(memory.of_h, true);
  conv2_.run({&memory.h, &second, &memory.x, &memory.x, &memory.of_x}, memory.pool, memory.scratch);
}

// The shortcut beside the first layer, so that no row of x stays longer than both need it.
void VqResBlock::run_both(const Normalization& first, VqMemory& memory) const {
  memory.h.clear();
  {
    Convolution::Run runs[] = {{conv1_,
                                {&memory.x, &first, &memory.h, nullptr, &memory.of_h},
                                memory.pool,
                                memory.scratch},
                               {*shortcut_,
                                {&memory.x, nullptr, &memory.other, nullptr, nullptr},
                                memory.pool,
                                memory.scratch_beside}};
    run_and_release(runs, memory.x);
  }
  std::swap(memory.x, memory.other);
  memory.other.clear();
}

Convolution load_convolution(const Arithmetic& arithmetic, const VqWeights& weights,
                             const std::string& name, Sampling sampling, int size, int outputs,
                             int inputs) {
  const Buffer<float> bias = load_array(weights, name + ".bias", {outputs});
  return {arithmetic, sampling, size,
          outputs,    inputs,   weights(name + ".weight", {outputs, inputs, size, size}),
          bias.data()};
}

}  // namespace bimacosr
