// AMX on bfloat16: tiles of 16 pixels by 16 outputs, 32 inputs a step.
#include <immintrin.h>

#include "bimacosr/bfloat16_kernels.h"

namespace bimacosr::amx_bfloat16 {
namespace {

#include "simd_avx512.h"

#include "amx_tiles.h"

constexpr int kGroup = 32;          // pixels of two tiles
constexpr int kTileSums = 16 * 16;  // floats of a tile of sums
constexpr int kGroupSums = 4 * kTileSums;
// Steps whose weights, with the pixels that they meet, stay in the first-level cache; between them
// the sums go to memory. Eighteen are the taps of 64 channels.
constexpr int kSteps = 18;

inline __m512i rounded(V low, V high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

// x / (1 + e^-x) with a relative error of 2e-4, a tenth of what rounding adds
inline V silu(V x) {
  const V power = mul(x, set(-1.44269504f));
  const V r = _mm512_reduce_ps(power, _MM_FROUND_TO_NEG_INF);  // above the whole number below
  V p = set(0.0780241117f);
  p = fma(p, r, set(0.226067901f));
  p = fma(p, r, set(0.695833147f));
  p = fma(p, r, set(0.999925256f));
  return mul(x, _mm512_rcp14_ps(add(set(1.0f), _mm512_scalef_ps(p, power))));
}

template <bool normalize, bool with_silu>
inline V seen(const RoundTask& task, const float* from, int c) {
  V x = load(from + c);
  if constexpr (normalize) x = fma(load(task.gain + c), x, load(task.shift + c));
  if constexpr (with_silu) x = silu(x);
  return x;
}

template <bool normalize, bool with_silu>
void round_pixels(const RoundTask& task) {
  for (int c = 0; c < task.channels; c += kStepInputs) {
    Bfloat16* to = task.to + c / kStepInputs * task.plane;
    const float* from = task.from;
    const bool half = c + 16 == task.channels;
    for (int p = 0; p < task.pixels; p++, from += task.stride, to += kStepInputs) {
      const V low = seen<normalize, with_silu>(task, from, c);
      const V high = half ? set(0.0f) : seen<normalize, with_silu>(task, from, c + 16);
      _mm512_storeu_si512(to, rounded(low, high));
    }
  }
}

void round(const RoundTask& task) {
  if (!task.gain)
    round_pixels<false, false>(task);
  else if (task.silu)
    round_pixels<true, true>(task);
  else
    round_pixels<true, false>(task);
}

// 16 rows of 16 words to columns
inline void transpose_words(__m512i* row) {
  __m512i pair[16], four[16];
  for (int i = 0; i < 16; i += 2) {
    pair[i] = _mm512_unpacklo_epi32(row[i], row[i + 1]);
    pair[i + 1] = _mm512_unpackhi_epi32(row[i], row[i + 1]);
  }
  for (int i = 0; i < 16; i += 4)
    for (int k = 0; k < 2; k++) {
      four[i + 2 * k] = _mm512_unpacklo_epi64(pair[i + k], pair[i + k + 2]);
      four[i + 2 * k + 1] = _mm512_unpackhi_epi64(pair[i + k], pair[i + k + 2]);
    }
  // four[4 i + j] has words j, j + 4, j + 8, j + 12 of rows 4 i to 4 i + 3, one in each quarter
  for (int j = 0; j < 4; j++) {
    const __m512i a = _mm512_shuffle_i32x4(four[j], four[4 + j], 0x88);
    const __m512i b = _mm512_shuffle_i32x4(four[8 + j], four[12 + j], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(four[j], four[4 + j], 0xdd);
    const __m512i d = _mm512_shuffle_i32x4(four[8 + j], four[12 + j], 0xdd);
    row[j] = _mm512_shuffle_i32x4(a, b, 0x88);
    row[j + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);
    row[j + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
    row[j + 12] = _mm512_shuffle_i32x4(c, d, 0xdd);
  }
}

void pack(const PackTask& task) {
  const __m512i places =
      _mm512_mullo_epi32(_mm512_set1_epi32(static_cast<int>(task.input_stride)),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  const __mmask32 there = static_cast<__mmask32>((uint64_t{1} << task.inputs) - 1);
  const __mmask16 low = static_cast<__mmask16>(there), high = static_cast<__mmask16>(there >> 16);
  const V zero = set(0.0f);
  for (int tile = 0; tile < 2; tile++) {
    __m512i rows[16];
    for (int i = 0; i < 16; i++) {
      const int n = 16 * tile + i;
      rows[i] = _mm512_setzero_si512();
      if (n >= task.outputs) continue;
      const float* from = task.from + n * task.output_stride;
      const V first = _mm512_mask_i32gather_ps(zero, low, places, from, 4);
      const V second =
          _mm512_mask_i32gather_ps(zero, high, places, from + 16 * task.input_stride, 4);
      rows[i] = rounded(first, second);
    }
    transpose_words(rows);
    for (int i = 0; i < 16; i++)
      _mm512_storeu_si512(task.to + (16 * tile + i) * kStepInputs, rows[i]);
  }
}

// Some steps of 16 or 32 pixels and 32 outputs; of the first steps, sums begin at 0.
template <int tiles>
inline void multiply_group(const Bfloat16MultiplyTask& task, const Bfloat16* a, int begin, int end,
                           float* sums) {
  if (begin == 0) {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (tiles == 2) {
      _tile_zero(2);
      _tile_zero(3);
    }
  } else {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + kTileSums, 64);
    if constexpr (tiles == 2) {
      _tile_loadd(2, sums + 2 * kTileSums, 64);
      _tile_loadd(3, sums + 3 * kTileSums, 64);
    }
  }
  const size_t stride = task.pixel_stride * sizeof(Bfloat16);
  const Bfloat16* b = task.b + static_cast<size_t>(begin) * kStepWeights;
  for (int s = begin; s < end; s++, b += kStepWeights) {
    const Bfloat16* pixels = a + task.steps[s];
    _tile_loadd(4, pixels, stride);
    _tile_loadd(6, b, 64);
    _tile_loadd(7, b + kStepWeights / 2, 64);
    if constexpr (tiles == 2) _tile_loadd(5, pixels + 16 * task.pixel_stride, stride);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (tiles == 2) {
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + kTileSums, 64);
  if constexpr (tiles == 2) {
    _tile_stored(2, sums + 2 * kTileSums, 64);
    _tile_stored(3, sums + 3 * kTileSums, 64);
  }
}

// From the sums of up to 32 pixels to the result.
inline void finish(const Bfloat16MultiplyTask& task, const float* sums, int pixels, float* c,
                   const float* plus) {
  const int vectors = task.width / 16;
  for (int i = 0; i < vectors; i++) {
    const V start = task.start ? load(task.start + 16 * i) : set(0.0f);
    for (int p = 0; p < pixels; p++) {
      const size_t at = p * task.c_pixel_stride + 16 * i;
      V x = add(load(sums + p / 16 * 2 * kTileSums + i * kTileSums + p % 16 * 16), start);
      if (plus) x = add(x, load(plus + at));
      store(c + at, x);
    }
  }
}

void multiply(const Bfloat16MultiplyTask& task) {
  _tile_loadconfig(&kTiles);
  for (int begin = 0; begin < task.step_count; begin += kSteps) {
    const int end = begin + kSteps < task.step_count ? begin + kSteps : task.step_count;
    float* sums = task.sums;
    for (int y = 0; y < task.rows; y++)
      for (int x = 0; x < task.columns; x += kGroup, sums += kGroupSums) {
        const Bfloat16* a = task.a + y * task.row_stride + x * task.pixel_stride;
        const int pixels = task.columns - x < kGroup ? task.columns - x : kGroup;
        if (pixels > 16)
          multiply_group<2>(task, a, begin, end, sums);
        else
          multiply_group<1>(task, a, begin, end, sums);
        if (end < task.step_count) continue;
        const size_t at = y * task.c_row_stride + x * task.c_pixel_stride;
        finish(task, sums, pixels, task.c + at, task.add ? task.add + at : nullptr);
      }
  }
  _tile_release();
}

}  // namespace

extern const Bfloat16Kernels kBfloat16Kernels;
const Bfloat16Kernels kBfloat16Kernels = {round, pack, multiply};

}  // namespace bimacosr::amx_bfloat16
