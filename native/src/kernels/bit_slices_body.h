// Sums of signs by slices: a register holds one bit of many pixels, and adders of bits count.
//
// With x = 1 where a sign is +1 and 0 where it is -1, the dot of C signs with a row of weights is
//   4 (S - P / 2) + (C - 2 X),   S: sum of x where the weight is +1,   X: sum of all x,
// where P is how many weights are +1; the second bracket is the same for all rows. So about half of
// the signs have to be added, and an adder of three bits takes one more of 512 pixels in two operations.
// Rows of weights become lists of the channels to add; the signs of the pixels at hand become one
// register a channel, once for all rows.
//
// Here bits are counted; slice_sums_body.h has what lies before and after. Both are included by
// avx512.cpp, in its namespace.

constexpr int kSlicePixels = 512;  // of a call, at most; rows of 64 bytes hold them
constexpr int kSliceUnits = 48;    // of eight channels, at most, that are counted together: a segment
constexpr int kMostListed = 255;   // a count has eight bits
constexpr int kMostCentred = 127;  // and twice a count, less their number, with its sign
constexpr int kListStep = 8;       // lists are filled up to multiples of it, with a channel of zeros
constexpr int kSliceRows = 8;      // rows whose counts wait together for their scales

using Bits = __m512i;

inline Bits parity(Bits a, Bits b, Bits c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }
// Of a + b + c, from the parity of the three instead of a: so each operation overwrites an input.
inline Bits carry(Bits b, Bits sum, Bits c) { return _mm512_ternarylogic_epi64(b, sum, c, 0xb2); }
// Of every 8 bytes: bit i of byte j is what bit 7 - j of byte 7 - i was.
inline Bits turn(Bits a) {
  return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64(0x0102040810204080), a, 0);
}
inline Bits slice(const uint8_t* slices, uint16_t channel) {  // in steps of 8 bytes
  return _mm512_load_si512(slices + static_cast<size_t>(channel) * 8);
}

// Adds 2^level listed channels to planes[0] to planes[level - 1]; returns the carry beyond these.
template <int level>
[[gnu::always_inline]] inline Bits add_listed(const uint8_t* signs, const uint16_t* list,
                                              Bits* planes) {
  if constexpr (level == 0) {
    return slice(signs, *list);
  } else {
    const Bits a = add_listed<level - 1>(signs, list, planes);
    const Bits b = add_listed<level - 1>(signs, list + (1 << (level - 1)), planes);
    Bits& plane = planes[level - 1];
    plane = parity(plane, a, b);
    return carry(a, plane, b);
  }
}

template <int level>
[[gnu::always_inline]] inline void add_carry(Bits more, Bits* planes) {
#pragma GCC unroll 8
  for (int i = level; i < 8; i++) {
    const Bits next = planes[i] & more;
    planes[i] ^= more;
    more = next;
  }
}

// Per pixel, how many of the listed channels are 1; or, where all lists are so short that the result
// has eight bits, twice as many, less how many there are. 16 pixels at p lie from slice_place(p) on.
template <bool centred>
inline void count_listed(const uint8_t* signs, const uint16_t* list, int length, int listed,
                         uint8_t* counts) {
  Bits planes[9] = {};  // the last stays 0
  int i = 0;
  for (; i + 32 <= length; i += 32)
    add_carry<5>(add_listed<5>(signs, list + i, planes), planes);
  if (i + 16 <= length) {
    add_carry<4>(add_listed<4>(signs, list + i, planes), planes);
    i += 16;
  }
  if (i < length) add_carry<3>(add_listed<3>(signs, list + i, planes), planes);
  Bits pairs[8], quads[8];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    const Bits high = planes[centred ? 6 - 2 * k : 7 - 2 * k];
    const Bits low = planes[centred ? (k < 3 ? 5 - 2 * k : 8) : 6 - 2 * k];
    pairs[k] = _mm512_unpacklo_epi8(high, low);
    pairs[4 + k] = _mm512_unpackhi_epi8(high, low);
  }
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {  // half of the pixels, then half of the planes
    const int at = k / 2 * 4 + k % 2 * 2;
    quads[k / 2 * 4 + k % 2] = _mm512_unpacklo_epi16(pairs[at], pairs[at + 1]);
    quads[k / 2 * 4 + k % 2 + 2] = _mm512_unpackhi_epi16(pairs[at], pairs[at + 1]);
  }
  const Bits centre = _mm512_set1_epi8(static_cast<char>(listed));
  Bits* to = reinterpret_cast<Bits*>(counts);
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    const int at = k / 2 * 4 + k % 2 * 2;
    Bits even = turn(_mm512_unpacklo_epi32(quads[at], quads[at + 1]));
    Bits odd = turn(_mm512_unpackhi_epi32(quads[at], quads[at + 1]));
    if constexpr (centred) even = _mm512_sub_epi8(even, centre), odd = _mm512_sub_epi8(odd, centre);
    to[2 * k] = even;
    to[2 * k + 1] = odd;
  }
}

