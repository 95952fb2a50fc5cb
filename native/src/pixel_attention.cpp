#include "pixel_attention.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "bimacosr/buffer.h"

namespace bimacosr {

namespace {

constexpr int kQueries = 56;  // of a job; their scores for all keys stay in the second cache

class FloatAttention : public PixelAttention {
 public:
  explicit FloatAttention(const ConvKernels& kernels) : kernels_(kernels) {}
  void take_keys(const PixelMap& keys, ThreadPool& pool) override;
  void take_values(const PixelMap& values, ThreadPool& pool) override;
  void mix(PixelMap& queries, float scale, ThreadPool& pool) const override;

 private:
  void mix_some(float* query, int rows, float scale, Buffer<float>& scores) const;

  const ConvKernels& kernels_;
  int tokens_ = 0, channels_ = 0;  // channels filled up
  Buffer<float> key_panels_;       // panels of tokens, each channels x panel
  Buffer<float> value_panels_;     // panels of channels, each tokens x panel
};

void FloatAttention::take_keys(const PixelMap& keys, ThreadPool& pool) {
  tokens_ = keys.pixels();
  channels_ = static_cast<int>(keys.pixel_stride());
  const int panel = kernels_.panel, panels = (tokens_ + panel - 1) / panel;
  const size_t channels = channels_;
  key_panels_.reserve(panels * panel * channels);
  pool.run(panels, [&](int p, int) {
    float* to = key_panels_.data() + p * panel * channels;
    for (int i = 0; i < panel; i++) {
      const int token = std::min(p * panel + i, tokens_ - 1);
      const float* from = keys.at(0, 0) + token * channels;
      for (size_t c = 0; c < channels; c++) to[c * panel + i] = from[c];
    }
  });
}

void FloatAttention::take_values(const PixelMap& values, ThreadPool& pool) {
  const int panel = kernels_.panel;
  value_panels_.reserve(static_cast<size_t>(tokens_) * channels_);
  pool.run((channels_ + panel - 1) / panel, [&](int p, int) {
    const int first = p * panel, width = std::min(panel, channels_ - first);
    float* to = value_panels_.data() + static_cast<size_t>(first) * tokens_;
    for (int i = 0; i < tokens_; i++, to += width)
      std::memcpy(to, values.at(0, 0) + static_cast<size_t>(i) * channels_ + first,
                  width * sizeof(float));
  });
}

void FloatAttention::mix(PixelMap& queries, float scale, ThreadPool& pool) const {
  std::vector<Buffer<float>> scores(pool.threads());
  pool.run((tokens_ + kQueries - 1) / kQueries, [&](int job, int thread) {
    const int first = job * kQueries, rows = std::min(kQueries, tokens_ - first);
    mix_some(queries.at(0, 0) + static_cast<size_t>(first) * channels_, rows, scale,
             scores[thread]);
  });
}

void FloatAttention::mix_some(float* query, int rows, float scale, Buffer<float>& scores) const {
  const int panel = kernels_.panel;
  const int padded = (tokens_ + panel - 1) / panel * panel;
  const size_t stride = padded + 16;  // no power of two, so that rows share no cache set
  scores.reserve(kQueries * stride);
  const ptrdiff_t whole = 0;
  MultiplyTask task{};
  task.segments = &whole;
  task.segment_count = 1;
  task.rows = rows;
  task.a = query;
  task.a_stride = channels_;
  task.segment_length = channels_;
  task.width = panel;
  task.c_stride = stride;
  for (int p = 0; p < padded / panel; p++) {
    task.b = key_panels_.data() + static_cast<size_t>(p) * panel * channels_;
    task.c = scores.data() + p * panel;
    kernels_.multiply(task);
  }
  for (int row = 0; row < rows; row++)
    std::fill(scores.data() + row * stride + tokens_, scores.data() + row * stride + padded,
              kNoKey);
  kernels_.softmax({scores.data(), stride, rows, padded, scale});
  task.a = scores.data();
  task.a_stride = stride;
  task.segment_length = tokens_;
  task.c_stride = channels_;
  for (int p = 0; p * panel < channels_; p++) {
    task.width = std::min(panel, channels_ - p * panel);
    task.b = value_panels_.data() + static_cast<size_t>(p) * panel * tokens_;
    task.c = query + p * panel;
    kernels_.multiply(task);
  }
}

}  // namespace

std::unique_ptr<PixelAttention> make_attention(const Arithmetic& arithmetic) {
  const ConvKernels& kernels = *arithmetic.kernels.conv;
  if (const Bfloat16Kernels* rounded = arithmetic.rounded())
    return make_bfloat16_attention(kernels, *rounded);
  return std::make_unique<FloatAttention>(kernels);
}

}  // namespace bimacosr
