// AVX-512 with BITALG, GFNI, VBMI and VBMI2, which every processor with BITALG has: adders of bits on
// 512 pixels at a time; of few pixels, vpopcntb on 64 at a time, eight channels a byte.
#include <immintrin.h>

#include "bimacosr/conv_kernels.h"
#include "bimacosr/kernels.h"

namespace bimacosr::avx512 {
namespace {

#include "simd_avx512.h"

// Eight channels a byte, one byte a pixel: bit i is set where channel i is positive.
struct SignUnit {
  static constexpr int kChannels = 8;
  static constexpr bool kZeroIsExact = false;
  __m512i bits = _mm512_setzero_si512();

  inline void add(int j, const V* y, bool zero_is_positive) {
    const V zero = _mm512_setzero_ps();
    __mmask16 m[4];
    for (int i = 0; i < 4; i++)
      m[i] = zero_is_positive ? _mm512_cmp_ps_mask(y[i], zero, _CMP_GE_OQ)
                              : _mm512_cmp_ps_mask(y[i], zero, _CMP_GT_OQ);
    const __mmask64 all =
        _mm512_kunpackd(_mm512_kunpackw(m[3], m[2]), _mm512_kunpackw(m[1], m[0]));
    bits = _mm512_or_si512(bits, _mm512_maskz_set1_epi8(all, static_cast<char>(1 << j)));
  }
  inline void store(uint8_t* signs, size_t stride, int unit, int p) const {
    _mm512_storeu_si512(signs + unit * stride + p, bits);
  }
};

constexpr int kConvChannels = 16;

#include "float_body.h"
#include "conv_body.h"

constexpr int kChannels = 32, kPixels = 512;

inline size_t tap_bytes(int channels) { return static_cast<size_t>(channels + 63) / 64 * 8; }
inline size_t row_bytes(int channels, int taps) { return taps * tap_bytes(channels); }

#include "bit_slices_body.h"
#include "slice_sums_body.h"
static_assert(kPixels == kSlicePixels);

// the words of each row, room for a read beyond the last, and each summand's P
inline size_t word_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * row_bytes(channels, taps) + 8;
}

size_t weight_bytes(int channels, int taps) {
  return word_bytes(channels, taps) +
         static_cast<size_t>(kChannels) * taps * Segments(channels).of_tap * sizeof(uint16_t);
}

void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const size_t bytes = rows * row_bytes(channels, taps);
  const auto* from = reinterpret_cast<const uint8_t*>(words);
  for (size_t i = 0; i < word_bytes(channels, taps); i++) packed[i] = i < bytes ? from[i] : 0;
  const Segments segments(channels);
  auto* positive = reinterpret_cast<uint16_t*>(packed + word_bytes(channels, taps));
  for (int n = 0; n < kChannels * taps; n++)
    for (int first = 0; first < segments.units; first += segments.each, positive++) {
      *positive = 0;
      for (int u = first; u < first + segments.each && u < segments.units; u++)
        *positive += __builtin_popcount(packed[n * tap_bytes(channels) + u]);
    }
}

#include "byte_counts_body.h"

constexpr int kLeastSliced = 320;  // pixels

void binary_gemm(const BinaryGemmTask& task) {
  const Segments segments(task.channels);
  const Lists lists(task.scratch, task.layer_taps * segments.of_tap);
  const Gathered gathered(task.sign_scratch, task.tap_count * segments.of_tap, segments);
  const int pixels = task.end - task.begin;
  const bool sliced = pixels >= kLeastSliced;
  if (task.new_signs) gather(task, segments, gathered, sliced);
  if (task.new_weights) *lists.state = Lists::kNone;
  if (sliced) {
    if (*lists.state == Lists::kNone)
      list_channels(task.weights, row_bytes(task.channels, task.layer_taps),
                    tap_bytes(task.channels), task.layer_taps, task.channels, lists);
    if (*lists.state != Lists::kTooLong) {
      multiply_slices(task, segments, gathered, lists);
      return;
    }
  }
  for (int n = 0; n < task.rows; n += kFewRows) {
    find_middles(task, segments, gathered, n);
    int p = task.begin;
    for (; p + 256 <= task.end; p += 256) multiply_units<4>(task, segments, gathered, n, p);
    if (p + 128 <= task.end) multiply_units<2>(task, segments, gathered, n, p), p += 128;
    if (p + 64 <= task.end) multiply_units<1>(task, segments, gathered, n, p);
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {
    "avx512", SignLayout::kPlanes, 8, 1, false, kChannels, kPixels, kConvChannels,
    weight_bytes, list_bytes, pack_weights, prepare, binary_gemm, epilogue, float_conv,
    nullptr, attention, combine_phases, &kConvKernels, gathered_bytes,
};

}  // namespace bimacosr::avx512
