// The float part of the operators, written once and compiled for each instruction set. Included
// inside the namespace of the instruction set, after its simd_*.h and its `SignUnit`. It must not
// use inline functions of other headers: the linker might keep an AVX-512 copy of one for everyone.

constexpr int kVectors = kTile / kLanes;

#include "silu_body.h"

// Below it the float32 error function is -1 and GELU exactly 0, which a sign sees; so in PyTorch,
// whose vectors round a few more to 0, down from -5.4904.
constexpr float kGeluZero = -5.542594f;

#ifdef BIMACOSR_SIMD_AVX512
#include "gelu_avx512.h"
#else
// x Phi(x) with an absolute error of 2e-7 |x|: Phi(x) - 1/2 = x P(x^2) / Q(x^2) from kGeluZero to
// -kGeluZero, with the least largest error
inline V gelu(V x) {
  const V seen = min(max(x, set(kGeluZero)), set(-kGeluZero)), square = mul(seen, seen);
  V p = set(2.24731422e-8f), q = set(1.18948697e-6f);
  p = fma(p, square, set(6.35251582e-6f));
  q = fma(q, square, set(7.42758057e-5f));
  p = fma(p, square, set(1.71021762e-4f));
  q = fma(q, square, set(1.89690152e-3f));
  p = fma(p, square, set(4.69031138e-3f));
  q = fma(q, square, set(2.87749134e-2f));
  p = fma(p, square, set(3.40828784e-2f));
  q = fma(q, square, set(2.52098948e-1f));
  p = fma(p, square, set(3.98942232e-1f));
  q = fma(q, square, set(1.0f));
  // never 0 or below, where rounding would make it so: its sign is seen
  const V phi = max(fma(seen, divide(p, q), set(0.5f)), set(1e-9f));
  return where_negative(sub(x, set(kGeluZero)), set(0.0f), mul(x, phi));
}
#endif

constexpr int kAhead = 12;  // channels after this one that the cache is asked for

// Channels that are projected right after they were made, while they are in the first-level cache.
constexpr int kProjected = 32;

// projected += low_rank y for one tile and the channels from `begin` on. Inlined, it would lack
// registers: GCC keeps those of the caller's loop, and one of the sums in memory.
template <int rank>
[[gnu::noinline]] void project_channels(const PrepareTask& task, const float* y, int first,
                                        int tile, int begin, int end) {
  constexpr int wide = kVectors < 2 ? 1 : 2;
  float* to = task.projected + (static_cast<size_t>(tile) * task.rank + first) * kTile;
  for (int i = 0; i < kVectors; i += wide, to += wide * kLanes) {
    V sum[rank][wide];
    for (int k = 0; k < rank; k++)
      for (int j = 0; j < wide; j++)
        sum[k][j] = begin ? load(to + k * kTile + j * kLanes) : set(0.0f);
    const float* a = task.low_rank + static_cast<size_t>(first) * task.channels;
    for (int c = begin; c < end; c++) {
      V value[wide];
      for (int j = 0; j < wide; j++) value[j] = load(y + c * kTile + (i + j) * kLanes);
      for (int k = 0; k < rank; k++) {
        const V factor = set(a[k * task.channels + c]);
        for (int j = 0; j < wide; j++) sum[k][j] = fma(factor, value[j], sum[k][j]);
      }
    }
    for (int k = 0; k < rank; k++)
      for (int j = 0; j < wide; j++) store(to + k * kTile + j * kLanes, sum[k][j]);
  }
}

// `y`: what the layer sees of the tile, from its channel 0 on
inline void project(const PrepareTask& task, const float* y, int tile, int begin, int end) {
  int k = 0;
  for (; k + 8 <= task.rank; k += 8) project_channels<8>(task, y, k, tile, begin, end);
  if (k + 4 <= task.rank) project_channels<4>(task, y, k, tile, begin, end), k += 4;
  for (; k < task.rank; k++) project_channels<1>(task, y, k, tile, begin, end);
}

// Whether some y of the tile may be 0; `exact`: of the picture, and then the negative signs are
// what they should be. Without it they are the positive ones, which is right where nothing is 0.
template <bool with_silu, bool exact>
inline bool prepare_tile(const PrepareTask& task, int p) {
  constexpr int unit = SignUnit::kChannels;
  // what stands in memory is read again after every store
  const int tile = p / kTile, channels = task.channels;
  const MapView input = task.inputs[0], other = task.inputs[1];
  const float *const gains = task.gain, *const shifts = task.shift;
  const bool zero_is_positive = task.zero_is_positive || !SignUnit::kZeroIsExact;
  const size_t made_before = static_cast<size_t>(tile - task.y_begin / kTile) * channels;
  float* const made = task.y ? task.y + made_before * kTile : nullptr;
  const float* x = input.data + tile * input.tile_stride;
  const float* const seen = made ? made : x;
  V total[kVectors], least[kVectors];
  for (int i = 0; i < kVectors; i++) total[i] = set(0.0f), least[i] = set(1.0f);
  bool zero = false;
  for (int first = 0; first < channels; first += unit) {
    const int count = channels - first < unit ? channels - first : unit;
    SignUnit signs, negative;
    for (int j = 0; j < count; j++, x += kTile) {
      const int c = first + j;
      if (c == input.channels) x = other.data + tile * other.tile_stride;
      for (int i = 0; i < kTile; i += 16) __builtin_prefetch(x + kAhead * kTile + i);
      const V gain = set(gains ? gains[c] : 1.0f);
      const V shift = set(shifts ? shifts[c] : 0.0f);
      V y[kVectors];
      for (int i = 0; i < kVectors; i++) {
        y[i] = fma(gain, load(x + i * kLanes), shift);
        if constexpr (with_silu) y[i] = silu(y[i]);
        const V size = abs(y[i]);
        total[i] = add(total[i], size);
        if constexpr (!exact) least[i] = min(least[i], size);
      }
      if (made)
        for (int i = 0; i < kVectors; i++) store(made + c * kTile + i * kLanes, y[i]);
      signs.add(j, y, zero_is_positive);
      if constexpr (exact) {
        negative.add(j, y, false);
        // what lies beyond the picture is left from earlier, and must not decide anything
        for (int i = 0; i < kVectors; i++)
          zero |=
              any_zero(task.outside ? max(abs(y[i]), load(task.outside + p + i * kLanes)) : y[i]);
      }
    }
    signs.store(task.signs, task.sign_stride, first / unit, p);
    if (task.negative_signs)
      (exact ? negative : signs).store(task.negative_signs, task.sign_stride, first / unit, p);
    const int next = first + count;
    if (task.low_rank && (next % kProjected == 0 || next == channels))
      project(task, seen, tile, (next - 1) / kProjected * kProjected, next);
  }
  const V mean = set(1.0f / static_cast<float>(channels));
  for (int i = 0; i < kVectors; i++) store(task.scales + p + i * kLanes, mul(total[i], mean));
  if constexpr (!exact)
    for (int i = 0; i < kVectors; i++) zero |= any_zero(least[i]);
  return zero;
}

