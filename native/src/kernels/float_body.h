// The float part of the operators, written once and compiled for each instruction set. Included
// inside the namespace of the instruction set, after its simd_*.h and its `SignUnit`. It must not
// use inline functions of other headers: the linker might keep an AVX-512 copy of one for everyone.

constexpr int kVectors = kTile / kLanes;

// e^x with a relative error of 2e-7: degree 6 on [-ln2/2, ln2/2]; x is clamped to [-87, 88]
inline V exponential(V x) {
  x = min(max(x, set(-87.0f)), set(88.0f));
  const V k = round_even(mul(x, set(1.44269504f)));
  V r = fma(k, set(-0.693359375f), x);
  r = fma(k, set(2.12194440e-4f), r);
  V p = set(1.38888889e-3f);
  p = fma(p, r, set(8.33333333e-3f));
  p = fma(p, r, set(4.16666667e-2f));
  p = fma(p, r, set(1.66666667e-1f));
  p = fma(p, r, set(0.5f));
  p = fma(p, r, set(1.0f));
  p = fma(p, r, set(1.0f));
  return mul(p, exp2i(k));
}

inline V silu(V x) { return divide(x, add(set(1.0f), exponential(sub(set(0.0f), x)))); }

// x Phi(x) with an absolute error of 2e-7 |x| (Abramowitz and Stegun 7.1.26). Below kGeluZero the
// float32 error function is -1 and GELU exactly 0, which a sign sees; so in PyTorch, whose vectors
// round a few more to 0, down from -5.4904.
constexpr float kGeluZero = -5.542594f;
inline V gelu(V x) {
  const V z = mul(abs(x), set(0.70710678f));
  const V t = divide(set(1.0f), fma(z, set(0.3275911f), set(1.0f)));
  V p = set(1.061405429f);
  p = fma(p, t, set(-1.453152027f));
  p = fma(p, t, set(1.421413741f));
  p = fma(p, t, set(-0.284496736f));
  p = fma(p, t, set(0.254829592f));
  const V tail = mul(mul(p, t), exponential(sub(set(0.0f), mul(z, z))));
  const V phi = mul(set(0.5f), where_negative(x, tail, sub(set(2.0f), tail)));
  return where_negative(sub(x, set(kGeluZero)), set(0.0f), mul(x, phi));
}

template <Activation activation>
inline V activate(V x) {
  if constexpr (activation == Activation::kSilu) return silu(x);
  if constexpr (activation == Activation::kGelu) return gelu(x);
  return x;
}

template <Activation activation>
inline void prepare_tile(const PrepareTask& task, int p) {
  constexpr int unit = SignUnit::kChannels;
  const int tile = p / kTile;
  V total[kVectors];
  for (int i = 0; i < kVectors; i++) total[i] = set(0.0f);
  bool zero = false;
  for (int first = 0; first < task.channels; first += unit) {
    const int count = task.channels - first < unit ? task.channels - first : unit;
    SignUnit signs, negative;
    for (int j = 0; j < count; j++) {
      const int c = first + j;
      const MapView& input = task.inputs[c >= task.inputs[0].channels];
      const float* x = input.data + tile * input.tile_stride +
                       static_cast<size_t>(kTile) * (&input == task.inputs ? c : c - task.inputs[0].channels);
      const V gain = set(task.gain ? task.gain[c] : 1.0f);
      const V shift = set(task.shift ? task.shift[c] : 0.0f);
      V y[kVectors];
      for (int i = 0; i < kVectors; i++) {
        y[i] = activate<activation>(fma(gain, load(x + i * kLanes), shift));
        total[i] = add(total[i], abs(y[i]));
      }
      if (task.y) {
        float* to = task.y + (static_cast<size_t>(tile) * task.channels + c) * kTile;
        for (int i = 0; i < kVectors; i++) store(to + i * kLanes, y[i]);
      }
      signs.add(j, y, task.zero_is_positive || !SignUnit::kZeroIsExact);
      if (task.negative_signs) {
        negative.add(j, y, false);
        for (int i = 0; i < kVectors; i++) zero |= any_zero(y[i]);
      }
    }
    signs.store(task.signs, task.sign_stride, first / unit, p);
    if (task.negative_signs)
      negative.store(task.negative_signs, task.sign_stride, first / unit, p);
  }
  const V mean = set(1.0f / static_cast<float>(task.channels));
  for (int i = 0; i < kVectors; i++) store(task.scales + p + i * kLanes, mul(total[i], mean));
  if (zero && task.zero_seen) *task.zero_seen = 1;
}

// projected = low_rank y for one tile, from the float result just written, or from the input
template <int rank>
inline void project_tile(const PrepareTask& task, int first, int p) {
  const size_t tile = p / kTile;
  const float* y = task.y ? task.y + tile * task.channels * kTile
                          : task.inputs[0].data + tile * task.inputs[0].tile_stride;
  float* to = task.projected + (tile * task.rank + first) * kTile;
  for (int i = 0; i < kVectors; i++, y += kLanes, to += kLanes) {
    V sum[rank];
    for (int k = 0; k < rank; k++) sum[k] = set(0.0f);
    const float* a = task.low_rank + static_cast<size_t>(first) * task.channels;
    for (int c = 0; c < task.channels; c++, a++) {
      const V value = load(y + c * kTile);
      for (int k = 0; k < rank; k++) sum[k] = fma(set(a[k * task.channels]), value, sum[k]);
    }
    for (int k = 0; k < rank; k++) store(to + k * kTile, sum[k]);
  }
}

