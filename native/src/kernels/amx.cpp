// AMX: signs as bytes -1, 0, +1; tiles of 16 output channels by 16 pixels, 64 input channels a
// step. The float part is that of AVX-512, which every processor with AMX has.
#include <immintrin.h>

#include "bimacosr/bfloat16_kernels.h"
#include "bimacosr/conv_kernels.h"
#include "bimacosr/kernels.h"

namespace bimacosr::amx_bfloat16 {
extern const Bfloat16Kernels kBfloat16Kernels;
}

namespace bimacosr::amx {
namespace {

#include "simd_avx512.h"

// Four channels a word of four bytes, one word a pixel.
struct SignUnit {
  static constexpr int kChannels = 4;
  static constexpr bool kZeroIsExact = true;
  __m512i words[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                      _mm512_setzero_si512()};

  inline void add(int j, const V* y, bool zero_is_positive) {
    const V zero = _mm512_setzero_ps();
    const __m512i plus = _mm512_set1_epi32(0x01 << (8 * j));
    const __m512i minus = _mm512_set1_epi32(static_cast<int>(0xffu << (8 * j)));
    for (int i = 0; i < 4; i++) {
      const __mmask16 positive = zero_is_positive ? _mm512_cmp_ps_mask(y[i], zero, _CMP_GE_OQ)
                                                  : _mm512_cmp_ps_mask(y[i], zero, _CMP_GT_OQ);
      const __mmask16 negative = _mm512_cmp_ps_mask(y[i], zero, _CMP_LT_OQ);
      words[i] = _mm512_mask_or_epi32(words[i], positive, words[i], plus);
      words[i] = _mm512_mask_or_epi32(words[i], negative, words[i], minus);
    }
  }
  inline void store(uint8_t* signs, size_t stride, int unit, int p) const {
    for (int i = 0; i < 4; i++)
      _mm512_store_si512(signs + (p / 16 + i) * stride + static_cast<size_t>(unit) * 64, words[i]);
  }
};

constexpr int kConvChannels = 16;

#include "float_body.h"
#include "conv_body.h"

constexpr int kChannels = 32, kPixels = 64;
constexpr int kStep = 64;  // input channels of a tile
constexpr int kTileBytes = 16 * kStep;

inline int steps(int channels) { return (channels + kStep - 1) / kStep; }

// bits: tap, step, row; 64 channels a word
size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * taps * steps(channels) * 8;
}

// the weights of a layer's block as bytes, and two sets of products
size_t scratch_bytes(int channels, int taps) {
  return static_cast<size_t>(taps) * steps(channels) * 2 * kTileBytes + 2 * 4 * 1024;
}

void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const int n_steps = steps(channels);
  auto* to = reinterpret_cast<uint64_t*>(packed);
  for (int t = 0; t < taps; t++)
    for (int k = 0; k < n_steps; k++)
      for (int n = 0; n < kChannels; n++, to++)
        *to = n < rows ? words[(static_cast<size_t>(n) * taps + t) * n_steps + k] : 0;
}

// Bits to bytes -1 and +1. Rows and channels that are only padding become -1: the signs there are
// 0.
inline void expand(const uint8_t* packed, int count, int8_t* to) {
  const __m512i one = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
  const auto* words = reinterpret_cast<const uint64_t*>(packed);
  for (int i = 0; i < count; i++)
    _mm512_store_si512(to + static_cast<size_t>(i) * kStep,
                       _mm512_mask_blend_epi8(words[i], minus, one));
}

#include "amx_tiles.h"

// Tiles 0 to 3: 32 output channels by 32 pixels of one tap. Weights come as 2 tiles a step.
inline void multiply(const int8_t* weights, const uint8_t* signs, size_t stride, int n_steps) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int k = 0; k < n_steps; k++, weights += 2 * kTileBytes, signs += kTileBytes) {
    _tile_loadd(4, weights, kStep);
    _tile_loadd(6, signs, 64);
    _tile_loadd(5, weights + kTileBytes, kStep);
    _tile_loadd(7, signs + stride, 64);
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(3, 5, 7);
  }
}

