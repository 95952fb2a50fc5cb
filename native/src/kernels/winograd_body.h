// The transforms of Winograd's convolution; see conv_kernels.h. Included by conv_body.h.

// Points 0, 3/4, -3/4, 3/2, -3/2 and infinity: of those tried, the ones that round least.
struct Single {
  static constexpr int kPixels = 6, kInputs = 6, kStep = 4;
  static constexpr float kNear = 0.75f, kFar = 1.5f;
  static constexpr float kNear2 = kNear * kNear, kFar2 = kFar * kFar;

  static inline void input(const V* d, V* v) {
    const V even_near = fma(set(-kFar2), d[2], d[4]), odd_near = fma(set(-kFar2), d[1], d[3]);
    const V even_far = fma(set(-kNear2), d[2], d[4]), odd_far = fma(set(-kNear2), d[1], d[3]);
    v[0] = fma(set(kNear2 * kFar2), d[0], fma(set(-kNear2 - kFar2), d[2], d[4]));
    v[1] = fma(set(kNear), odd_near, even_near);
    v[2] = fma(set(-kNear), odd_near, even_near);
    v[3] = fma(set(kFar), odd_far, even_far);
    v[4] = fma(set(-kFar), odd_far, even_far);
    v[5] = fma(set(kNear2 * kFar2), d[1], fma(set(-kNear2 - kFar2), d[3], d[5]));
  }
  static inline void weights(const V* g, V* u) {
    const V of_near = set(0.5f / (kNear2 * (kNear2 - kFar2)));
    const V of_far = set(0.5f / (kFar2 * (kFar2 - kNear2)));
    const V even_near = fma(set(kNear2), g[2], g[0]), even_far = fma(set(kFar2), g[2], g[0]);
    u[0] = mul(set(1 / (kNear2 * kFar2)), g[0]);
    u[1] = mul(of_near, fma(set(kNear), g[1], even_near));
    u[2] = mul(of_near, fma(set(-kNear), g[1], even_near));
    u[3] = mul(of_far, fma(set(kFar), g[1], even_far));
    u[4] = mul(of_far, fma(set(-kFar), g[1], even_far));
    u[5] = g[2];
  }
  static inline void output(const V* m, V* y) {
    const V sum_near = add(m[1], m[2]), difference_near = sub(m[1], m[2]);
    const V sum_far = add(m[3], m[4]), difference_far = sub(m[3], m[4]);
    y[0] = add(m[0], add(sum_near, sum_far));
    y[1] = fma(set(kNear), difference_near, mul(set(kFar), difference_far));
    y[2] = fma(set(kNear2), sum_near, mul(set(kFar2), sum_far));
    y[3] = fma(set(kNear * kNear2), difference_near, fma(set(kFar * kFar2), difference_far, m[5]));
  }
};

// Of the pixels a, b, c, d, of which b and c are seen twice, come the results
// g0 a + (g1 + g2) b, (g0 + g1) b + g2 c, g0 b + (g1 + g2) c and (g0 + g1) c + g2 d: the first and
// the third are one convolution of two taps, the others another.
struct Doubled {
  static constexpr int kPixels = 4, kInputs = 5, kStep = 2;

  static inline void input(const V* d, V* v) {
    v[0] = sub(d[0], d[1]);
    v[1] = d[1];
    v[2] = sub(d[1], d[2]);
    v[3] = d[2];
    v[4] = sub(d[2], d[3]);
  }
  static inline void weights(const V* g, V* u) {
    u[0] = g[0];
    u[2] = add(g[1], g[2]);
    u[1] = u[4] = add(g[0], u[2]);
    u[3] = add(g[0], g[1]);
    u[5] = g[2];
  }
  static inline void output(const V* m, V* y) {
    y[0] = add(m[0], m[1]);
    y[1] = add(m[3], m[4]);
    y[2] = sub(m[1], m[2]);
    y[3] = sub(m[4], m[5]);
  }
};

template <typename Points>
inline void transform_weights(const WinogradWeightsTask& task) {
  constexpr int n = 6;
  const size_t count = static_cast<size_t>(task.channels) * task.width;
  for (size_t at = 0; at < count; at += kLanes) {
    V columns[3][n];
    for (int x = 0; x < 3; x++) {
      V g[3];
      for (int y = 0; y < 3; y++) g[y] = load(task.from + (3 * y + x) * count + at);
      Points::weights(g, columns[x]);
    }
    for (int i = 0; i < n; i++) {
      V g[3] = {columns[0][i], columns[1][i], columns[2][i]}, u[n];
      Points::weights(g, u);
      for (int j = 0; j < n; j++) store(task.to + (i * n + j) * task.to_stride + at, u[j]);
    }
  }
}

template <typename Points>
inline void transform_input(const WinogradInputTask& task) {
  constexpr int pixels = Points::kPixels, n = Points::kInputs;
  for (int t = 0; t < task.tiles; t++) {
    const float* patch = task.patch + t * Points::kStep * task.pixel_stride;
    float* to = task.v + t * task.tile_stride;
    for (int c = 0; c < task.channels; c += kLanes, patch += kLanes, to += kLanes) {
      V columns[pixels][n];
      for (int x = 0; x < pixels; x++) {
        V d[pixels];
        for (int y = 0; y < pixels; y++)
          d[y] = load(patch + y * task.row_stride + x * task.pixel_stride);
        Points::input(d, columns[x]);
      }
      for (int i = 0; i < n; i++) {
        V d[pixels], v[n];
        for (int x = 0; x < pixels; x++) d[x] = columns[x][i];
        Points::input(d, v);
        for (int j = 0; j < n; j++) store(to + (i * n + j) * task.v_stride, v[j]);
      }
    }
  }
}

template <typename Points>
inline void transform_output(const WinogradOutputTask& task) {
  constexpr int n = 6;
  for (int t = 0; t < task.tiles; t++) {
    const int left = task.columns - 4 * t, count = left < 4 ? left : 4;
    for (int c = 0; c < task.width; c += kLanes) {
      const float* m = task.m + static_cast<size_t>(t) * task.width + c;
      V columns[n][4];
      for (int j = 0; j < n; j++) {
        V of_column[n];
        for (int i = 0; i < n; i++) of_column[i] = load(m + (i * n + j) * task.m_stride);
        Points::output(of_column, columns[j]);
      }
      const V bias = load(task.bias + c);
      for (int y = 0; y < task.rows; y++) {
        V of_row[n], out[4];
        for (int j = 0; j < n; j++) of_row[j] = columns[j][y];
        Points::output(of_row, out);
        const size_t at = y * task.row_stride + 4 * t * task.pixel_stride + c;
        for (int x = 0; x < count; x++) {
          V result = add(out[x], bias);
          if (task.add) result = add(result, load(task.add + at + x * task.pixel_stride));
          store(task.out + at + x * task.pixel_stride, result);
        }
      }
    }
  }
}

void winograd_weights(const WinogradWeightsTask& task) {
  task.doubled ? transform_weights<Doubled>(task) : transform_weights<Single>(task);
}

void winograd_input(const WinogradInputTask& task) {
  task.doubled ? transform_input<Doubled>(task) : transform_input<Single>(task);
}

void winograd_output(const WinogradOutputTask& task) {
  task.doubled ? transform_output<Doubled>(task) : transform_output<Single>(task);
}
