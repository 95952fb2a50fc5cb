// AVX-512 with BITALG, GFNI, VBMI and VBMI2, which every processor with BITALG has: adders of bits on
// 512 pixels at a time; of few pixels, xor and vpopcntb on 64 at a time, eight channels a byte.
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
constexpr int kSegment = 31;  // units whose bits fit a byte, and a signed byte around their mean

inline int units(int channels) { return (channels + 7) / 8; }
inline size_t tap_bytes(int channels) { return static_cast<size_t>(channels + 63) / 64 * 8; }
inline size_t row_bytes(int channels, int taps) { return taps * tap_bytes(channels); }

constexpr int kFewRows = 4, kFewPixels = 256;

#include "bit_slices_body.h"
#include "slice_sums_body.h"

// the words of each row, and room for a read beyond the last
size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * row_bytes(channels, taps) + 8;
}

void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const size_t bytes = static_cast<size_t>(rows) * row_bytes(channels, taps);
  const auto* from = reinterpret_cast<const uint8_t*>(words);
  for (size_t i = 0; i < weight_bytes(channels, taps); i++) packed[i] = i < bytes ? from[i] : 0;
}

// byte -> the same byte four times, so that a weight is broadcast by a load alone
struct Repeated {
  alignas(64) uint32_t words[256];
};
constexpr Repeated make_repeated() {
  Repeated table{};
  for (uint32_t i = 0; i < 256; i++) table.words[i] = i * 0x01010101u;
  return table;
}
constexpr Repeated kRepeated = make_repeated();

// A register, not a memory operand: GCC would load it again for every use.
#define IN_REGISTER(x) asm("" : "+v"(x))

