#include <algorithm>
#include <vector>

#include "bimacosr/buffer.h"
#include "pixel_attention.h"

namespace bimacosr {

namespace {

constexpr int kQueries = 64;  // of a job; their scores for all keys stay in the second cache

int steps_of(int inputs) { return (inputs + kStepInputs - 1) / kStepInputs; }

class Bfloat16Attention : public PixelAttention {
 public:
  Bfloat16Attention(const ConvKernels& kernels, const Bfloat16Kernels& rounded)
      : kernels_(kernels), rounded_(rounded) {}
  void take_keys(const PixelMap& keys, ThreadPool& pool) override;
  void take_values(const PixelMap& values, ThreadPool& pool) override;
  void mix(PixelMap& queries, float scale, ThreadPool& pool) const override;

 private:
  struct OfThread {
    Buffer<float> scores, sums;
    Buffer<Bfloat16> left;  // queries, then softmax weights
  };
  void mix_some(float* query, int rows, float scale, OfThread& memory) const;
  // c = left x right, where left are `rows` rows of `inputs` floats and right panels of 32 outputs.
  void multiply(const float* left, size_t stride, int rows, int inputs, const Bfloat16* right,
                int outputs, float* c, size_t c_stride, OfThread& memory) const;

  const ConvKernels& kernels_;
  const Bfloat16Kernels& rounded_;
  int tokens_ = 0, channels_ = 0;  // channels filled up
  Buffer<Bfloat16> keys_;          // panels of tokens
  Buffer<Bfloat16> values_;        // panels of channels
};

void Bfloat16Attention::take_keys(const PixelMap& keys, ThreadPool& pool) {
  tokens_ = keys.pixels();
  channels_ = static_cast<int>(keys.pixel_stride());
  const int steps = steps_of(channels_), panels = steps_of(tokens_);
  keys_.reserve(static_cast<size_t>(panels) * steps * kStepWeights);
  pool.run(panels, [&](int p, int) {
    const float* from = keys.at(0, 0) + static_cast<size_t>(p) * kStepOutputs * channels_;
    Bfloat16* to = keys_.data() + static_cast<size_t>(p) * steps * kStepWeights;
    for (int c = 0; c < channels_; c += kStepInputs, to += kStepWeights)
      rounded_.pack({from + c, static_cast<size_t>(channels_), 1,
                     std::min(kStepOutputs, tokens_ - p * kStepOutputs),
                     std::min(kStepInputs, channels_ - c), to});
  });
}

void Bfloat16Attention::take_values(const PixelMap& values, ThreadPool& pool) {
  const int steps = steps_of(tokens_), panels = steps_of(channels_);
  values_.reserve(static_cast<size_t>(panels) * steps * kStepWeights);
  pool.run(steps, [&](int s, int) {
    const float* from = values.at(0, 0) + static_cast<size_t>(s) * kStepInputs * channels_;
    for (int p = 0; p < panels; p++)
      rounded_.pack({from + p * kStepOutputs, 1, static_cast<size_t>(channels_),
                     std::min(kStepOutputs, channels_ - p * kStepOutputs),
                     std::min(kStepInputs, tokens_ - s * kStepInputs),
                     values_.data() + (static_cast<size_t>(p) * steps + s) * kStepWeights});
  });
}

void Bfloat16Attention::mix(PixelMap& queries, float scale, ThreadPool& pool) const {
  std::vector<OfThread> memory(pool.threads());
  pool.run((tokens_ + kQueries - 1) / kQueries, [&](int job, int thread) {
    const int first = job * kQueries, rows = std::min(kQueries, tokens_ - first);
    mix_some(queries.at(0, 0) + static_cast<size_t>(first) * channels_, rows, scale,
             memory[thread]);
  });
}

void Bfloat16Attention::multiply(const float* left, size_t stride, int rows, int inputs,
                                 const Bfloat16* right, int outputs, float* c, size_t c_stride,
                                 OfThread& memory) const {
  constexpr int kPlane = kQueries * kStepInputs;
  const int steps = steps_of(inputs);
  memory.left.reserve(static_cast<size_t>(steps) * kPlane);
  memory.sums.reserve(kQueries * kStepOutputs);
  rounded_.round({left, stride, nullptr, nullptr, false, (inputs + 15) / 16 * 16, rows,
                  memory.left.data(), kPlane});
  std::vector<ptrdiff_t> places(steps);
  for (int s = 0; s < steps; s++) places[s] = s * kPlane;
  Bfloat16MultiplyTask task{};
  task.a = memory.left.data();
  task.pixel_stride = kStepInputs;
  task.steps = places.data();
  task.step_count = steps;
  task.rows = 1;
  task.columns = rows;
  task.c_pixel_stride = c_stride;
  task.sums = memory.sums.data();
  for (int n = 0; n < outputs; n += kStepOutputs) {
    task.b = right + static_cast<size_t>(n) / kStepOutputs * steps * kStepWeights;
    task.c = c + n;
    task.width = std::min(kStepOutputs, outputs - n);
    rounded_.multiply(task);
  }
}

void Bfloat16Attention::mix_some(float* query, int rows, float scale, OfThread& memory) const {
  const int padded = steps_of(tokens_) * kStepInputs;
  const size_t stride = padded + 16;  // no power of two, so that rows share no cache set
  memory.scores.reserve(kQueries * stride);
  float* scores = memory.scores.data();
  multiply(query, channels_, rows, channels_, keys_.data(), padded, scores, stride, memory);
  for (int row = 0; row < rows; row++)
    std::fill(scores + row * stride + tokens_, scores + row * stride + padded, kNoKey);
  kernels_.softmax({scores, stride, rows, padded, scale});
  multiply(scores, stride, rows, padded, values_.data(), channels_, query, channels_, memory);
}

}  // namespace

std::unique_ptr<PixelAttention> make_bfloat16_attention(const ConvKernels& kernels,
                                                        const Bfloat16Kernels& rounded) {
  return std::make_unique<Bfloat16Attention>(kernels, rounded);
}

}  // namespace bimacosr
