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
constexpr int kSegment = 31;  // units whose bits fit a byte

inline int units(int channels) { return (channels + 7) / 8; }
inline size_t tap_bytes(int channels) { return static_cast<size_t>(channels + 63) / 64 * 8; }
inline size_t row_bytes(int channels, int taps) { return taps * tap_bytes(channels); }

constexpr int kFewRows = 4, kFewPixels = 256;

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

// Of few pixels, or where lists would be too long: S of `count` units, for 64 `vectors` pixels and 4
// rows of weights. GCC keeps arrays of accumulators in memory or moves them about in every step; a
// pack of references to single registers it leaves alone.
template <int vectors>
inline void count_units(const uint8_t* signs, size_t stride, const uint8_t* weights, size_t row,
                        int count, uint8_t* to) {
  const __m512i start = _mm512_setzero_si512();
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
#define COUNT(a, x) a = _mm512_add_epi8(a, _mm512_popcnt_epi8(_mm512_and_si512(w, x)))
#define STEP(n)                                                                                \
  do {                                                                                         \
    const __m512i w = _mm512_set1_epi32(static_cast<int>(kRepeated.words[weights[n * row]]));  \
    COUNT(a##n##0, x0);                                                                        \
    if constexpr (vectors > 1) COUNT(a##n##1, x1);                                             \
    if constexpr (vectors > 2) COUNT(a##n##2, x2);                                             \
    if constexpr (vectors > 2) COUNT(a##n##3, x3);                                             \
  } while (false)
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
#undef STEP
#undef COUNT
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

// The same sums as of slices, to the last bit: how many pixels come at a time must not be seen.
inline void scale_units(const BinaryGemmTask& task, const Segments& segments,
                        const Gathered& gathered, int first, int p, int pixels) {
  const int parts = (segments.each + kSegment - 1) / kSegment;
  for (int q = 0; q < pixels; q += 32) {
    const int at = p - task.begin + q;
    V sum[kFewRows][2];
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++) sum[n][i] = load(gathered.shared + at + 16 * i);
    const uint8_t* counts = gathered.counts + q;
    const float* middles = gathered.middles;
    for (int t = 0; t < task.tap_count; t++) {
      const V scale0 = mul(set(4.0f), load(task.taps[t].scales + p + q));
      const V scale1 = mul(set(4.0f), load(task.taps[t].scales + p + q + 16));
      for (int s = 0; s < segments.of_tap; s++, counts += parts * kFewRows * kFewPixels)
#pragma GCC unroll 4
        for (int n = 0; n < kFewRows; n++, middles++) {
          V count0 = set(*middles), count1 = count0;
          for (int i = 0; i < parts; i++) {
            const uint8_t* row = counts + (i * kFewRows + n) * kFewPixels;
            count0 = add(count0, from_uint8(row));
            count1 = add(count1, from_uint8(row + 16));
          }
          sum[n][0] = fma(scale0, count0, sum[n][0]);
          sum[n][1] = fma(scale1, count1, sum[n][1]);
        }
    }
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++)
        store(task.sums + (first + n) * task.sums_stride + at + 16 * i, sum[n][i]);
  }
}

template <int vectors>
inline void multiply_units(const BinaryGemmTask& task, const Segments& segments,
                           const Gathered& gathered, int first, int p) {
  const size_t row = row_bytes(task.channels, task.layer_taps);
  uint8_t* to = gathered.counts;
  for (int t = 0; t < task.tap_count; t++) {
    const Tap& tap = task.taps[t];
    const uint8_t* weights = task.weights + first * row + tap.weight * tap_bytes(task.channels);
    for (int begin = 0; begin < segments.units; begin += segments.each) {
      const int end = segments.units - begin < segments.each ? segments.units : begin + segments.each;
      for (int u = begin; u < begin + segments.each; u += kSegment) {
        const int count = end - u < kSegment ? end - u : kSegment;
        count_units<vectors>(tap.signs + u * task.sign_stride + p, task.sign_stride, weights + u,
                             row, count, to);
        to += kFewRows * kFewPixels;
      }
    }
  }
  scale_units(task, segments, gathered, first, p, 64 * vectors);
}

// -P / 2 of kFewRows rows, summand by summand
inline void find_middles(const BinaryGemmTask& task, const Segments& segments,
                         const Gathered& gathered, int first) {
  const auto* positive = reinterpret_cast<const uint16_t*>(
      task.weights + word_bytes(task.channels, task.layer_taps));
  float* to = gathered.middles;
  for (int t = 0; t < task.tap_count; t++)
    for (int s = 0; s < segments.of_tap; s++)
      for (int n = first; n < first + kFewRows; n++, to++) {
        const int at = (n * task.layer_taps + task.taps[t].weight) * segments.of_tap + s;
        *to = -0.5f * static_cast<float>(positive[at]);
      }
}

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
