// The sums of signs by slices (bit_slices_body.h): from bytes of eight channels a pixel to a
// register a channel, and from counts of listed channels to scaled sums. Included by avx512.cpp, in
// its namespace.

constexpr int kPlanes = 8;
constexpr int kSegmentChannels = 384, kSegmentStep = 16;  // units of eight channels come in pairs
constexpr int kSlicePixels = 512;             // of a call, at most; rows of 64 bytes hold them
constexpr int kSliceRows = 8;                 // rows whose counts wait together for their scales
constexpr int kFewRows = 4, kFewBytes = 128;  // 64 pixels of a row; see byte_counts_avx512.h
constexpr int kByteUnits = 31;                // units whose bits fit a byte

struct Numbers {
  alignas(64) uint8_t upwards[64];
};
constexpr Numbers make_numbers() {
  Numbers numbers{};
  for (int i = 0; i < 64; i++) numbers.upwards[i] = static_cast<uint8_t>(i);
  return numbers;
}
constexpr Numbers kNumbers = make_numbers();

inline int append(uint64_t bits, int channel, uint16_t* list) {
  const __m512i set = _mm512_maskz_compress_epi8(bits, _mm512_load_si512(kNumbers.upwards));
  const __m512i first = _mm512_set1_epi16(static_cast<short>(64 * channel));
  const __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(set));
  _mm512_storeu_si512(list, _mm512_add_epi16(first, _mm512_slli_epi16(low, 6)));
  const int count = __builtin_popcountll(bits);
  if (count > 32) {
    const __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(set, 1));
    _mm512_storeu_si512(list + 32, _mm512_add_epi16(first, _mm512_slli_epi16(high, 6)));
  }
  return count;
}

#include "bit_slices_body.h"

// the bits of the weights, from what pack_weights left
struct PackedWeights {
  const uint8_t* bits;
  size_t row_bytes, tap_bytes;
  uint64_t operator()(int row, int tap, int byte) const {
    uint64_t word;
    __builtin_memcpy(&word, bits + row * row_bytes + tap * tap_bytes + byte, 8);
    // of a pair of units, the second is stored as how it differs
    return word ^ (word & 0x00ff00ff00ff00ff) << 8;
  }
};

// Of every 8 bytes: bit i of byte j is what bit 7 - j of byte 7 - i was.
inline Bits turn(Bits a) {
  return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64(0x0102040810204080), a, 0);
}

// of 32 pixels, the second half lies 64 bytes behind the first
inline int slice_place(int p) { return p / 16 % 8 * 64 + p / 128 * 16; }

