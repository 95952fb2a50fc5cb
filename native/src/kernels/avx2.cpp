// AVX2: adders of bits on 256 pixels at a time; of few pixels, half the dot products of four
// channels are looked up by vpshufb, 32 pixels at a time.
#include <immintrin.h>

#include "bimacosr/conv_kernels.h"
#include "bimacosr/kernels.h"

namespace bimacosr::avx2 {
namespace {

#include "simd_avx2.h"

// Four channels a byte, one byte a pixel: bit i is set where channel i is positive. A byte of eight
// would have to be split again for every block of output channels.
struct SignUnit {
  static constexpr int kChannels = 4;
  static constexpr bool kZeroIsExact = false;
  // 32 pixels each, in the order in which 32-bit masks are packed to bytes
  __m256i bits[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};

  inline void add(int j, const V* y, bool zero_is_positive) {
    const V zero = _mm256_setzero_ps();
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << j));
    for (int h = 0; h < 2; h++, y += 4) {
      __m256i m[4];
      for (int i = 0; i < 4; i++)
        m[i] = _mm256_castps_si256(zero_is_positive ? _mm256_cmp_ps(y[i], zero, _CMP_GE_OQ)
                                                    : _mm256_cmp_ps(y[i], zero, _CMP_GT_OQ));
      const __m256i all =
          _mm256_packs_epi16(_mm256_packs_epi32(m[0], m[1]), _mm256_packs_epi32(m[2], m[3]));
      bits[h] = _mm256_or_si256(bits[h], _mm256_and_si256(all, bit));
    }
  }
  inline void store(uint8_t* signs, size_t stride, int unit, int p) const {
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (int h = 0; h < 2; h++)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(signs + unit * stride + p + 32 * h),
                          _mm256_permutevar8x32_epi32(bits[h], order));
  }
};

constexpr int kConvChannels = 5;  // ten sums hide the latency of the multiplications

#include "float_body.h"
#include "conv_body.h"

constexpr int kChannels = 8, kPixels = 256;
constexpr int kFewRows = 4, kFewPixels = 64;  // rows and pixels whose half dots fit the registers

inline size_t tap_bytes(int channels) { return static_cast<size_t>(channels + 7) / 8; }
inline size_t row_bytes(int channels, int taps) { return taps * tap_bytes(channels); }

#include "slice_sums_avx2.h"
static_assert(kPixels == kSlicePixels);

// each row, and room for a read beyond the last
size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * row_bytes(channels, taps) + 8;
}

// bits beyond the channels are 0
void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const size_t each = tap_bytes(channels);
  const auto last = static_cast<uint8_t>(0xff >> (8 * each - channels));
  __builtin_memset(packed, 0, weight_bytes(channels, taps));
  for (int n = 0; n < rows * taps; n++, words += (channels + 63) / 64, packed += each) {
    __builtin_memcpy(packed, words, each);
    packed[each - 1] &= last;
  }
}

struct PackedWeights {
  const uint8_t* bits;
  size_t row_bytes, tap_bytes;
  uint64_t operator()(int row, int tap, int byte) const {
    uint64_t word;
    __builtin_memcpy(&word, bits + row * row_bytes + tap * tap_bytes + byte, 8);
    return word;
  }
};

#include "half_dots_avx2.h"

// Of four rows from the `first`th on: sum over taps of scales * dot, from half dots of `pixels`
// pixels from p on. In the bits beyond the last channel weights and signs are both 0 and seem to
// agree.
inline void scale_half_dots(const BinaryGemmTask& task, const Segments& segments, int first, int p,
                            int pixels, const int8_t* half_dots, size_t row, size_t summand) {
  const float padding = static_cast<float>((task.channels + 3) / 4 * 4 - task.channels);
  const int taps = task.tap_count, summands = segments.of_tap;
  const Tap* const all = task.taps;
  const size_t stride = task.sums_stride;
  float* to = task.sums + first * stride + (p - task.begin);
  for (int q = 0; q < pixels; q += 16) {
    V sum[kFewRows][2], lost[2] = {set(0.0f), set(0.0f)};
    for (int n = 0; n < kFewRows; n++) sum[n][0] = sum[n][1] = set(0.0f);
    const int8_t* of_summand = half_dots + q;
    for (int t = 0; t < taps; t++) {
      const V scale0 = load(all[t].scales + p + q);
      const V scale1 = load(all[t].scales + p + q + 8);
      lost[0] = add(lost[0], scale0);
      lost[1] = add(lost[1], scale1);
      for (int s = 0; s < summands; s++, of_summand += summand)
#pragma GCC unroll 4
        for (int n = 0; n < kFewRows; n++) {
          sum[n][0] = fma(scale0, from_int8(of_summand + n * row), sum[n][0]);
          sum[n][1] = fma(scale1, from_int8(of_summand + n * row + 8), sum[n][1]);
        }
    }
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++) {
        const V padded = mul(set(-padding), lost[i]);
        store(to + n * stride + q + 8 * i, fma(set(2.0f), sum[n][i], padded));
      }
  }
}

void list_weights(const uint8_t* weights, int channels, int taps, uint8_t* lists) {
  list_channels(PackedWeights{weights, row_bytes(channels, taps), tap_bytes(channels)}, channels,
                taps, lists);
}

constexpr int kLeastSliced = 192;  // pixels

void binary_gemm(const BinaryGemmTask& task) {
  const Segments segments(task.channels);
  const Gathered gathered(task.sign_scratch, task.tap_count * segments.of_tap, segments);
  const int pixels = task.end - task.begin;
  if (task.lists && pixels >= kLeastSliced) {
    if (task.new_signs) gather(task, segments, gathered);
    count_slices(task, segments, Lists(task.lists, task.layer_taps * segments.of_tap), gathered);
    for (int first = 0; first < task.rows; first += kFewRows)
      scale_half_dots(task, segments, first, task.begin, pixels,
                      gathered.half_dots + first * kSlicePixels, kSlicePixels,
                      kChannels * kSlicePixels);
    return;
  }
  for (int first = 0; first < task.rows; first += kFewRows)
    for (int p = task.begin; p < task.end; p += kFewPixels) {
      look_up_all(task, segments, first, p, gathered.half_dots);
      scale_half_dots(task, segments, first, p, kFewPixels, gathered.half_dots, kFewPixels,
                      kFewRows * kFewPixels);
    }
}

size_t scratch_bytes(int, int) { return 0; }

#include "table_body.h"

}  // namespace

extern const Kernels kKernels;
constexpr Kernels kKernels = [] {
  Kernels table = table_of("avx2");
  table.sign_scratch_bytes = gathered_bytes;
  table.list_bytes = list_bytes;
  table.list_weights = list_weights;
  return table;
}();

}  // namespace bimacosr::avx2