inline int slice_place(int p) { return p / 16 % 8 * 64 + p / 128 * 16; }

// How a layer's signs are cut: segments of each tap are counted by themselves.
struct Segments {
  int units, each, of_tap;  // units of all channels, of a segment; segments of a tap
  explicit Segments(int channels) : units((channels + 7) / 8) {
    const int least = (units + kSliceUnits - 1) / kSliceUnits;
    each = (units + least - 1) / least;
    each += each % 2;  // units come in pairs
    of_tap = (units + each - 1) / each;
  }
  int paired() const { return units + units % 2; }
  size_t pair_bytes() const { return static_cast<size_t>(paired()) * kSlicePixels; }
  size_t bytes() const { return static_cast<size_t>(8 * each + 1) * 64; }  // and zeros
};

// What lies in a block's scratch: which channels its weights add up.
struct Lists {
  struct Row {
    uint32_t first;  // of `channels`
    uint16_t length, listed;
    float middle;  // of the counts: -P / 2
  };
  // centred: their counts can be, see count_listed; too long: a count might have nine bits
  enum State : uint32_t { kNone, kCentred, kReady, kTooLong };
  State* state;
  Row* rows;  // summand by summand, of each kChannels
  uint16_t* channels;

  Lists(void* scratch, int summands)
      : state(static_cast<State*>(scratch)),
        rows(reinterpret_cast<Row*>(state + 16)),
        channels(reinterpret_cast<uint16_t*>(rows + summands * kChannels)) {}

  const Row* of_tap(int tap, const Segments& segments) const {
    return rows + static_cast<size_t>(tap) * segments.of_tap * kChannels;
  }
};

constexpr int kLongest = kMostListed + 1 + 32;  // and what a store of 32 entries may write beyond

inline size_t list_bytes(int channels, int taps) {
  const size_t rows = static_cast<size_t>(taps) * Segments(channels).of_tap * kChannels;
  return 64 + rows * (sizeof(Lists::Row) + kLongest * sizeof(uint16_t));
}

// `row_bytes` from one row of weights to the next, `tap_bytes` from tap to tap
inline void list_channels(const uint8_t* weights, size_t row_bytes, size_t tap_bytes, int taps,
                          int channels, const Lists& lists) {
  const Segments segments(channels);
  alignas(64) uint16_t counting[32];
  for (int i = 0; i < 32; i++) counting[i] = static_cast<uint16_t>(8 * i);
  const __m512i first32 = _mm512_load_si512(counting);
  *lists.state = Lists::kCentred;
  uint32_t end = 0;
  Lists::Row* row = lists.rows;
  for (int t = 0; t < taps; t++)
    for (int s = 0; s < segments.of_tap; s++) {
      const int begin = 8 * s * segments.each;
      const int count = channels - begin < 8 * segments.each ? channels - begin : 8 * segments.each;
      for (int n = 0; n < kChannels; n++, row++) {
        const uint8_t* bits = weights + n * row_bytes + t * tap_bytes + begin / 8;
        int listed = 0;
        for (int c = 0; c < count; c += 32, bits += 4) {
          uint32_t word;
          __builtin_memcpy(&word, bits, 4);
          word ^= (word & 0x00ff00ff) << 8;  // of each pair, the second is stored as how it differs
          if (count - c < 32) word &= (1u << (count - c)) - 1;
          const int more = __builtin_popcount(word);
          if (listed + more > kMostListed) {
            *lists.state = Lists::kTooLong;
            return;
          }
          const __m512i all = _mm512_add_epi16(first32, _mm512_set1_epi16(static_cast<short>(8 * c)));
          _mm512_storeu_si512(lists.channels + end + listed,
                              _mm512_maskz_compress_epi16(word, all));
          listed += more;
        }
        const __m512i zeros = _mm512_set1_epi16(static_cast<short>(64 * segments.each));
        _mm512_storeu_si512(lists.channels + end + listed, zeros);
        if (listed > kMostCentred) *lists.state = Lists::kReady;
        const int length = (listed + kListStep - 1) / kListStep * kListStep;
        *row = {end, static_cast<uint16_t>(length), static_cast<uint16_t>(listed),
                -0.5f * static_cast<float>(listed)};
        end += length;
      }
    }
}
