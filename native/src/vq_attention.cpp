#include <algorithm>
#include <cmath>
#include <cstring>

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
  query_.run({&memory.h, nullptr, &memory.query, nullptr, nullptr}, memory.pool, memory.scratch);
  key_.run({&memory.h, nullptr, &memory.key, nullptr, nullptr}, memory.pool, memory.scratch);
  value_.run({&memory.h, nullptr, &memory.value, nullptr, nullptr}, memory.pool, memory.scratch);
  pack(memory);
  memory.scores.resize(memory.pool.threads());
  const int jobs = (x.pixels() + kQueries - 1) / kQueries;
  memory.pool.run(jobs, [&](int job, int thread) {
    const int first = job * kQueries, rows = std::min(kQueries, x.pixels() - first);
    mix(first, rows, memory.scores[thread], memory);
  });
  projection_.run({&memory.query, nullptr, &memory.x, &memory.x, &memory.of_x}, memory.pool,
                  memory.scratch);
}

// Keys to panels of tokens, each channels x panel; values to panels of channels, each tokens x panel.
void VqAttention::pack(VqMemory& memory) const {
  const int tokens = memory.x.pixels(), panel = kernels_.panel;
  const int channels = static_cast<int>(memory.x.pixel_stride());
  const int token_panels = (tokens + panel - 1) / panel;
  const int channel_panels = (channels + panel - 1) / panel;
  memory.key_panels.reserve(static_cast<size_t>(token_panels) * panel * channels);
  memory.value_panels.reserve(static_cast<size_t>(channels) * tokens);
  memory.pool.run(token_panels, [&](int p, int) {
    float* to = memory.key_panels.data() + static_cast<size_t>(p) * panel * channels;
    for (int i = 0; i < panel; i++) {
      const int token = std::min(p * panel + i, tokens - 1);
      const float* from = memory.key.at(0, 0) + static_cast<size_t>(token) * channels;
      for (int c = 0; c < channels; c++) to[c * panel + i] = from[c];
    }
  });
  memory.pool.run(channel_panels, [&](int p, int) {
    const int width = std::min(panel, channels - p * panel);
    float* to = memory.value_panels.data() + static_cast<size_t>(p) * panel * tokens;
    for (int i = 0; i < tokens; i++, to += width)
      std::memcpy(to, memory.value.at(0, 0) + static_cast<size_t>(i) * channels + p * panel,
                  width * sizeof(float));
  });
}

// The mix of the values takes the place of the queries from `first` on.
void VqAttention::mix(int first, int rows, Buffer<float>& scores, VqMemory& memory) const {
  const int tokens = memory.x.pixels(), panel = kernels_.panel;
  const int channels = static_cast<int>(memory.x.pixel_stride());
  const int padded = (tokens + panel - 1) / panel * panel;
  const size_t stride = padded + 16;  // no power of two, so that rows share no cache set
  scores.reserve(kQueries * stride);
  float* query = memory.query.at(0, 0) + static_cast<size_t>(first) * channels;
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
    task.b = memory.key_panels.data() + static_cast<size_t>(p) * panel * channels;
    task.c = scores.data() + p * panel;
    kernels_.multiply(task);
  }
  for (int row = 0; row < rows; row++)
    std::fill(scores.data() + row * stride + tokens, scores.data() + row * stride + padded, -1e30f);
  const float scale = 1 / std::sqrt(static_cast<float>(memory.x.channels()));
  kernels_.softmax({scores.data(), stride, rows, padded, scale});
  task.a = scores.data();
  task.a_stride = stride;
  task.segment_length = tokens;
  task.c_stride = channels;
  for (int p = 0; p * panel < channels; p++) {
    task.width = std::min(panel, channels - p * panel);
    task.b = memory.value_panels.data() + static_cast<size_t>(p) * panel * tokens;
    task.c = query + p * panel;
    kernels_.multiply(task);
  }
}

}  // namespace bimacosr
