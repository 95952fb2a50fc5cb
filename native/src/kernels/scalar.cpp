// The reference: plain C++ for any processor, one float at a time, bits counted word by word.
#include <cstring>

#include "bimacosr/conv_kernels.h"
#include "bimacosr/kernels.h"

namespace bimacosr::scalar {
namespace {

struct V {
  float x;
};
constexpr int kLanes = 1;

inline V load(const float* p) { return {*p}; }
inline void store(float* p, V v) { *p = v.x; }
inline V set(float x) { return {x}; }
inline V add(V a, V b) { return {a.x + b.x}; }
inline V sub(V a, V b) { return {a.x - b.x}; }
inline V mul(V a, V b) { return {a.x * b.x}; }
inline V divide(V a, V b) { return {a.x / b.x}; }
inline V reciprocal(V a) { return {1 / a.x}; }
inline V fma(V a, V b, V c) { return {a.x * b.x + c.x}; }
inline V max(V a, V b) { return a.x > b.x ? a : b; }
inline V min(V a, V b) { return a.x < b.x ? a : b; }
inline V abs(V a) { return {a.x < 0 ? -a.x : a.x}; }
// p 2^k for an integer-valued k from -126 to 127
inline V times_exp2(V p, V k) {
  const int32_t bits = (static_cast<int32_t>(k.x) + 127) * (1 << 23);
  V v;
  memcpy(&v.x, &bits, sizeof bits);
  return mul(p, v);
}
inline V round_even(V a) { return {(a.x + 12582912.0f) - 12582912.0f}; }  // |a| < 2^22
inline V where_negative(V x, V a, V b) { return x.x < 0 ? a : b; }
inline bool any_zero(V x) { return x.x == 0; }
inline V first_lanes(V v, int n) { return {n > 0 ? v.x : 0}; }
inline float total(V v) { return v.x; }
inline void totals(V a, V b, V c, V d, float* to) {
  to[0] = total(a), to[1] = total(b), to[2] = total(c), to[3] = total(d);
}

// Eight channels a byte, one byte a pixel: bit i is set where channel i is positive.
struct SignUnit {
  static constexpr int kChannels = 8;
  static constexpr bool kZeroIsExact = false;
  uint8_t bits[kTile] = {};

  inline void add(int j, const V* y, bool zero_is_positive) {
    for (int i = 0; i < kTile; i++) {
      const bool positive = zero_is_positive ? y[i].x >= 0 : y[i].x > 0;
      bits[i] = static_cast<uint8_t>(bits[i] | (positive << j));
    }
  }
  inline void store(uint8_t* signs, size_t stride, int unit, int p) const {
    memcpy(signs + unit * stride + p, bits, sizeof bits);
  }
};

constexpr int kConvChannels = 4;

#include "float_body.h"
#include "conv_body.h"

constexpr int kChannels = 4, kPixels = 256;

int units(int channels) { return (channels + 7) / 8; }

size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * taps * units(channels);
}

size_t scratch_bytes(int, int) { return 0; }

// row, tap, unit
void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const int words_a_tap = (channels + 63) / 64;
  memset(packed, 0, weight_bytes(channels, taps));
  for (int n = 0; n < rows; n++)
    for (int t = 0; t < taps; t++)
      for (int u = 0; u < units(channels); u++) {
        const uint64_t word = words[(static_cast<size_t>(n) * taps + t) * words_a_tap + u / 8];
        packed[(static_cast<size_t>(n) * taps + t) * units(channels) + u] =
            static_cast<uint8_t>(word >> (8 * (u % 8)));
      }
}

// Ones in each byte of x.
uint64_t ones(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  return (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}

constexpr int kSegment = 31;  // units whose differing bits fit a byte

// Bits in which the weights differ from the signs of eight pixels
void count(const uint8_t* weights, const uint8_t* signs, size_t stride, int n_units,
           int* differing) {
  for (int i = 0; i < 8; i++) differing[i] = 0;
  for (int first = 0; first < n_units; first += kSegment) {
    const int last = first + kSegment < n_units ? first + kSegment : n_units;
    uint64_t bytes = 0;
    for (int u = first; u < last; u++) {
      uint64_t eight;
      memcpy(&eight, signs + u * stride, sizeof eight);
      bytes += ones(eight ^ (weights[u] * 0x0101010101010101u));
    }
    uint8_t each[8];
    memcpy(each, &bytes, sizeof each);
    for (int i = 0; i < 8; i++) differing[i] += each[i];
  }
}

void binary_gemm(const BinaryGemmTask& task) {
  const int n_units = units(task.channels);
  for (int n = 0; n < kChannels; n++)
    for (int p = task.begin; p < task.end; p += 8) {
      float sums[8] = {};
      for (int t = 0; t < task.tap_count; t++) {
        const Tap& tap = task.taps[t];
        const uint8_t* weights =
            task.weights + (static_cast<size_t>(n) * task.layer_taps + tap.weight) * n_units;
        int differing[8];
        count(weights, tap.signs + p, task.sign_stride, n_units, differing);
        for (int i = 0; i < 8; i++)
          sums[i] += tap.scales[p + i] * static_cast<float>(task.channels - 2 * differing[i]);
      }
      memcpy(task.sums + n * task.sums_stride + (p - task.begin), sums, sizeof sums);
    }
}

#include "table_body.h"

}  // namespace

extern const Kernels kKernels;
constexpr Kernels kKernels = table_of("scalar");

}  // namespace bimacosr::scalar
