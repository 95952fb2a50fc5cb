// The operators of conv_kernels.h, written once and compiled for each instruction set. Included
// after float_body.h, in the same namespace.
//
// The product of panels is the bottleneck: kRows x vectors sums stay in registers, and each step
// loads `vectors` weights and broadcasts kRows inputs. AVX-512 and NEON have 32 registers, AVX2 16.

constexpr int kPanel = kLanes == 16 ? 32 : 16;
constexpr int kRows = kLanes == 16 ? 14 : kLanes == 1 ? 1 : 6;

template <int rows, int vectors>
inline void multiply_rows(const MultiplyTask& task, int row) {
  constexpr int width = vectors * kLanes;
  V sum[rows][vectors];
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++)
#pragma GCC unroll 16
    for (int i = 0; i < vectors; i++)
      sum[r][i] = task.start ? load(task.start + i * kLanes) : set(0.0f);
  const float* b = task.b;
  const size_t stride = task.a_stride;
  for (int s = 0; s < task.segment_count; s++) {
    const float* a = task.a + row * stride + task.segments[s];
    for (int k = 0; k < task.segment_length; k++, a++, b += width) {
      V weights[vectors];
#pragma GCC unroll 16
      for (int i = 0; i < vectors; i++) weights[i] = load(b + i * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < rows; r++) {
        const V x = set(a[r * stride]);
#pragma GCC unroll 16
        for (int i = 0; i < vectors; i++) sum[r][i] = fma(x, weights[i], sum[r][i]);
      }
    }
  }
  const float* plus = task.add ? task.add + row * task.add_stride : nullptr;
  float* c = task.c + row * task.c_stride;
#pragma GCC unroll 16
  for (int r = 0; r < rows; r++, c += task.c_stride)
#pragma GCC unroll 16
    for (int i = 0; i < vectors; i++) {
      if (plus) sum[r][i] = add(sum[r][i], load(plus + r * task.add_stride + i * kLanes));
      store(c + i * kLanes, sum[r][i]);
    }
}

// What is left of fewer than `rows` + 1 rows
template <int rows, int vectors>
inline void multiply_rest(const MultiplyTask& task, int row) {
  if constexpr (rows > 0) {
    if (task.rows - row == rows)
      multiply_rows<rows, vectors>(task, row);
    else
      multiply_rest<rows - 1, vectors>(task, row);
  }
}

template <int vectors>
inline void multiply_panel(const MultiplyTask& task) {
  int row = 0;
  for (; row + kRows <= task.rows; row += kRows) multiply_rows<kRows, vectors>(task, row);
  multiply_rest<kRows - 1, vectors>(task, row);
}

void multiply(const MultiplyTask& task) {
  if (task.width == kPanel)
    multiply_panel<kPanel / kLanes>(task);
  else
    multiply_panel<16 / kLanes>(task);
}

void activate(const ActivateTask& task) {
  for (int p = 0; p < task.pixels; p++) {
    const float* from = task.from + static_cast<size_t>(p) * task.channels;
    float* to = task.to + static_cast<size_t>(p) * task.channels;
    if (task.silu)
      for (int c = 0; c < task.channels; c += kLanes)
        store(to + c, silu(fma(load(task.gain + c), load(from + c), load(task.shift + c))));
    else
      for (int c = 0; c < task.channels; c += kLanes)
        store(to + c, fma(load(task.gain + c), load(from + c), load(task.shift + c)));
  }
}

void moments(const MomentsTask& task) {
  constexpr int vectors = 16 / kLanes;
  for (int c = 0; c < task.channels; c += 16) {
    V pivot[vectors], sum[vectors], squares[vectors];
    for (int i = 0; i < vectors; i++) {
      pivot[i] = load(task.x + c + i * kLanes);
      sum[i] = squares[i] = set(0.0f);
    }
    for (int y = 0; y < task.rows; y++) {
      const float* x = task.x + y * task.row_stride + c;
      for (int p = 0; p < task.columns; p++, x += task.channels)
        for (int i = 0; i < vectors; i++) {
          const V difference = sub(load(x + i * kLanes), pivot[i]);
          sum[i] = add(sum[i], difference);
          squares[i] = fma(difference, difference, squares[i]);
        }
    }
    for (int i = 0; i < vectors; i++) {
      float* to = task.moments + c + i * kLanes;
      store(to, pivot[i]);
      store(to + task.channels, sum[i]);
      store(to + 2 * task.channels, squares[i]);
    }
  }
}

void softmax(const SoftmaxTask& task) {
  const V scale = set(task.scale);
  for (int row = 0; row < task.rows; row++) {
    float* x = task.x + row * task.stride;
    V largest = load(x);
    for (int i = kLanes; i < task.count; i += kLanes) largest = max(largest, load(x + i));
    float lanes[kLanes];
    store(lanes, largest);
    float most = lanes[0];
    for (int i = 1; i < kLanes; i++) most = lanes[i] > most ? lanes[i] : most;
    const V shift = set(-task.scale * most);
    V sum = set(0.0f);
    for (int i = 0; i < task.count; i += kLanes) {
      const V e = exponential(fma(scale, load(x + i), shift));
      store(x + i, e);
      sum = add(sum, e);
    }
    const V part = set(1.0f / total(sum));
    for (int i = 0; i < task.count; i += kLanes) store(x + i, mul(part, load(x + i)));
  }
}

void nearest(const NearestTask& task) {
  float order[kLanes];
  for (int i = 0; i < kLanes; i++) order[i] = static_cast<float>(i);
  for (int p = 0; p < task.pixels; p++) {
    const float* z = task.z + p * task.stride;
    float square = 0;
    for (int c = 0; c < task.channels; c++) square += z[c] * z[c];
    V least = set(3.0e38f), found = set(0.0f), index = load(order);
    for (int k = 0; k < task.count; k += kLanes) {
      V product = set(0.0f);
      for (int c = 0; c < task.channels; c++)
        product =
            fma(set(2 * z[c]), load(task.codes + static_cast<size_t>(c) * task.count + k), product);
      const V distance = sub(add(set(square), load(task.squares + k)), product);
      found = where_negative(sub(distance, least), index, found);
      least = min(distance, least);
      index = add(index, set(static_cast<float>(kLanes)));
    }
    float distances[kLanes], indices[kLanes];
    store(distances, least);
    store(indices, found);
    int best = 0;
    for (int i = 1; i < kLanes; i++)
      if (distances[i] < distances[best] ||
          (distances[i] == distances[best] && indices[i] < indices[best]))
        best = i;
    task.indices[p] = static_cast<int32_t>(indices[best]);
  }
}

#include "transpose_body.h"
#include "winograd_body.h"

const ConvKernels kConvKernels = {
    .panel = kPanel,
    .multiply = multiply,
    .activate = activate,
    .moments = moments,
    .winograd_weights = winograd_weights,
    .winograd_input = winograd_input,
    .winograd_output = winograd_output,
    .softmax = softmax,
    .nearest = nearest,
    .transpose = transpose,
};