// Whether some y of the tile is 0, as far as signs depend on it. `expected`: where there was one,
// there may be others.
template <bool with_silu>
inline bool prepare_signs(const PrepareTask& task, int p, bool expected) {
  if (!expected && (!prepare_tile<with_silu, false>(task, p) || !task.negative_signs)) return false;
  return prepare_tile<with_silu, true>(task, p);
}

inline void prepare(const PrepareTask& task) {
  bool zero = false;
  for (int p = task.begin; p < task.end; p += kTile) {
    zero = task.silu ? prepare_signs<true>(task, p, zero) : prepare_signs<false>(task, p, zero);
    if (task.zeros) task.zeros[p / kTile] = zero;
  }
}

#include "epilogue_body.h"

// `vectors` of pixels from column x on, by `channels` output channels
template <int channels, int vectors>
inline void convolve(const FloatConvTask& task, int x) {
  V sum[channels][vectors];
  for (int n = 0; n < channels; n++)
    for (int i = 0; i < vectors; i++) sum[n][i] = set(task.bias[n]);
  const float* weights = task.weights;
  const float* plane = task.row + x;
  for (int c = 0; c < task.channels; c++, plane += task.plane_stride)
    for (int t = 0; t < 9; t++, weights += kConvChannels) {
      const float* from = plane + (t / 3 - 1) * static_cast<ptrdiff_t>(task.row_stride) + t % 3 - 1;
      V value[vectors];
      for (int i = 0; i < vectors; i++) value[i] = load(from + i * kLanes);
      for (int n = 0; n < channels; n++)
        for (int i = 0; i < vectors; i++) sum[n][i] = fma(set(weights[n]), value[i], sum[n][i]);
    }
  for (int i = 0; i < vectors; i++) {
    const int p = task.y * task.out_row + x + i * kLanes;
    float* out = task.out + p / kTile * task.out_tile_stride + p % kTile;
    for (int n = 0; n < channels && n < task.count; n++) store(out + n * kTile, sum[n][i]);
  }
}

inline void float_conv(const FloatConvTask& task) {
  // where there are registers for many channels, a layer that makes a picture has few
  constexpr int few = 4, wide = 4;
  int x = 0;
  if constexpr (kConvChannels == few * wide)
    if (task.count <= few)
      for (; x + wide * kLanes <= task.width; x += wide * kLanes) convolve<few, wide>(task, x);
  for (; x < task.width; x += 16) convolve<kConvChannels, 16 / kLanes>(task, x);
}

// Rows first (six sums, in scratch), then columns.
inline void combine_phases(const PhaseTask& task) {
  const int width = (task.pixels + 2 * kTile), row = task.row;
  for (int n = 0; n < task.channels; n++) {
    const float* products = task.products + n * task.channel_stride;
    for (int dx = 0; dx < 3; dx++) {
      const float* above = products + dx * task.tap_stride;
      const float* same = above + 3 * task.tap_stride;
      const float* below = same + 3 * task.tap_stride;
      float* upper = task.scratch + dx * width + kTile;
      float* lower = upper + 3 * width;
      // a vector more at either end, for the columns beside
      for (int p = -kLanes; p < task.pixels + kLanes; p += kLanes) {
        const V middle = load(same + p);
        store(upper + p, add(load(above + p - row), add(middle, load(below + p))));
        store(lower + p, add(load(above + p), add(middle, load(below + p + row))));
      }
    }
    for (int a = 0; a < 2; a++) {
      const float* left = task.scratch + 3 * a * width + kTile;
      const float* same = left + width;
      const float* right = same + width;
      float* even = task.sums[2 * a] + n * task.sums_stride;
      float* odd = task.sums[2 * a + 1] + n * task.sums_stride;
      for (int p = 0; p < task.pixels; p += kLanes) {
        const V middle = load(same + p);
        store(even + p,
              fma(load(task.left_edge + p), load(left + p - 1), add(middle, load(right + p))));
        store(odd + p,
              fma(load(task.right_edge + p), load(right + p + 1), add(middle, load(left + p))));
      }
    }
  }
}

#include "attention_body.h"