// Per pixel, what the planes count; or, if centred, twice as much, less how many are `listed`. 16
// pixels at p lie from slice_place(p) on.
template <bool centred>
[[gnu::always_inline]] inline void write_counts(const Bits* planes, int listed, uint8_t* counts) {
  Bits pairs[8], quads[8];
#pragma GCC unroll 4
  for (int k = 0; k < 4; k++) {
    const Bits high = planes[centred ? 6 - 2 * k : 7 - 2 * k];
    const Bits low = !centred ? planes[6 - 2 * k] : k < 3 ? planes[5 - 2 * k] : Bits{};
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

// 8x8 words of 64 bits
inline void transpose_words(const __m512i* from, uint8_t* to) {
  __m512i pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; i++) {
    pairs[i] = _mm512_unpacklo_epi64(from[2 * i], from[2 * i + 1]);
    pairs[4 + i] = _mm512_unpackhi_epi64(from[2 * i], from[2 * i + 1]);
  }
#pragma GCC unroll 2
  for (int odd = 0; odd < 2; odd++) {
    const __m512i* p = pairs + 4 * odd;
    const __m512i a = _mm512_shuffle_i64x2(p[0], p[1], 0x44);
    const __m512i b = _mm512_shuffle_i64x2(p[0], p[1], 0xee);
    const __m512i c = _mm512_shuffle_i64x2(p[2], p[3], 0x44);
    const __m512i d = _mm512_shuffle_i64x2(p[2], p[3], 0xee);
    uint8_t* row = to + 64 * odd;
    _mm512_store_si512(row, _mm512_shuffle_i64x2(a, c, 0x88));
    _mm512_store_si512(row + 128, _mm512_shuffle_i64x2(a, c, 0xdd));
    _mm512_store_si512(row + 256, _mm512_shuffle_i64x2(b, d, 0x88));
    _mm512_store_si512(row + 384, _mm512_shuffle_i64x2(b, d, 0xdd));
  }
}

// One register a channel, from bytes of eight channels a pixel; rows of 64 bytes, and one of zeros.
// Pixels after the last of `tiles` are 0.
inline void gather_signs(const uint8_t* signs, size_t stride, int units, int tiles, uint8_t* slices,
                         uint8_t* zeros) {
  alignas(64) uint8_t order[64];
  for (int i = 0; i < 64; i++) order[i] = static_cast<uint8_t>(i % 8 * 8 + i / 8);
  const __m512i by_channel = _mm512_load_si512(order);
  const __m512i unit_bits = _mm512_set1_epi64(0x8040201008040201ull);
  for (int u = 0; u < units; u++, signs += stride) {
    __m512i words[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      words[i] = _mm512_setzero_si512();
      if (i >= tiles) continue;
      const __m512i eight = _mm512_loadu_si512(signs + 64 * i);  // bytes: pixels; then: channels
      words[i] =
          _mm512_permutexvar_epi8(by_channel, _mm512_gf2p8affine_epi64_epi8(unit_bits, eight, 0));
    }
    transpose_words(words, slices + static_cast<size_t>(u) * 512);
  }
  _mm512_store_si512(zeros, _mm512_setzero_si512());
}

// shared += scales * (C - 2 X) of one tap
inline void add_shared(const uint8_t* signs, size_t stride, int channels, const float* scales,
                       int pixels, float* shared) {
  const int units = (channels + 7) / 8;
  for (int p = 0; p < pixels; p += 64)
    for (int first = 0; first < units; first += kByteUnits) {
      const int last = units - first < kByteUnits ? units : first + kByteUnits;
      __m512i ones = _mm512_setzero_si512();
      for (int u = first; u < last; u++)
        ones =
            _mm512_add_epi8(ones, _mm512_popcnt_epi8(_mm512_loadu_si512(signs + u * stride + p)));
      alignas(64) uint8_t counts[64];
      _mm512_store_si512(counts, ones);
      const int counted = (8 * last < channels ? 8 * last : channels) - 8 * first;
      const V all = set(static_cast<float>(counted));
      for (int i = 0; i < 64; i += 16) {
        const V dot = fma(set(-2.0f), from_uint8(counts + i), all);
        store(shared + p + i, fma(load(scales + p + i), dot, load(shared + p + i)));
      }
    }
}

// What lies in the scratch of the signs: slices of each summand, counts of some rows, what is
// shared, and, once bytes are counted, pairs of units and ones of each tap.
struct Gathered {
  uint8_t *slices, *counts;
  float* shared;
  uint8_t *ones, *pairs;
  bool* has_pairs;

  // of a summand, and of a tap
  static constexpr size_t kCounts = kSliceRows * 512, kOnes = 2 * kSlicePixels;

  static int units(int channels) { return (channels + 15) / 16 * 2; }  // in whole pairs
  static size_t pair_bytes(int channels) {
    return static_cast<size_t>(units(channels)) * kSlicePixels;
  }

  Gathered(void* scratch, size_t taps, const Segments& segments)
      : slices(static_cast<uint8_t*>(scratch)),
        counts(slices + taps * segments.of_tap * segments.bytes()),
        shared(reinterpret_cast<float*>(counts + taps * segments.of_tap * kCounts)),
        ones(reinterpret_cast<uint8_t*>(shared + kSlicePixels)),
        pairs(ones + taps * kOnes),
        has_pairs(reinterpret_cast<bool*>(pairs + taps * pair_bytes(segments.channels))) {}
};

inline size_t gathered_bytes(int channels, int taps) {
  const Segments segments(channels);
  return taps * (segments.of_tap * (segments.bytes() + Gathered::kCounts) + Gathered::kOnes +
                 Gathered::pair_bytes(channels)) +
         kSlicePixels * sizeof(float) + sizeof(bool);
}

inline void gather(const BinaryGemmTask& task, const Segments& segments, const Gathered& gathered,
                   bool sliced) {
  const int pixels = task.end - task.begin;
  *gathered.has_pairs = false;
  for (int p = 0; p < pixels; p += 16) store(gathered.shared + p, set(0.0f));
  uint8_t* slices = gathered.slices;
  for (int t = 0; t < task.tap_count; t++) {
    const Tap& tap = task.taps[t];
    const uint8_t* signs = tap.signs + task.begin;
    for (int c = 0; sliced && c < task.channels; c += segments.each, slices += segments.bytes())
      gather_signs(signs + c / 8 * task.sign_stride, task.sign_stride, (segments.count(c) + 7) / 8,
                   pixels / 64, slices, slices + segments.each * kSliceBytes);
    add_shared(signs, task.sign_stride, task.channels, tap.scales + task.begin, pixels,
               gathered.shared);
  }
}

template <bool centred>
inline V centred_count(const uint8_t* count, const Lists::Row& row) {
  if constexpr (centred) return from_int8(reinterpret_cast<const int8_t*>(count));
  return add(from_uint8(count), set(row.middle));
}

// sums of four rows from the `first`th on, from their counts; `segments` of a tap, 0: as many as
// there are
template <bool centred, int segments>
[[gnu::noinline]] void scale_listed(const BinaryGemmTask& task, int of_tap,
                                    const Gathered& gathered, const Lists::Row* const* rows_of_taps,
                                    int first) {
  constexpr int rows = 4;
  // what stands in memory is read again after every store
  const int pixels = task.end - task.begin, begin = task.begin, taps = task.tap_count;
  const int count = segments ? segments : of_tap;
  const size_t stride = task.sums_stride;
  const Tap* const all = task.taps;
  const float* const shared = gathered.shared;
  const uint8_t* counts = gathered.counts + first % kSliceRows * 512;
  float* const sums = task.sums + first * stride;
  for (int p = 0; p < pixels; p += 32) {
    const V shared0 = load(shared + p), shared1 = load(shared + p + 16);
    V sum[rows][2];
#pragma GCC unroll 4
    for (int n = 0; n < rows; n++) sum[n][0] = shared0, sum[n][1] = shared1;
    const uint8_t* of_tap_counts = counts + slice_place(p);
    for (int t = 0; t < taps; t++, of_tap_counts += count * kSliceRows * 512) {
      const V factor = set(centred ? 2.0f : 4.0f);
      const float* scales = all[t].scales + begin + p;
      const V scale0 = mul(factor, load(scales)), scale1 = mul(factor, load(scales + 16));
      const Lists::Row* row = rows_of_taps[t] + first;
#pragma GCC unroll 4
      for (int n = 0; n < rows; n++) {
        const uint8_t* at = of_tap_counts + 512 * n;
        V total0 = centred_count<centred>(at, row[n]),
          total1 = centred_count<centred>(at + 64, row[n]);
        for (int s = 1; s < count; s++) {
          const Lists::Row& next = row[s * kChannels + n];
          at += kSliceRows * 512;
          total0 = add(total0, centred_count<centred>(at, next));
          total1 = add(total1, centred_count<centred>(at + 64, next));
        }
        sum[n][0] = fma(scale0, total0, sum[n][0]);
        sum[n][1] = fma(scale1, total1, sum[n][1]);
      }
    }
    float* to = sums + p;
#pragma GCC unroll 4
    for (int n = 0; n < rows; n++, to += stride) {
      store(to, sum[n][0]);
      store(to + 16, sum[n][1]);
    }
  }
}

template <bool centred>
inline void multiply_slices(const BinaryGemmTask& task, const Segments& segments,
                            const Gathered& gathered, const Lists& lists) {
  const Lists::Row* rows[18];  // of each tap; a layer has at most nine, and two signs
  for (int t = 0; t < task.tap_count; t++) rows[t] = lists.of_tap(task.taps[t].weight, segments);
  for (int first = 0; first < task.rows; first += kSliceRows) {
    const int last = task.rows - first < kSliceRows ? task.rows : first + kSliceRows;
    const uint8_t* slices = gathered.slices;
    uint8_t* counts = gathered.counts;
    for (int t = 0; t < task.tap_count; t++) {
      const Lists::Row* row = rows[t];
      for (int s = 0; s < segments.of_tap; s++, row += kChannels) {
        for (int n = first; n < last; n += 2)
          count_pair(slices, lists, row + n, [&](int i, const Bits* planes, int listed) {
            write_counts<centred>(planes, listed, counts + (n + i - first) * 512);
          });
        slices += segments.bytes();
        counts += kSliceRows * 512;
      }
    }
    for (int n = first; n < last; n += 4)
      segments.of_tap == 1 ? scale_listed<centred, 1>(task, 1, gathered, rows, n)
                           : scale_listed<centred, 0>(task, segments.of_tap, gathered, rows, n);
  }
}

inline void multiply_slices(const BinaryGemmTask& task, const Segments& segments,
                            const Gathered& gathered, const Lists& lists) {
  if (*lists.state == Lists::kCentred)
    multiply_slices<true>(task, segments, gathered, lists);
  else
    multiply_slices<false>(task, segments, gathered, lists);
}
