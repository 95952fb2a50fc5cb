// What follows the sums of a 1-bit layer, written once and compiled for each instruction set: see
// float_body.h, which includes it.

inline V leaky(V x, V slope) { return where_negative(x, mul(x, slope), x); }

// 0 where the pixels of the vector at `p` do not belong to the picture.
inline V keep_picture(const EpilogueTask& task, V v, int p) {
  const int left = task.pixels - p;
  if (left < kLanes) v = first_lanes(v, left > 0 ? left : 0);
  if (task.width != task.row) {
    const int x = p % task.row;  // such rows are multiples of 16: a vector lies in one of them
    if (x + kLanes > task.width) v = first_lanes(v, x < task.width ? task.width - x : 0);
  }
  return v;
}

// Of a tile's 64 pixels of one channel, or of those that belong to the picture: their sum, and the
// squares of their distances from their own mean. A difference of large sums would lose the
// variance of channels whose mean is large.
inline void part_moments(const EpilogueTask& task, const float* x, int p, float* to) {
  V sum = set(0.0f), squares = set(0.0f), count = set(0.0f);
  for (int i = 0; i < kTile; i += kLanes) {
    sum = add(sum, keep_picture(task, load(x + i), p + i));
    count = add(count, keep_picture(task, set(1.0f), p + i));
  }
  const float pixels = total(count);
  to[0] = total(sum);
  const V mean = set(pixels > 0 ? to[0] / pixels : 0.0f);
  for (int i = 0; i < kTile; i += kLanes) {
    const V distance = keep_picture(task, sub(load(x + i), mean), p + i);
    squares = fma(distance, distance, squares);
  }
  to[1] = total(squares);
}

// The same of whole tiles, from distances to the mean of four pixels.
template <int channels>
inline void tile_moments(const float* x, float* to) {
  V sum[2] = {set(0.0f), set(0.0f)}, squares[2] = {set(0.0f), set(0.0f)};
  float near[channels];
  for (int c = 0; c < channels; c++) {
    const float* of = x + c * kTile;
    near[c] = 0.25f * ((of[0] + of[16]) + (of[32] + of[48]));
    for (int i = 0; i < kTile; i += kLanes) {
      const V distance = sub(load(of + i), set(near[c]));
      sum[c] = add(sum[c], distance);
      squares[c] = fma(distance, distance, squares[c]);
    }
  }
  float all[4];
  totals(sum[0], squares[0], sum[1], squares[1], all);
  for (int c = 0; c < channels; c++) {
    const float mean = all[2 * c] / kTile;
    to[2 * c] = kTile * (near[c] + mean);
    to[2 * c + 1] = all[2 * c + 1] - all[2 * c] * mean;
  }
}

// What was written to a tile, of `channels` output channels from the nth on
template <int channels>
inline void write_moments(const EpilogueTask& task, int n, int tile_begin) {
  const size_t tile = tile_begin / kTile;
  const float* x = task.out + tile * task.out_tile_stride + n * kTile;
  float* to = task.moments + 2 * (tile * task.moments_channels + n);
  if (task.width == task.row && tile_begin + kTile <= task.pixels)
    tile_moments<channels>(x, to);
  else
    for (int c = 0; c < channels; c++) part_moments(task, x + c * kTile, tile_begin, to + 2 * c);
}

constexpr int kWide = 4;  // vectors of pixels at a time

// v += what the low-rank branch gives for `channels` output channels from the `n`th on; its
// projection is read once for all of them.
template <int channels, int rank>
inline void add_low_rank(const EpilogueTask& task, int n, int p, V (*v)[kWide]) {
  const int ranks = rank ? rank : task.rank;
  const float* t = task.projected + p / kTile * static_cast<size_t>(ranks) * kTile + p % kTile;
  const float* low_rank = task.low_rank + static_cast<size_t>(n) * ranks;
  for (int k = 0; k < ranks; k++, t += kTile) {
    V projected[kWide];
    for (int i = 0; i < kWide; i++) projected[i] = load(t + i * kLanes);
    for (int c = 0; c < channels; c++) {
      const V value = set(low_rank[c * ranks + k]);
      for (int i = 0; i < kWide; i++) v[c][i] = fma(value, projected[i], v[c][i]);
    }
  }
}

// v += what the sparse branch gives for output channel n
inline void add_sparse(const EpilogueTask& task, int n, int p, V* v) {
  const float* x = task.x.data + (p - task.x_begin) / kTile * task.x.tile_stride + p % kTile;
  const SparseEntry* last = task.sparse + task.sparse_start[n + 1];
  for (const SparseEntry* e = task.sparse + task.sparse_start[n]; e != last; e++) {
    const float* from = x + e->column * kTile;
    const V value = set(e->value);
    for (int i = 0; i < kWide; i++) v[i] = fma(value, load(from + i * kLanes), v[i]);
  }
}