// 32 rows of 32 products
inline void keep_products(int32_t* products) {
  _tile_stored(0, products, 128);
  _tile_stored(1, products + 16, 128);
  _tile_stored(2, products + 512, 128);
  _tile_stored(3, products + 512 + 16, 128);
}

// sums = or += scales * products for one tap and 32 pixels
template <bool first>
inline void scale_products(const int32_t* products, const float* scales, float* sums,
                           size_t stride) {
  const V scale0 = load(scales), scale1 = load(scales + 16);
  for (int n = 0; n < kChannels; n++, products += 32, sums += stride) {
    const V sum0 = first ? set(0.0f) : load(sums), sum1 = first ? set(0.0f) : load(sums + 16);
    store(sums, fma(scale0, from_int32(products), sum0));
    store(sums + 16, fma(scale1, from_int32(products + 16), sum1));
  }
}

// The products of one tap and 32 pixels are scaled while the tiles are busy with the next. All of
// it (weights of a tap, sums, two sets of products) has to stay in the first-level cache.
void binary_gemm(const BinaryGemmTask& task) {
  auto* weights = static_cast<int8_t*>(task.scratch);
  const int n_steps = steps(task.channels), n_tiles = task.layer_taps * n_steps * 2;
  auto* products = reinterpret_cast<int32_t*>(weights + static_cast<size_t>(n_tiles) * kTileBytes);
  if (task.new_weights) expand(task.weights, n_tiles * 16, weights);
  _tile_loadconfig(&kTiles);
  const int parts = (task.end - task.begin) / 32, count = parts * task.tap_count;
  for (int i = 0; i <= count; i++) {
    const Tap& tap = task.taps[i < count ? i / parts : 0];
    const int p = task.begin + i % parts * 32;
    if (i < count)
      multiply(weights + static_cast<size_t>(tap.weight) * n_steps * 2 * kTileBytes,
               tap.signs + p / 16 * task.sign_stride, task.sign_stride, n_steps);
    if (i > 0) {
      const int before = (i - 1) / parts, column = (i - 1) % parts * 32;
      const float* scales = task.taps[before].scales + task.begin + column;
      const int32_t* made = products + (i - 1) % 2 * 1024;
      if (before == 0)
        scale_products<true>(made, scales, task.sums + column, task.sums_stride);
      else
        scale_products<false>(made, scales, task.sums + column, task.sums_stride);
    }
    if (i < count) keep_products(products + i % 2 * 1024);
  }
  _tile_release();
}

void shift_signs(const uint8_t* from, uint8_t* to, size_t stride, int units, int shift, int begin,
                 int end) {
  const ptrdiff_t step = static_cast<ptrdiff_t>(stride);
  const int lane = shift & 15;
  const __m512i order =
      _mm512_add_epi32(_mm512_set1_epi32(lane),
                       _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  for (int p = begin; p < end; p += 16) {
    uint8_t* out = to + p / 16 * step;
    const uint8_t* first = from + (p / 16 + (shift < 0 ? -1 : 0)) * step;
    for (int u = 0; u < units; u++, out += 64, first += 64) {
      const __m512i a = _mm512_load_si512(first), b = _mm512_load_si512(first + step);
      _mm512_store_si512(out, _mm512_permutex2var_epi32(a, order, b));
    }
  }
}

#include "table_body.h"

}  // namespace

extern const Kernels kKernels;
constexpr Kernels kKernels = [] {
  Kernels table = table_of("amx");
  table.sign_layout = SignLayout::kGroups;
  table.unit_multiple = 16;
  table.shift_signs = shift_signs;
  table.bfloat16 = &amx_bfloat16::kBfloat16Kernels;
  return table;
}();

}  // namespace bimacosr::amx
