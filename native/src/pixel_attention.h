// Softmax attention of all pixels of a map among each other, one head.
#pragma once

#include <memory>

#include "bimacosr/bfloat16_kernels.h"
#include "bimacosr/convolution_call.h"
#include "bimacosr/threads.h"

namespace bimacosr {

inline constexpr float kNoKey = -1e30f;  // the score of a token that is not there

// Keys and values come one after the other, so that both need not be there as maps.
class PixelAttention {
 public:
  virtual ~PixelAttention() = default;
  virtual void take_keys(const PixelMap& keys, ThreadPool& pool) = 0;
  virtual void take_values(const PixelMap& values, ThreadPool& pool) = 0;
  // The mix of the values takes the place of the queries. `scale`: of the products with keys.
  virtual void mix(PixelMap& queries, float scale, ThreadPool& pool) const = 0;
};

std::unique_ptr<PixelAttention> make_attention(const Arithmetic& arithmetic);
std::unique_ptr<PixelAttention> make_bfloat16_attention(const ConvKernels& kernels,
                                                        const Bfloat16Kernels& rounded);

}  // namespace bimacosr