// kWide vectors of pixels of `channels` output channels. The loops over channels must be unrolled:
// an array that is indexed in a loop does not stay in registers.
template <int channels, int rank, bool with_gelu>
inline void epilogue_part(const EpilogueTask& task, int n, int p) {
  const size_t tile = p / kTile;
  const int q = p % kTile;
  V v[channels][kWide];
#pragma GCC unroll 4
  for (int c = 0; c < channels; c++)
    for (int i = 0; i < kWide; i++)
      v[c][i] = set(task.rprelu ? task.rprelu[3 * (n + c) + 2] : 0.0f);
  if (task.low_rank) add_low_rank<channels, rank>(task, n, p, v);
  if (task.sparse_start)
#pragma GCC unroll 4
    for (int c = 0; c < channels; c++) add_sparse(task, n + c, p, v[c]);
  const float* sums = task.sums + (n - task.first) * task.sums_stride + (p - task.begin);
#pragma GCC unroll 4
  for (int c = 0; c < channels; c++, sums += task.sums_stride) {
    const float bias = task.bias ? task.bias[n + c] : 0.0f;
    const V scale = set(task.scale[n + c]);
    if (task.rprelu) {
      const V start = set(bias + task.rprelu[3 * (n + c)]);
      const V slope = set(task.rprelu[3 * (n + c) + 1]);
      for (int i = 0; i < kWide; i++)
        v[c][i] = add(leaky(fma(scale, load(sums + i * kLanes), start), slope), v[c][i]);
    } else {
      const V start = set(bias);
      for (int i = 0; i < kWide; i++)
        v[c][i] = add(fma(scale, load(sums + i * kLanes), start), v[c][i]);
    }
  }
  if (task.prelu)
#pragma GCC unroll 4
    for (int c = 0; c < channels; c++) {
      const V slope = set(task.prelu[n + c]);
      for (int i = 0; i < kWide; i++) v[c][i] = leaky(v[c][i], slope);
    }
  if (task.gain)
#pragma GCC unroll 4
    for (int c = 0; c < channels; c++) {
      const V gain = set(task.gain[n + c]);
      for (int i = 0; i < kWide; i++) v[c][i] = mul(gain, v[c][i]);
    }
  float* out = task.out + tile * task.out_tile_stride + n * kTile + q;
  if (task.residual.data) {
    const float* x = task.residual.data + tile * task.residual.tile_stride + n * kTile + q;
#pragma GCC unroll 4
    for (int c = 0; c < channels; c++)
      for (int i = 0; i < kWide; i++) v[c][i] = add(v[c][i], load(x + c * kTile + i * kLanes));
  }
#pragma GCC unroll 4
  for (int c = 0; c < channels; c++)
    for (int i = 0; i < kWide; i++) {
      if constexpr (with_gelu) v[c][i] = gelu(v[c][i]);
      store(out + c * kTile + i * kLanes, v[c][i]);
    }
}

// One tile of the pixels, of `channels` output channels from the nth on
template <int channels>
inline void epilogue_tile(const EpilogueTask& task, int n, int tile_begin) {
  constexpr int step = kWide * kLanes;
  for (int p = tile_begin; p < tile_begin + kTile; p += step)
    if (task.rank == 8 && task.gelu)
      epilogue_part<channels, 8, true>(task, n, p);
    else if (task.rank == 8)
      epilogue_part<channels, 8, false>(task, n, p);
    else if (task.gelu)
      epilogue_part<channels, 0, true>(task, n, p);
    else
      epilogue_part<channels, 0, false>(task, n, p);
}

inline void moments_of_tile(const EpilogueTask& task, int tile_begin) {
  const int end = task.first + task.count;
  int n = task.first;
  for (; n + 2 <= end; n += 2) write_moments<2>(task, n, tile_begin);
  if (n < end) write_moments<1>(task, n, tile_begin);
}

inline void map_moments(const EpilogueTask& task) {
  for (int p = task.begin; p < task.end; p += kTile) moments_of_tile(task, p);
}

inline void epilogue(const EpilogueTask& task) {
  const int end = task.first + task.count;
  for (int p = task.begin; p < task.end; p += kTile) {
    int n = task.first;
    if constexpr (kLanes == 16)
      for (; n + 4 <= end; n += 4) epilogue_tile<4>(task, n, p);
    for (; n + 2 <= end; n += 2) epilogue_tile<2>(task, n, p);
    if (n < end) epilogue_tile<1>(task, n, p);
    if (task.moments) moments_of_tile(task, p);
  }
}
