// NEON, which every 64-bit ARM processor has: eor and cnt on 16 pixels, eight channels a byte.
#include <arm_neon.h>

#include "bimacosr/conv_kernels.h"
#include "bimacosr/kernels.h"

namespace bimacosr::neon {
namespace {

#include "simd_neon.h"

// Eight channels a byte, one byte a pixel: bit i is set where channel i is positive.
struct SignUnit {
  static constexpr int kChannels = 8;
  static constexpr bool kZeroIsExact = false;
  uint8x16_t bits[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};

  inline void add(int j, const V* y, bool zero_is_positive) {
    const uint8x16_t bit = vdupq_n_u8(static_cast<uint8_t>(1 << j));
    for (int h = 0; h < 4; h++, y += 4) {
      uint16x8_t m[4];
      for (int i = 0; i < 4; i++)
        m[i] = vreinterpretq_u16_u32(zero_is_positive ? vcgezq_f32(y[i]) : vcgtzq_f32(y[i]));
      const uint8x16_t all = vuzp1q_u8(vreinterpretq_u8_u16(vuzp1q_u16(m[0], m[1])),
                                       vreinterpretq_u8_u16(vuzp1q_u16(m[2], m[3])));
      bits[h] = vorrq_u8(bits[h], vandq_u8(all, bit));
    }
  }
  inline void store(uint8_t* signs, size_t stride, int unit, int p) const {
    for (int h = 0; h < 4; h++) vst1q_u8(signs + unit * stride + p + 16 * h, bits[h]);
  }
};

constexpr int kConvChannels = 4;

#include "float_body.h"
#include "conv_body.h"

constexpr int kChannels = 4, kPixels = 256;
constexpr int kBlock = 64;    // pixels whose counts fit the registers
constexpr int kSegment = 31;  // units whose differing bits fit a signed byte around their mean

inline int units(int channels) { return (channels + 7) / 8; }

size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * taps * units(channels);
}

size_t scratch_bytes(int channels, int taps) {
  const int segments = (units(channels) + kSegment - 1) / kSegment;
  return static_cast<size_t>(2 * taps) * segments * kChannels * kBlock;
}

// tap, unit, row
void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const int words_a_tap = (channels + 63) / 64, n_units = units(channels);
  for (int t = 0; t < taps; t++)
    for (int u = 0; u < n_units; u++)
      for (int n = 0; n < kChannels; n++) {
        const uint64_t word =
            n < rows ? words[(static_cast<size_t>(n) * taps + t) * words_a_tap + u / 8] : 0;
        packed[(static_cast<size_t>(t) * n_units + u) * kChannels + n] =
            static_cast<uint8_t>(word >> (8 * (u % 8)));
      }
}

inline uint8x16_t differing(uint8x16_t a, uint8x16_t b) { return vcntq_u8(veorq_u8(a, b)); }

// One step after the other: GCC would mix them until the registers do not suffice.
#define IN_ORDER(x) asm volatile("" : "+w"(x))

// Differing bits of `count` units, minus 4 count, for 64 pixels and 4 channels. The accumulators
// have names because GCC keeps an array of them in memory.
inline void count_segment(const uint8_t* signs, size_t stride, const uint8_t* weights, int count,
                          int8_t* to) {
  const uint8x16_t start = vdupq_n_u8(static_cast<uint8_t>(-4 * count));
  uint8x16_t a00 = start, a01 = start, a02 = start, a03 = start;
  uint8x16_t a10 = start, a11 = start, a12 = start, a13 = start;
  uint8x16_t a20 = start, a21 = start, a22 = start, a23 = start;
  uint8x16_t a30 = start, a31 = start, a32 = start, a33 = start;
  do {
    const uint8x16_t x0 = vld1q_u8(signs), x1 = vld1q_u8(signs + 16);
    const uint8x16_t x2 = vld1q_u8(signs + 32), x3 = vld1q_u8(signs + 48);
#define STEP(n)                                    \
  do {                                             \
    uint8x16_t w = vld1q_dup_u8(weights + n);      \
    IN_ORDER(w);                                   \
    a##n##0 = vaddq_u8(a##n##0, differing(w, x0)); \
    a##n##1 = vaddq_u8(a##n##1, differing(w, x1)); \
    a##n##2 = vaddq_u8(a##n##2, differing(w, x2)); \
    a##n##3 = vaddq_u8(a##n##3, differing(w, x3)); \
    IN_ORDER(a##n##3);                             \
  } while (false)
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
#undef STEP
    signs += stride;
    weights += kChannels;
  } while (--count > 0);
#define KEEP(n, i) vst1q_s8(to + kBlock * n + 16 * i, vreinterpretq_s8_u8(a##n##i))
#define KEEP_ROW(n) KEEP(n, 0), KEEP(n, 1), KEEP(n, 2), KEEP(n, 3)
  KEEP_ROW(0);
  KEEP_ROW(1);
  KEEP_ROW(2);
  KEEP_ROW(3);
#undef KEEP_ROW
#undef KEEP
}

// sum += scale * counts for 16 pixels
inline void scale_row(const int8_t* counts, const V* scale, V* sum) {
  const int8x16_t bytes = vld1q_s8(counts);
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  sum[0] = fma(scale[0], from_int16(vget_low_s16(low)), sum[0]);
  sum[1] = fma(scale[1], from_int16(vget_high_s16(low)), sum[1]);
  sum[2] = fma(scale[2], from_int16(vget_low_s16(high)), sum[2]);
  sum[3] = fma(scale[3], from_int16(vget_high_s16(high)), sum[3]);
}

// sums = sum over taps of scales * (C - 2 differing bits), from rows of counts, for the 64 pixels
// from p. A count is the differing bits minus half the bits of its units, so C - 2 differing =
// -2 count - padding bits.
inline void scale_counts(const BinaryGemmTask& task, const int8_t* counts, int segments, int p) {
  const float padding = static_cast<float>(8 * units(task.channels) - task.channels);
  for (int q = 0; q < kBlock; q += 16) {
    V sum[kChannels][4], lost[4];
    for (int i = 0; i < 4; i++) {
      lost[i] = set(0.0f);
      for (int n = 0; n < kChannels; n++) sum[n][i] = set(0.0f);
    }
    const int8_t* row = counts + q;
    for (int t = 0; t < task.tap_count; t++) {
      V scale[4];
      for (int i = 0; i < 4; i++) {
        scale[i] = load(task.taps[t].scales + p + q + 4 * i);
        lost[i] = add(lost[i], scale[i]);
      }
      for (int s = 0; s < segments; s++)
        for (int n = 0; n < kChannels; n++, row += kBlock) scale_row(row, scale, sum[n]);
    }
    for (int n = 0; n < kChannels; n++)
      for (int i = 0; i < 4; i++) {
        const V padded = mul(set(-padding), lost[i]);
        store(task.sums + n * task.sums_stride + (p - task.begin) + q + 4 * i,
              fma(set(-2.0f), sum[n][i], padded));
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

#include "table_body.h"

}  // namespace

extern const Kernels kKernels;
constexpr Kernels kKernels = table_of("neon");

}  // namespace bimacosr::neon