// Of few pixels: differing bits of `count` units, minus 4 count, for 64 `vectors` pixels and 4 rows of
// weights. GCC keeps arrays of accumulators in memory or moves them about in every step; a pack of
// references to single registers it leaves alone.
template <int vectors>
inline void count_segment(const uint8_t* signs, size_t stride, const uint8_t* weights, size_t row,
                          int count, int8_t* to) {
  const __m512i start = _mm512_set1_epi8(static_cast<char>(-4 * count));
  __m512i a00 = start, a01 = start, a02 = start, a03 = start;
  __m512i a10 = start, a11 = start, a12 = start, a13 = start;
  __m512i a20 = start, a21 = start, a22 = start, a23 = start;
  __m512i a30 = start, a31 = start, a32 = start, a33 = start;
  for (int u = 0; u < count; u++, signs += stride, weights++) {
    __m512i x0 = _mm512_loadu_si512(signs), x1 = x0, x2 = x0, x3 = x0;
    IN_REGISTER(x0);
    if constexpr (vectors > 1) x1 = _mm512_loadu_si512(signs + 64);
    if constexpr (vectors > 2) x2 = _mm512_loadu_si512(signs + 128);
    if constexpr (vectors > 2) x3 = _mm512_loadu_si512(signs + 192);
    if constexpr (vectors > 1) IN_REGISTER(x1);
    if constexpr (vectors > 2) IN_REGISTER(x2);
    if constexpr (vectors > 2) IN_REGISTER(x3);
#define DIFFER(a, x) a = _mm512_add_epi8(a, _mm512_popcnt_epi8(_mm512_xor_si512(w, x)))
#define STEP(n)                                                                                \
  do {                                                                                         \
    const __m512i w = _mm512_set1_epi32(static_cast<int>(kRepeated.words[weights[n * row]]));  \
    DIFFER(a##n##0, x0);                                                                       \
    if constexpr (vectors > 1) DIFFER(a##n##1, x1);                                            \
    if constexpr (vectors > 2) DIFFER(a##n##2, x2);                                            \
    if constexpr (vectors > 2) DIFFER(a##n##3, x3);                                            \
  } while (false)
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
#undef STEP
#undef DIFFER
  }
  const __m512i rows[4][4] = {{a00, a01, a02, a03},
                              {a10, a11, a12, a13},
                              {a20, a21, a22, a23},
                              {a30, a31, a32, a33}};
#pragma GCC unroll 4
  for (int n = 0; n < 4; n++)
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) _mm512_store_si512(to + n * kFewPixels + 64 * i, rows[n][i]);
}

// sums = sum over taps of scales * (C - 2 differing bits), from rows of counts. A count is the
// differing bits minus half the bits of its units, so C - 2 differing = -2 count - padding bits.
inline void scale_counts(const BinaryGemmTask& task, const int8_t* counts, int segments, int first,
                         int p, int pixels) {
  const float padding = static_cast<float>(8 * units(task.channels) - task.channels);
  for (int q = 0; q < pixels; q += 32) {
    V sum[kFewRows][2], lost[2] = {set(0.0f), set(0.0f)};
    for (int n = 0; n < kFewRows; n++) sum[n][0] = sum[n][1] = set(0.0f);
    const int8_t* row = counts + q;
    for (int t = 0; t < task.tap_count; t++) {
      const V scale0 = load(task.taps[t].scales + p + q);
      const V scale1 = load(task.taps[t].scales + p + q + 16);
      lost[0] = add(lost[0], scale0);
      lost[1] = add(lost[1], scale1);
      for (int s = 0; s < segments; s++)
#pragma GCC unroll 4
        for (int n = 0; n < kFewRows; n++, row += kFewPixels) {
          sum[n][0] = fma(scale0, from_int8(row), sum[n][0]);
          sum[n][1] = fma(scale1, from_int8(row + 16), sum[n][1]);
        }
    }
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++) {
        const V padded = mul(set(-padding), lost[i]);
        store(task.sums + (first + n) * task.sums_stride + (p - task.begin) + q + 16 * i,
              fma(set(-2.0f), sum[n][i], padded));
      }
  }
}

template <int vectors>
inline void multiply_few(const BinaryGemmTask& task, int8_t* counts, int first, int p) {
  const int n_units = units(task.channels), segments = (n_units + kSegment - 1) / kSegment;
  const size_t row = row_bytes(task.channels, task.layer_taps);
  int8_t* to = counts;
  for (int t = 0; t < task.tap_count; t++) {
    const Tap& tap = task.taps[t];
    const uint8_t* weights = task.weights + first * row + tap.weight * tap_bytes(task.channels);
    for (int u = 0; u < n_units; u += kSegment, to += kFewRows * kFewPixels) {
      const int count = n_units - u < kSegment ? n_units - u : kSegment;
      count_segment<vectors>(tap.signs + u * task.sign_stride + p, task.sign_stride, weights + u,
                             row, count, to);
    }
  }
  scale_counts(task, counts, segments, first, p, 64 * vectors);
}

constexpr int kLeastSliced = 256;  // pixels

void binary_gemm(const BinaryGemmTask& task) {
  const Segments segments(task.channels);
  const Lists lists(task.scratch, task.layer_taps * segments.of_tap);
  const Gathered gathered(task.sign_scratch, task.tap_count * segments.of_tap, segments);
  const int pixels = task.end - task.begin;
  if (task.new_weights) *lists.state = Lists::kNone;
  if (pixels >= kLeastSliced) {
    if (task.new_signs) gather(task, segments, gathered);
    if (*lists.state == Lists::kNone)
      list_channels(task.weights, row_bytes(task.channels, task.layer_taps),
                    tap_bytes(task.channels), task.layer_taps, task.channels, lists);
    if (*lists.state != Lists::kTooLong) {
      if (pixels > 256)
        multiply_slices<__m512i>(task, segments, gathered, lists);
      else
        multiply_slices<__m256i>(task, segments, gathered, lists);
      return;
    }
  }
  auto* counts = reinterpret_cast<int8_t*>(gathered.counts);
  for (int n = 0; n < task.rows; n += kFewRows) {
    int p = task.begin;
    for (; p + 256 <= task.end; p += 256) multiply_few<4>(task, counts, n, p);
    if (p + 128 <= task.end) multiply_few<2>(task, counts, n, p), p += 128;
    if (p + 64 <= task.end) multiply_few<1>(task, counts, n, p);
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
