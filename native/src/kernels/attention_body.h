// Window attention, written once and compiled for each instruction set: see float_body.h, which
// includes it. Queries lie in the lanes, so that the softmax over the keys sums down a column.

constexpr int kAttended = kLanes == 8 ? 2 : 4;  // vectors of queries that the registers hold

// Weights below e^-60 of the largest count for nothing, and their products with values could be
// denormal numbers, with each of which some processors are busy for a hundred cycles.
constexpr float kLeastLogit = -60.0f;

// Logits of `keys` keys from the `j`th on for kAttended vectors of queries, and their maximum.
template <int keys>
inline void attention_logits(const AttentionTask& task, const float* query, const float* key,
                             const float* bias, float* to, V* most) {
  V sum[keys][kAttended];
  for (int j = 0; j < keys; j++)
    for (int i = 0; i < kAttended; i++) sum[j][i] = set(0.0f);
  for (int d = 0; d < task.head_channels; d++, query += kTile, key += kTile) {
    V q[kAttended];
    for (int i = 0; i < kAttended; i++) q[i] = load(query + i * kLanes);
    for (int j = 0; j < keys; j++) {
      const V k = set(key[j]);
      for (int i = 0; i < kAttended; i++) sum[j][i] = fma(k, q[i], sum[j][i]);
    }
  }
  const V scale = set(task.scale);
  for (int j = 0; j < keys; j++, bias += task.tiles * kTile, to += kTile)
    for (int i = 0; i < kAttended; i++) {
      const V logit = fma(scale, sum[j][i], load(bias + i * kLanes));
      most[i] = max(most[i], logit);
      store(to + i * kLanes, logit);
    }
}

// `channels` channels of the result for kAttended vectors of queries
template <int channels>
inline void attention_values(const AttentionTask& task, const float* value, const float* weights,
                             const V* total, float* out) {
  V sum[channels][kAttended];
  for (int d = 0; d < channels; d++)
    for (int i = 0; i < kAttended; i++) sum[d][i] = set(0.0f);
  for (int first = 0; first < task.tokens; first += kTile, value += task.tile_stride) {
    const int count = task.tokens - first < kTile ? task.tokens - first : kTile;
    for (int j = 0; j < count; j++, weights += kTile) {
      V weight[kAttended];
      for (int i = 0; i < kAttended; i++) weight[i] = load(weights + i * kLanes);
      for (int d = 0; d < channels; d++) {
        const V v = set(value[d * kTile + j]);
        for (int i = 0; i < kAttended; i++) sum[d][i] = fma(v, weight[i], sum[d][i]);
      }
    }
  }
  for (int d = 0; d < channels; d++)
    for (int i = 0; i < kAttended; i++)
      store(out + d * kTile + i * kLanes, mul(sum[d][i], total[i]));
}

// How many of `left` keys or channels are summed side by side: 6, which registers hold, or fewer.
inline int at_once(int left) { return left >= 6 && left != 8 ? 6 : left >= 4 ? 4 : 1; }

// One head, for the kAttended vectors of queries at pixel `p` of tile `tile`.
inline void attend(const AttentionTask& task, int head, int tile, int p) {
  const size_t first = static_cast<size_t>(head) * task.head_channels * kTile;
  const size_t part = static_cast<size_t>(task.heads) * task.head_channels * kTile;
  const float* query = task.qkv + tile * task.tile_stride + first + p;
  const float* bias =
      task.bias + (static_cast<size_t>(head) * task.tokens * task.tiles + tile) * kTile + p;
  const size_t bias_row = static_cast<size_t>(task.tiles) * kTile;
  V most[kAttended], total[kAttended];
  for (int i = 0; i < kAttended; i++) most[i] = set(-3.0e38f), total[i] = set(0.0f);
  for (int j = 0, count; j < task.tokens; j += count) {
    const float* key = task.qkv + j / kTile * task.tile_stride + part + first + j % kTile;
    float* to = task.scratch + static_cast<size_t>(j) * kTile;
    const int left = task.tokens - j, in_tile = kTile - j % kTile;
    count = at_once(left < in_tile ? left : in_tile);
    if (count == 6) attention_logits<6>(task, query, key, bias + j * bias_row, to, most);
    if (count == 4) attention_logits<4>(task, query, key, bias + j * bias_row, to, most);
    if (count == 1) attention_logits<1>(task, query, key, bias + j * bias_row, to, most);
  }
  for (int j = 0; j < task.tokens; j++)
    for (int i = 0; i < kAttended; i++) {
      float* at = task.scratch + static_cast<size_t>(j) * kTile + i * kLanes;
      const V weight = exponential(max(sub(load(at), most[i]), set(kLeastLogit)));
      total[i] = add(total[i], weight);
      store(at, weight);
    }
  for (int i = 0; i < kAttended; i++) total[i] = divide(set(1.0f), total[i]);
  const float* value = task.qkv + 2 * part + first;
  float* out = task.out + tile * task.out_tile_stride + first + p;
  for (int left = task.head_channels, count; left; left -= count) {
    count = at_once(left);
    if (count == 6) attention_values<6>(task, value, task.scratch, total, out);
    if (count == 4) attention_values<4>(task, value, task.scratch, total, out);
    if (count == 1) attention_values<1>(task, value, task.scratch, total, out);
    value += count * kTile;
    out += count * kTile;
  }
}

inline void attention(const AttentionTask& task) {
  for (int head = 0; head < task.heads; head++)
    for (int tile = 0; tile < task.tiles; tile++)
      for (int p = 0; p < kTile; p += kAttended * kLanes) attend(task, head, tile, p);
}
