// What a convolution of convolution.h is asked to do.
#pragma once

#include "bimacosr/conv_kernels.h"
#include "bimacosr/kernels.h"
#include "bimacosr/pixel_map.h"

namespace bimacosr {

// kSame: 1x1, or 3x3 with zero padding. kHalf: 3x3 of stride two, padded at the right and the
// bottom only. kDoubled: 3x3 after nearest enlargement by two.
enum class Sampling { kSame, kHalf, kDoubled };

// What products are made of; sums and what lies between layers are float32 always.
enum class Precision { kFloat32, kBfloat16 };

// How a network computes. In bfloat16 are products of many channels, if `kernels` has it.
struct Arithmetic {
  const Kernels& kernels;
  Precision precision = Precision::kFloat32;

  // Null: in float32.
  const Bfloat16Kernels* rounded() const {
    return precision == Precision::kBfloat16 ? kernels.bfloat16 : nullptr;
  }
};

struct ConvolutionCall {
  const PixelMap* in;
  const Normalization* normalization;  // of the input; null: none. Not for 1x1.
  PixelMap* out;                       // takes the size that results
  const PixelMap* add;                 // may be `out`; null: none
  Moments* moments;                    // of the result; null: not wanted
};

inline void take_moments(const ConvKernels& kernels, Moments& moments, int part, const Rect& rect,
                         const float* pixels, size_t row_stride) {
  moments.pixels[part] = rect.rows * rect.columns;
  kernels.moments(
      {pixels, row_stride, rect.rows, rect.columns, moments.channels, moments.part(part)});
}

}  // namespace bimacosr
