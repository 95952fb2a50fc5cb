// AVX2: the differing bits of four channels are looked up by vpshufb, 32 pixels at a time.
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

constexpr int kChannels = 4, kPixels = 256;
constexpr int kBlock = 64;    // pixels whose counts fit the registers
constexpr int kSegment = 63;  // units whose sum of -2 to 2 fits a signed byte

inline int units(int channels) { return (channels + 3) / 4; }

size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * taps * units(channels);
}

size_t scratch_bytes(int channels, int taps) {
  const int segments = (units(channels) + kSegment - 1) / kSegment;
  return static_cast<size_t>(2 * taps) * segments * kChannels * kBlock;
}

// tap, unit, row; a byte is the offset of its row in kTable
void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const int words_a_tap = (channels + 63) / 64, n_units = units(channels);
  for (int t = 0; t < taps; t++)
    for (int u = 0; u < n_units; u++)
      for (int n = 0; n < kChannels; n++) {
        const uint64_t word =
            n < rows ? words[(static_cast<size_t>(n) * taps + t) * words_a_tap + u / 16] : 0;
        packed[(static_cast<size_t>(t) * n_units + u) * kChannels + n] =
            static_cast<uint8_t>(((word >> (4 * (u % 16))) & 15) << 4);
      }
}

// half the dot product of four weights and four signs: row of the weights, column of the signs
struct Table {
  alignas(64) int8_t half_dots[256];
};
constexpr Table make_table() {
  Table table{};
  for (int i = 0; i < 256; i++) {
    const int differing = (i >> 4) ^ (i & 15);
    table.half_dots[i] = static_cast<int8_t>(2 - (differing & 1) - (differing >> 1 & 1) -
                                             (differing >> 2 & 1) - (differing >> 3));
  }
  return table;
}
constexpr Table kTable = make_table();

inline __m256i row_of(uint8_t weights) {
  return _mm256_broadcastsi128_si256(
      *reinterpret_cast<const __m128i*>(kTable.half_dots + weights));
}

// A register, not a memory operand: GCC would load it again for every use.
#define IN_REGISTER(x) asm("" : "+x"(x))
// a += b where a stays in its register: GCC would move the sums about in every step.
#define ADD(a, b) asm("vpaddb %1, %0, %0" : "+x"(a) : "x"(b))

// Half the dot products of `count` units for 64 pixels and 4 channels. The accumulators have names
// because GCC keeps an array of them in memory.
inline void count_segment(const uint8_t* signs, size_t stride, const uint8_t* weights, int count,
                          int8_t* to) {
  __m256i a00 = _mm256_setzero_si256(), a01 = a00, a10 = a00, a11 = a00;
  __m256i a20 = a00, a21 = a00, a30 = a00, a31 = a00;
  do {
    __m256i x0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(signs));
    __m256i x1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(signs + 32));
    IN_REGISTER(x0);
    IN_REGISTER(x1);
#define STEP(n)                                 \
  do {                                          \
    const __m256i row = row_of(weights[n]);     \
    ADD(a##n##0, _mm256_shuffle_epi8(row, x0)); \
    ADD(a##n##1, _mm256_shuffle_epi8(row, x1)); \
  } while (false)
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
#undef STEP
    signs += stride;
    weights += kChannels;
  } while (--count > 0);
  auto* row = reinterpret_cast<__m256i*>(to);
#define KEEP(n)                             \
  _mm256_store_si256(row + 2 * n, a##n##0); \
  _mm256_store_si256(row + 2 * n + 1, a##n##1)
  KEEP(0);
  KEEP(1);
  KEEP(2);
  KEEP(3);
#undef KEEP
}

// sums = sum over taps of scales * dot, from rows of half dot products, for the 64 pixels from p.
// In the bits beyond the last channel weights and signs are both 0 and seem to agree.
inline void scale_counts(const BinaryGemmTask& task, const int8_t* counts, int segments, int p) {
  const float padding = static_cast<float>(4 * units(task.channels) - task.channels);
  for (int q = 0; q < kBlock; q += 16) {
    V sum[kChannels][2], lost[2] = {set(0.0f), set(0.0f)};
    for (int n = 0; n < kChannels; n++) sum[n][0] = sum[n][1] = set(0.0f);
    const int8_t* row = counts + q;
    for (int t = 0; t < task.tap_count; t++) {
      const V scale0 = load(task.taps[t].scales + p + q);
      const V scale1 = load(task.taps[t].scales + p + q + 8);
      lost[0] = add(lost[0], scale0);
      lost[1] = add(lost[1], scale1);
      for (int s = 0; s < segments; s++)
#pragma GCC unroll 4
        for (int n = 0; n < kChannels; n++, row += kBlock) {
          sum[n][0] = fma(scale0, from_int8(row), sum[n][0]);
          sum[n][1] = fma(scale1, from_int8(row + 8), sum[n][1]);
        }
    }
    for (int n = 0; n < kChannels; n++)
      for (int i = 0; i < 2; i++) {
        const V padded = mul(set(-padding), lost[i]);
        store(task.sums + n * task.sums_stride + (p - task.begin) + q + 8 * i,
              fma(set(2.0f), sum[n][i], padded));
      }
  }
}

void binary_gemm(const BinaryGemmTask& task) {
  int8_t* counts = static_cast<int8_t*>(task.scratch);
  const int n_units = units(task.channels), segments = (n_units + kSegment - 1) / kSegment;
  for (int p = task.begin; p < task.end; p += kBlock) {
    int8_t* to = counts;
    for (int t = 0; t < task.tap_count; t++) {
      const Tap& tap = task.taps[t];
      const uint8_t* weights = task.weights + static_cast<size_t>(tap.weight) * n_units * kChannels;
      for (int u = 0; u < n_units; u += kSegment, to += kChannels * kBlock) {
        const int count = n_units - u < kSegment ? n_units - u : kSegment;
        count_segment(tap.signs + u * task.sign_stride + p, task.sign_stride,
                      weights + u * kChannels, count, to);
      }
    }
    scale_counts(task, counts, segments, p);
  }
}

}  // namespace

extern const Kernels kKernels;
const Kernels kKernels = {
    "avx2", SignLayout::kPlanes, 4, 1, false, kChannels, kPixels, kConvChannels,
    weight_bytes, scratch_bytes, pack_weights, prepare, binary_gemm, epilogue, float_conv,
    nullptr, attention, combine_phases, &kConvKernels,
};

}  // namespace bimacosr::avx2
