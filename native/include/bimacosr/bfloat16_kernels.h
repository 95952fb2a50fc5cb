// Products in bfloat16 whose sums are float, for the float convolutions of large networks: one
// table of function pointers per instruction set that multiplies bfloat16 much faster than float.
//
// Layout. A product runs in steps of 32 inputs, all of one tap. Pixels lie in planes of 32
// channels, 64 bytes a pixel, so that what a tile of 16 pixels takes is in one piece (with a stride
// of two: every second 64 bytes). The weights of a step are two tiles of 16 outputs, each 16 pairs
// of inputs x 16 outputs x the two of the pair.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bimacosr {

using Bfloat16 = uint16_t;  // the upper half of a float

inline constexpr int kStepInputs = 32, kStepOutputs = 32, kStepWeights = 1024;

// to = gain * from + shift, then SiLU if wanted, for pixels that follow each other.
struct RoundTask {
  const float* from;
  size_t stride;       // from pixel to pixel
  const float* gain;   // per channel; null: to = from
  const float* shift;  // per channel
  bool silu;
  int channels;  // filled up to 16
  int pixels;
  Bfloat16* to;
  size_t plane;  // from 32 channels to the next 32; of a last half plane the rest becomes 0
};

// The weights of a step: from[n * output_stride + k * input_stride]; missing ones are 0.
struct PackTask {
  const float* from;
  size_t output_stride, input_stride;
  int outputs, inputs;  // 1 to 32
  Bfloat16* to;         // kStepWeights
};

// c[y][x] = start + add[y][x] + sum over steps s and i < 32 of
//           a[y * row_stride + x * pixel_stride + steps[s] + i] * b[s][i]
// Pixels are read in whole groups of 16, so that up to 15 behind a row's last have to be there.
struct Bfloat16MultiplyTask {
  const Bfloat16* a;
  size_t row_stride, pixel_stride;
  const ptrdiff_t* steps;
  int step_count;
  const Bfloat16* b;  // step_count x kStepWeights
  int rows, columns;
  const float* start;  // kStepOutputs values; null: 0
  const float* add;    // laid out like `c`, may be `c`; null: 0
  float* c;
  size_t c_row_stride, c_pixel_stride;
  int width;    // outputs to write: 16 or 32
  float* sums;  // scratch: rows x columns, rounded up to 32, x 32
};

struct Bfloat16Kernels {
  void (*round)(const RoundTask&);
  void (*pack)(const PackTask&);
  void (*multiply)(const Bfloat16MultiplyTask&);
};

}  // namespace bimacosr
