#include <cmath>

#include "bimacosr/vq.h"
#include "pixel_attention.h"

namespace bimacosr {

namespace {

Convolution point(const Arithmetic& arithmetic, const VqWeights& weights, const std::string& name,
                  int channels) {
  return load_convolution(arithmetic, weights, name, Sampling::kSame, 1, channels, channels);
}

}  // namespace

VqAttention::VqAttention(const Arithmetic& arithmetic, const VqWeights& weights,
                         const std::string& name, int channels)
    : arithmetic_(arithmetic),
      channels_(channels),
      norm_(weights, name + ".norm", channels),
      query_(point(arithmetic, weights, name + ".q", channels)),
      key_(point(arithmetic, weights, name + ".k", channels)),
      value_(point(arithmetic, weights, name + ".v", channels)),
      projection_(point(arithmetic, weights, name + ".proj_out", channels)) {}

void VqAttention::run(VqMemory& memory) const {
  const PixelMap& x = memory.x;
  const Normalization norm = norm_.fold(memory.of_x, false);
  memory.h.reshape(x.channels(), x.height(), x.width());
  memory.pool.run(x.height(), [&](int y, int) {
    arithmetic_.kernels.conv->activate({x.at(y, 0), norm.gain.data(), norm.shift.data(), false,
                                        static_cast<int>(x.pixel_stride()), x.width(),
                                        memory.h.at(y, 0)});
  });
  PixelMap made;
  const auto project = [&](const Convolution& layer) {
    layer.run({&memory.h, nullptr, &made, nullptr, nullptr}, memory.pool, memory.scratch);
  };
  const auto attention = make_attention(arithmetic_);
  project(key_);
  attention->take_keys(made, memory.pool);
  project(value_);
  attention->take_values(made, memory.pool);
  project(query_);
  attention->mix(made, 1 / std::sqrt(static_cast<float>(channels_)), memory.pool);
  projection_.run({&made, nullptr, &memory.x, &memory.x, &memory.of_x}, memory.pool,
                  memory.scratch);
}

}  // namespace bimacosr
