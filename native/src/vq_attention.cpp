#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "bimacosr/vq.h"

namespace bimacosr {

namespace {

constexpr int kQueries = 56;  // of a job; their scores for all keys stay in the second cache

Convolution point(const Kernels& kernels, const VqWeights& weights, const std::string& name,
                  int channels) {
  return load_convolution(kernels, weights, name, Sampling::kSame, 1, channels, channels);
}

}  // namespace

VqAttention::VqAttention(const Kernels& kernels, const VqWeights& weights, const std::string& name,
                         int channels)
    : kernels_(*kernels.conv),
      channels_(channels),
      norm_(weights, name + ".norm", channels),
      query_(point(kernels, weights, name + ".q", channels)),
      key_(point(kernels, weights, name + ".k", channels)),
      value_(point(kernels, weights, name + ".v", channels)),
      projection_(point(kernels, weights, name + ".proj_out", channels)) {}

void VqAttention::run(VqMemory& memory) const {
  const PixelMap& x = memory.x;
  const Normalization norm = norm_.fold(memory.of_x, false);
  memory.h.reshape(x.channels(), x.height(), x.width());
  memory.pool.run(x.height(), [&](int y, int) {
    kernels_.activate({x.at(y, 0), norm.gain.data(), norm.shift.data(), false,
                       static_cast<int>(x.pixel_stride()), x.width(), memory.h.at(y, 0)});
  });
  Seen seen{x.pixels(), static_cast<int>(x.pixel_stride()), {}, {}};
  PixelMap made;
  const auto project = [&](const Convolution& layer) {
    layer.run({&memory.h, nullptr, &made, nullptr, nullptr}, memory.pool, memory.scratch);
  };
  project(key_);
  seen.key_panels = pack_keys(made, memory.pool);
  project(value_);
  seen.value_panels = pack_values(made, memory.pool);
  project(query_);
  std::vector<Buffer<float>> scores(memory.pool.threads());
  memory.pool.run((seen.tokens + kQueries - 1) / kQueries, [&](int job, int thread) {
    const int first = job * kQueries, rows = std::min(kQueries, seen.tokens - first);
    mix(seen, made.at(0, 0) + static_cast<size_t>(first) * seen.channels, rows, scores[thread]);
  });
  projection_.run({&made, nullptr, &memory.x, &memory.x, &memory.of_x}, memory.pool,
                  memory.scratch);
}

Buffer<float> VqAttention::pack_keys(const PixelMap& keys, ThreadPool& pool) const {
  const int tokens = keys.pixels(), panel = kernels_.panel;
  const size_t channels = keys.pixel_stride();
  const int panels = (tokens + panel - 1) / panel;
  Buffer<float> packed;
  packed.reserve(panels * panel * channels);
  pool.run(panels, [&](int p, int) {
    float* to = packed.data() + p * panel * channels;
    for (int i = 0; i < panel; i++) {
      const int token = std::min(p * panel + i, tokens - 1);
      const float* from = keys.at(0, 0) + token * channels;
      for (size_t c = 0; c < channels; c++) to[c * panel + i] = from[c];
    }
  });
  return packed;
}

Buffer<float> VqAttention::pack_values(const PixelMap& values, ThreadPool& pool) const {
  const int tokens = values.pixels(), panel = kernels_.panel;
  const int channels = static_cast<int>(values.pixel_stride());
  Buffer<float> packed;
  packed.reserve(static_cast<size_t>(tokens) * channels);
  pool.run((channels + panel - 1) / panel, [&](int p, int) {
    const int first = p * panel, width = std::min(panel, channels - first);
    float* to = packed.data() + static_cast<size_t>(first) * tokens;
    for (int i = 0; i < tokens; i++, to += width)
      std::memcpy(to, values.at(0, 0) + static_cast<size_t>(i) * channels + first,
                  width * sizeof(float));
  });
  return packed;
}

// The mix of the values takes the place of the queries.
void VqAttention::mix(const Seen& seen, float* query, int rows, Buffer<float>& scores) const {
  const int tokens = seen.tokens, channels = seen.channels, panel = kernels_.panel;
  const int padded = (tokens + panel - 1) / panel * panel;
  const size_t stride = padded + 16;  // no power of two, so that rows share no cache set
  scores.reserve(kQueries * stride);
  const ptrdiff_t whole = 0;
  MultiplyTask task{};
  task.segments = &whole;
  task.segment_count = 1;
  task.rows = rows;
  task.a = query;
  task.a_stride = channels;
  task.segment_length = channels;
  task.width = panel;
  task.c_stride = stride;
  for (int p = 0; p < padded / panel; p++) {
    task.b = seen.key_panels.data() + static_cast<size_t>(p) * panel * channels;
    task.c = scores.data() + p * panel;
    kernels_.multiply(task);
  }
  for (int row = 0; row < rows; row++)
    std::fill(scores.data() + row * stride + tokens, scores.data() + row * stride + padded, -1e30f);
  const float scale = 1 / std::sqrt(static_cast<float>(channels_));
  kernels_.softmax({scores.data(), stride, rows, padded, scale});
  task.a = scores.data();
  task.a_stride = stride;
  task.segment_length = tokens;
  task.c_stride = channels;
  for (int p = 0; p * panel < channels; p++) {
    task.width = std::min(panel, channels - p * panel);
    task.b = seen.value_panels.data() + static_cast<size_t>(p) * panel * tokens;
    task.c = query + p * panel;
    kernels_.multiply(task);
  }
}

}  // namespace bimacosr
