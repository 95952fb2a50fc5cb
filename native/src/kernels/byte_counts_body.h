// Sums of signs of few pixels, or where lists would be too long: bytes of eight channels a pixel are
// counted as they are. The same sums as of slices, to the last bit: how many pixels come at a time
// must not be seen. Included by avx512.cpp, in its namespace, after what belongs to slices.

// byte -> the same byte four times, so that a weight is broadcast by a load alone
struct Repeated {
  alignas(64) uint32_t words[256];
};
constexpr Repeated make_repeated() {
  Repeated table{};
  for (uint32_t i = 0; i < 256; i++) table.words[i] = i * 0x01010101u;
  return table;
}
constexpr Repeated kRepeated = make_repeated();

// A register, not a memory operand: GCC would load it again for every use.
#define IN_REGISTER(x) asm("" : "+v"(x))

// S of `count` units, for 64 `vectors` pixels and 4 rows of weights. GCC keeps arrays of accumulators
// in memory or moves them about in every step; single registers it leaves alone.
template <int vectors>
inline void count_units(const uint8_t* signs, size_t stride, const uint8_t* weights, size_t row,
                        int count, uint8_t* to) {
  const __m512i start = _mm512_setzero_si512();
  __m512i a00 = start, a01 = start, a02 = start, a03 = start;
  __m512i a10 = start, a11 = start, a12 = start, a13 = start;
  __m512i a20 = start, a21 = start, a22 = start, a23 = start;
  __m512i a30 = start, a31 = start, a32 = start, a33 = start;
  for (int u = 0; u < count; u++, signs += stride, weights++) {
    __m512i x0 = _mm512_loadu_si512(signs), x1 = x0, x2 = x0, x3 = x0;
    IN_REGISTER(x0);
    if constexpr (vectors > 1) x1 = _mm512_loadu_si512(signs + 64);
    if constexpr (vectors > 2) x2 = _mm512_loadu_si512(signs + 128);
    if constexpr (vectors > 2) x3 = _mm512_loadu_si512(signs + 192);
    if constexpr (vectors > 1) IN_REGISTER(x1);
    if constexpr (vectors > 2) IN_REGISTER(x2);
    if constexpr (vectors > 2) IN_REGISTER(x3);
#define COUNT(a, x) a = _mm512_add_epi8(a, _mm512_popcnt_epi8(_mm512_and_si512(w, x)))
#define STEP(n)                                                                                \
  do {                                                                                         \
    const __m512i w = _mm512_set1_epi32(static_cast<int>(kRepeated.words[weights[n * row]]));  \
    COUNT(a##n##0, x0);                                                                        \
    if constexpr (vectors > 1) COUNT(a##n##1, x1);                                             \
    if constexpr (vectors > 2) COUNT(a##n##2, x2);                                             \
    if constexpr (vectors > 2) COUNT(a##n##3, x3);                                             \
  } while (false)
    STEP(0);
    STEP(1);
    STEP(2);
    STEP(3);
#undef STEP
#undef COUNT
  }
  const __m512i rows[4][4] = {{a00, a01, a02, a03},
                              {a10, a11, a12, a13},
                              {a20, a21, a22, a23},
                              {a30, a31, a32, a33}};
#pragma GCC unroll 4
  for (int n = 0; n < 4; n++)
#pragma GCC unroll 4
    for (int i = 0; i < vectors; i++) _mm512_store_si512(to + n * kFewPixels + 64 * i, rows[n][i]);
}

inline void scale_units(const BinaryGemmTask& task, const Segments& segments,
                        const Gathered& gathered, int first, int p, int pixels) {
  const int parts = (segments.each + kByteUnits - 1) / kByteUnits;
  for (int q = 0; q < pixels; q += 32) {
    const int at = p - task.begin + q;
    V sum[kFewRows][2];
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++) sum[n][i] = load(gathered.shared + at + 16 * i);
    const uint8_t* counts = gathered.counts + q;
    const float* middles = gathered.middles;
    for (int t = 0; t < task.tap_count; t++) {
      const V scale0 = mul(set(4.0f), load(task.taps[t].scales + p + q));
      const V scale1 = mul(set(4.0f), load(task.taps[t].scales + p + q + 16));
      for (int s = 0; s < segments.of_tap; s++, counts += parts * kFewRows * kFewPixels)
#pragma GCC unroll 4
        for (int n = 0; n < kFewRows; n++, middles++) {
          V count0 = set(*middles), count1 = count0;
          for (int i = 0; i < parts; i++) {
            const uint8_t* row = counts + (i * kFewRows + n) * kFewPixels;
            count0 = add(count0, from_uint8(row));
            count1 = add(count1, from_uint8(row + 16));
          }
          sum[n][0] = fma(scale0, count0, sum[n][0]);
          sum[n][1] = fma(scale1, count1, sum[n][1]);
        }
    }
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++)
        store(task.sums + (first + n) * task.sums_stride + at + 16 * i, sum[n][i]);
  }
}

template <int vectors>
inline void multiply_units(const BinaryGemmTask& task, const Segments& segments,
                           const Gathered& gathered, int first, int p) {
  const size_t row = row_bytes(task.channels, task.layer_taps);
  uint8_t* to = gathered.counts;
  for (int t = 0; t < task.tap_count; t++) {
    const Tap& tap = task.taps[t];
    const uint8_t* weights = task.weights + first * row + tap.weight * tap_bytes(task.channels);
    for (int begin = 0; begin < segments.units; begin += segments.each) {
      const int end = segments.units - begin < segments.each ? segments.units : begin + segments.each;
      for (int u = begin; u < begin + segments.each; u += kByteUnits) {
        const int count = end - u < kByteUnits ? end - u : kByteUnits;
        count_units<vectors>(tap.signs + u * task.sign_stride + p, task.sign_stride, weights + u,
                             row, count, to);
        to += kFewRows * kFewPixels;
      }
    }
  }
  scale_units(task, segments, gathered, first, p, 64 * vectors);
}

// -P / 2 of kFewRows rows, summand by summand
inline void find_middles(const BinaryGemmTask& task, const Segments& segments,
                         const Gathered& gathered, int first) {
  const auto* positive = reinterpret_cast<const uint16_t*>(
      task.weights + word_bytes(task.channels, task.layer_taps));
  float* to = gathered.middles;
  for (int t = 0; t < task.tap_count; t++)
    for (int s = 0; s < segments.of_tap; s++)
      for (int n = first; n < first + kFewRows; n++, to++) {
        const int at = (n * task.layer_taps + task.taps[t].weight) * segments.of_tap + s;
        *to = -0.5f * static_cast<float>(positive[at]);
      }
}

#undef IN_REGISTER
