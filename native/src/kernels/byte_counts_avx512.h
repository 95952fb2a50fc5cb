// Sums of signs of few pixels, or where lists would be too long: bytes of eight channels a pixel,
// 64 pixels a register. The same sums as of slices, to the last bit: how many pixels come at a time
// must not be seen. Included by avx512.cpp, in its namespace, after what belongs to slices.
//
// With X ones among the signs and m places where signs and weights differ, 2 S - P is X - m. Adders
// of bits count what differs. They take two units at a time, whose weights are stored as w1 and
// w1 ^ w2: the parity of the sum and both differences is one operation, of what x1 ^ x2 gives all
// rows, and the carry two.

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

// Two units, and units of a group, whose last carry is counted.
constexpr int kPair = 2, kGroup = 8;
constexpr int kMostUnits = 240;  // that a byte can count by eights

struct Adders {
  Bits ones = _mm512_setzero_si512(), twos = ones, fours = ones;
  Bits eights = ones;  // a count, byte by byte
};

inline Bits repeated(uint8_t weight) {
  return _mm512_set1_epi32(static_cast<int>(kRepeated.words[weight]));
}

// The carry of two units. x12: x1 ^ x2
[[gnu::always_inline]] inline Bits add_pair(Adders& to, Bits x1, Bits x12, const uint8_t* weights) {
  const Bits sum = _mm512_ternarylogic_epi32(to.ones, x12, repeated(weights[1]), 0x96);
  const Bits differs = _mm512_xor_si512(x1, repeated(weights[0]));
  const Bits more = _mm512_ternarylogic_epi32(to.ones, sum, differs, 0xb2);
  to.ones = sum;
  return more;
}

[[gnu::always_inline]] inline void add_eights(Adders& to, Bits a, Bits b) {
  to.eights = _mm512_add_epi8(to.eights, _mm512_popcnt_epi8(full_adder(to.fours, a, b)));
}

// What is left of a group: one pair, or a unit whose partner is 0.
[[gnu::always_inline]] inline void add_last(Adders& to, Bits more) {
  const Bits two = _mm512_and_si512(to.twos, more);
  to.twos = _mm512_xor_si512(to.twos, more);
  const Bits four = _mm512_and_si512(to.fours, two);
  to.fours = _mm512_xor_si512(to.fours, two);
  to.eights = _mm512_add_epi8(to.eights, _mm512_popcnt_epi8(four));
}

// 64 words of 16 bits in their order, from what unpacking the lower and upper halves of bytes gave
inline void in_order(Bits& low, Bits& high) {
  const Bits first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const Bits second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  const Bits kept = low;
  low = _mm512_permutex2var_epi64(kept, first, high);
  high = _mm512_permutex2var_epi64(kept, second, high);
}

// to = from - m of 64 pixels, 16 bits each
[[gnu::always_inline]] inline void finish(const Adders& adders, const uint8_t* from, uint8_t* to) {
  const Bits fours = _mm512_popcnt_epi8(adders.fours);
  const Bits twos = _mm512_add_epi8(_mm512_popcnt_epi8(adders.twos), _mm512_add_epi8(fours, fours));
  const Bits few = _mm512_add_epi8(_mm512_popcnt_epi8(adders.ones), _mm512_add_epi8(twos, twos));
  const Bits factors = _mm512_set1_epi16(0x0108);
  Bits low = _mm512_maddubs_epi16(_mm512_unpacklo_epi8(adders.eights, few), factors);
  Bits high = _mm512_maddubs_epi16(_mm512_unpackhi_epi8(adders.eights, few), factors);
  in_order(low, high);
  _mm512_store_si512(to, _mm512_sub_epi16(_mm512_load_si512(from), low));
  _mm512_store_si512(to + 64, _mm512_sub_epi16(_mm512_load_si512(from + 64), high));
}

// to = from - m of 64 pixels and four rows of weights, for `units` units: an even number, at most
// kMostUnits. `from` may be the same for all rows, else it is `to`.
inline void count_differences(const uint8_t* pairs, const uint8_t* weights, size_t row, int units,
                              const uint8_t* from, size_t from_row, uint8_t* to) {
  Adders a, b, c, d;
  struct Carries {
    Bits a, b, c, d;
  };
  const auto add = [&](int u) __attribute__((always_inline)) {
    const Bits x1 = _mm512_load_si512(pairs + u * size_t{64});
    const Bits x12 = _mm512_load_si512(pairs + u * size_t{64} + 64);
    const uint8_t* w = weights + u;
    return Carries{add_pair(a, x1, x12, w), add_pair(b, x1, x12, w + row),
                   add_pair(c, x1, x12, w + 2 * row), add_pair(d, x1, x12, w + 3 * row)};
  };
  const auto add_four = [&](int u) __attribute__((always_inline)) {
    const Carries first = add(u), second = add(u + kPair);
    return Carries{full_adder(a.twos, first.a, second.a), full_adder(b.twos, first.b, second.b),
                   full_adder(c.twos, first.c, second.c), full_adder(d.twos, first.d, second.d)};
  };
  int u = 0;
  for (; u + kGroup <= units; u += kGroup) {
    const Carries low = add_four(u), high = add_four(u + kGroup / 2);
    add_eights(a, low.a, high.a);
    add_eights(b, low.b, high.b);
    add_eights(c, low.c, high.c);
    add_eights(d, low.d, high.d);
  }
  for (; u < units; u += kPair) {
    const Carries more = add(u);
    add_last(a, more.a);
    add_last(b, more.b);
    add_last(c, more.c);
    add_last(d, more.d);
  }
  finish(a, from, to);
  finish(b, from + from_row, to + kFewBytes);
  finish(c, from + 2 * from_row, to + 2 * kFewBytes);
  finish(d, from + 3 * from_row, to + 3 * kFewBytes);
}

