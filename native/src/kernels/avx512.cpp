// AVX-512 with BITALG, GFNI, VBMI and VBMI2, which every processor with BITALG has: adders of bits
// on 512 pixels at a time; of few pixels, vpopcntb on 64 at a time, eight channels a byte.
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
    const __mmask64 all = _mm512_kunpackd(_mm512_kunpackw(m[3], m[2]), _mm512_kunpackw(m[1], m[0]));
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

#include "slice_sums_avx512.h"
static_assert(kPixels == kSlicePixels);

// each row, and room for a read beyond the last
size_t weight_bytes(int channels, int taps) {
  return static_cast<size_t>(kChannels) * row_bytes(channels, taps) + 8;
}

// Of each pair of units the second is stored as how it differs from the first; bits beyond the
// channels are 0.
void pack_weights(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed) {
  const int each = static_cast<int>(tap_bytes(channels)), units = (channels + 7) / 8;
  const auto last = static_cast<uint8_t>(0xff >> (8 * units - channels));
  const auto* from = reinterpret_cast<const uint8_t*>(words);
  uint8_t* to = packed;
  for (int n = 0; n < kChannels * taps; n++)
    for (int u = 0; u < each; u++, from++, to++) {
      *to = n < rows * taps && u < units ? *from : 0;
      if (u == units - 1) *to &= last;
      if (u % 2) *to ^= to[-1];
    }
  for (; to != packed + weight_bytes(channels, taps); to++) *to = 0;
}

#include "byte_counts_avx512.h"

void list_weights(const uint8_t* weights, int channels, int taps, uint8_t* lists) {
  list_channels(PackedWeights{weights, row_bytes(channels, taps), tap_bytes(channels)}, channels,
                taps, lists);
}

constexpr int kLeastSliced = 320;  // pixels

void binary_gemm(const BinaryGemmTask& task) {
  const Segments segments(task.channels);
  const Gathered gathered(task.sign_scratch, task.tap_count, segments);
  const bool sliced = task.lists && task.end - task.begin >= kLeastSliced;
  if (task.new_signs) gather(task, segments, gathered, sliced);
  if (sliced) {
    const Lists lists(task.lists, task.layer_taps * segments.of_tap);
    if (*lists.state != Lists::kTooLong) return multiply_slices(task, segments, gathered, lists);
  }
  multiply_bytes(task, gathered);
}

size_t scratch_bytes(int, int) { return 0; }

#include "table_body.h"

}  // namespace

extern const Kernels kKernels;
constexpr Kernels kKernels = [] {
  Kernels table = table_of("avx512");
  table.sign_scratch_bytes = gathered_bytes;
  table.list_bytes = list_bytes;
  table.list_weights = list_weights;
  return table;
}();

}  // namespace bimacosr::avx512