inline void prepare(const PrepareTask& task) {
  for (int p = task.begin; p < task.end; p += kTile) {
    switch (task.activation) {
      case Activation::kNone: prepare_tile<Activation::kNone>(task, p); break;
      case Activation::kSilu: prepare_tile<Activation::kSilu>(task, p); break;
      case Activation::kGelu: prepare_tile<Activation::kGelu>(task, p); break;
    }
    if (!task.low_rank) continue;
    int k = 0;
    for (; k + 8 <= task.rank; k += 8) project_tile<8>(task, k, p);
    if (k + 4 <= task.rank) project_tile<4>(task, k, p), k += 4;
    for (; k < task.rank; k++) project_tile<1>(task, k, p);
  }
}

inline V leaky(V x, V slope) { return where_negative(x, mul(x, slope), x); }

// Adds the pixels of one vector that belong to the picture to sum and squares.
inline void count_moments(const EpilogueTask& task, V v, int p, V* sum, V* squares) {
  const int left = task.pixels - p;
  if (left <= 0) return;
  if (left < kLanes) v = first_lanes(v, left);
  if (task.width != task.row) {
    const int x = p % task.row;  // such rows are multiples of 16: a vector lies in one of them
    if (x + kLanes > task.width) v = first_lanes(v, x < task.width ? task.width - x : 0);
  }
  *sum = add(*sum, v);
  *squares = fma(v, v, *squares);
}

inline void epilogue_tile(const EpilogueTask& task, int n, int p) {
  const size_t tile = p / kTile;
  const float* sums = task.sums + (n - task.first) * task.sums_stride + (p - task.begin);
  const V scale = set(task.scale[n]), bias = set(task.bias ? task.bias[n] : 0.0f);
  V v[kVectors];
  for (int i = 0; i < kVectors; i++) v[i] = fma(scale, load(sums + i * kLanes), bias);
  if (task.rprelu) {
    const V before = set(task.rprelu[3 * n]), slope = set(task.rprelu[3 * n + 1]);
    const V after = set(task.rprelu[3 * n + 2]);
    for (int i = 0; i < kVectors; i++) v[i] = add(leaky(add(v[i], before), slope), after);
  }
  if (task.sparse_start) {
    const float* x = task.x.data + tile * task.x.tile_stride;
    for (int e = task.sparse_start[n]; e < task.sparse_start[n + 1]; e++) {
      const float* from = x + task.sparse_column[e] * kTile;
      const V value = set(task.sparse_value[e]);
      for (int i = 0; i < kVectors; i++) v[i] = fma(value, load(from + i * kLanes), v[i]);
    }
  }
  if (task.low_rank) {
    const float* t = task.projected + tile * task.rank * kTile;
    for (int k = 0; k < task.rank; k++, t += kTile) {
      const V value = set(task.low_rank[n * task.rank + k]);
      for (int i = 0; i < kVectors; i++) v[i] = fma(value, load(t + i * kLanes), v[i]);
    }
  }
  if (task.prelu) {
    const V slope = set(task.prelu[n]);
    for (int i = 0; i < kVectors; i++) v[i] = leaky(v[i], slope);
  }
  const V gain = set(task.gain ? task.gain[n] : 1.0f);
  if (task.residual.data) {
    const float* x = task.residual.data + tile * task.residual.tile_stride + n * kTile;
    for (int i = 0; i < kVectors; i++) v[i] = fma(gain, v[i], load(x + i * kLanes));
  } else if (task.gain) {
    for (int i = 0; i < kVectors; i++) v[i] = mul(gain, v[i]);
  }
  float* out = task.out + tile * task.out_tile_stride + n * kTile;
  for (int i = 0; i < kVectors; i++) store(out + i * kLanes, v[i]);
  if (task.moments) {
    V sum = set(0.0f), squares = set(0.0f);
    for (int i = 0; i < kVectors; i++) count_moments(task, v[i], p + i * kLanes, &sum, &squares);
    task.moments[2 * (tile * task.moments_channels + n)] = total(sum);
    task.moments[2 * (tile * task.moments_channels + n) + 1] = total(squares);
  }
}

inline void epilogue(const EpilogueTask& task) {
  for (int p = task.begin; p < task.end; p += kTile)
    for (int n = task.first; n < task.first + task.count; n++) epilogue_tile(task, n, p);
}

// 16 pixels by kConvChannels output channels at a time
inline void float_conv(const FloatConvTask& task) {
  constexpr int vectors = 16 / kLanes;
  for (int x = 0; x < task.width; x += 16) {
    V sum[kConvChannels][vectors];
    for (int n = 0; n < kConvChannels; n++)
      for (int i = 0; i < vectors; i++) sum[n][i] = set(task.bias[n]);
    const float* weights = task.weights;
    const float* plane = task.planes + static_cast<ptrdiff_t>(task.y) * task.row_stride + x;
    for (int c = 0; c < task.channels; c++, plane += task.plane_stride)
      for (int t = 0; t < 9; t++, weights += kConvChannels) {
        const float* from = plane + (t / 3 - 1) * static_cast<ptrdiff_t>(task.row_stride) + t % 3 - 1;
        V value[vectors];
        for (int i = 0; i < vectors; i++) value[i] = load(from + i * kLanes);
        for (int n = 0; n < kConvChannels; n++)
          for (int i = 0; i < vectors; i++) sum[n][i] = fma(set(weights[n]), value[i], sum[n][i]);
      }
    const int p = task.y * task.out_row + x;
    float* out = task.out + p / kTile * task.out_tile_stride + p % kTile;
    for (int n = 0; n < task.count; n++)
      for (int i = 0; i < vectors; i++) store(out + n * kTile + i * kLanes, sum[n][i]);
  }
}

#include "attention_body.h"