// Of 64 pixels, x1 and x1 ^ x2 of each pair of units, and X, 16 bits each. What a last unit lacks
// is 0.
inline void gather_pairs(const uint8_t* signs, size_t stride, int units, uint8_t* pairs,
                         uint8_t* ones) {
  const Bits zero = _mm512_setzero_si512();
  Bits low = zero, high = zero;
  for (int u = 0; u < units; u += kPair, signs += kPair * stride, pairs += kPair * 64) {
    const Bits x1 = _mm512_loadu_si512(signs);
    const Bits x2 = u + 1 < units ? _mm512_loadu_si512(signs + stride) : zero;
    _mm512_store_si512(pairs, x1);
    _mm512_store_si512(pairs + 64, _mm512_xor_si512(x1, x2));
    const Bits both = _mm512_add_epi8(_mm512_popcnt_epi8(x1), _mm512_popcnt_epi8(x2));
    low = _mm512_add_epi16(low, _mm512_unpacklo_epi8(both, zero));
    high = _mm512_add_epi16(high, _mm512_unpackhi_epi8(both, zero));
  }
  in_order(low, high);
  _mm512_store_si512(ones, low);
  _mm512_store_si512(ones + 64, high);
}

// Of all taps.
inline void gather_all_pairs(const BinaryGemmTask& task, const Gathered& gathered) {
  const int units = Gathered::units(task.channels);
  uint8_t* pairs = gathered.pairs;
  for (int t = 0; t < task.tap_count; t++)
    for (int p = 0; p < task.end - task.begin; p += 64, pairs += units * 64)
      gather_pairs(task.taps[t].signs + task.begin + p, task.sign_stride, (task.channels + 7) / 8,
                   pairs, gathered.ones + t * Gathered::kOnes + 2 * p);
  *gathered.has_pairs = true;
}

// The sums of four rows and 64 pixels from what was counted.
inline void scale_differences(const BinaryGemmTask& task, const Gathered& gathered, int first,
                              int p) {
  for (int q = p; q < p + 64; q += 32) {
    V sum[kFewRows][2];
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++) sum[n][i] = load(gathered.shared + q + 16 * i);
    const uint8_t* counts = gathered.counts + 2 * (q - p);
    for (int t = 0; t < task.tap_count; t++) {
      const float* scales = task.taps[t].scales + task.begin + q;
      const V scale0 = mul(set(2.0f), load(scales)), scale1 = mul(set(2.0f), load(scales + 16));
#pragma GCC unroll 4
      for (int n = 0; n < kFewRows; n++, counts += kFewBytes) {
        sum[n][0] = fma(scale0, from_int16(counts), sum[n][0]);
        sum[n][1] = fma(scale1, from_int16(counts + 32), sum[n][1]);
      }
    }
    for (int n = 0; n < kFewRows; n++)
      for (int i = 0; i < 2; i++)
        store(task.sums + (first + n) * task.sums_stride + q + 16 * i, sum[n][i]);
  }
}

inline void multiply_bytes(const BinaryGemmTask& task, const Gathered& gathered) {
  if (!*gathered.has_pairs) gather_all_pairs(task, gathered);
  const size_t row = row_bytes(task.channels, task.layer_taps);
  const int units = Gathered::units(task.channels), pixels = task.end - task.begin;
  for (int first = 0; first < task.rows; first += kFewRows) {
    const uint8_t* weights = task.weights + first * row;
    for (int p = 0; p < pixels; p += 64) {
      for (int t = 0; t < task.tap_count; t++) {
        const uint8_t* pairs = gathered.pairs + (static_cast<size_t>(t) * pixels + p) * units;
        const uint8_t* of_tap = weights + task.taps[t].weight * tap_bytes(task.channels);
        uint8_t* to = gathered.counts + t * kFewRows * kFewBytes;
        count_differences(pairs, of_tap, row, units < kMostUnits ? units : kMostUnits,
                          gathered.ones + t * Gathered::kOnes + 2 * p, 0, to);
        for (int u = kMostUnits; u < units; u += kMostUnits)
          count_differences(pairs + u * 64, of_tap + u, row,
                            units - u < kMostUnits ? units - u : kMostUnits, to, kFewBytes, to);
      }
      scale_differences(task, gathered, first, p);
    }
  }
}
