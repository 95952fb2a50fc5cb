// The sums of signs by slices (bit_slices_body.h): from bytes of four channels a pixel to a
// register a channel, and from counts of listed channels to half dot products, the same bytes that
// avx2.cpp looks up. Included by avx2.cpp, in its namespace.

constexpr int kPlanes = 7;  // of which half dots, modulo 256, need no more
constexpr int kSegmentChannels = 248, kSegmentStep = 8;  // half dots of 62 units fit a signed byte
constexpr int kSlicePixels = 256;                        // of a call, at most

// byte -> offsets of the slices of its ones
struct Ones {
  alignas(16) uint16_t offsets[256][8];
};
constexpr Ones make_ones() {
  Ones table{};
  for (int byte = 0; byte < 256; byte++)
    for (int bit = 0, k = 0; bit < 8; bit++)
      if (byte >> bit & 1) table.offsets[byte][k++] = static_cast<uint16_t>(32 * bit);
  return table;
}
constexpr Ones kOnes = make_ones();

inline int append(uint64_t bits, int channel, uint16_t* list) {
  int count = 0;
  for (int i = 0; i < 8; i++, bits >>= 8) {
    const auto* ones = reinterpret_cast<const __m128i*>(kOnes.offsets[bits & 255]);
    const __m128i first = _mm_set1_epi16(static_cast<short>(32 * (channel + 8 * i)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(list + count),
                     _mm_add_epi16(_mm_load_si128(ones), first));
    count += __builtin_popcount(bits & 255);
  }
  return count;
}

#include "bit_slices_body.h"

// Byte j of register i, bit k, becomes byte j of register k, bit i.
[[gnu::always_inline]] inline void turn(Bits* a) {
  constexpr int kMasks[] = {0x0f0f0f0f, 0x33333333, 0x55555555};
#pragma GCC unroll 3
  for (int step = 0; step < 3; step++) {
    const int by = 4 >> step;
    const Bits mask = _mm256_set1_epi32(kMasks[step]);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      if (i & by) continue;
      const Bits swapped =
          _mm256_and_si256(_mm256_xor_si256(_mm256_srli_epi16(a[i], by), a[i + by]), mask);
      a[i + by] = _mm256_xor_si256(a[i + by], swapped);
      a[i] = _mm256_xor_si256(a[i], _mm256_slli_epi16(swapped, by));
    }
  }
}

// What lies in the scratch of the signs: slices of each summand, if they are gathered; 2 units - X,
// per pixel, of each; and half dots of a block's rows.
struct Gathered {
  uint8_t *slices, *bases;
  int8_t* half_dots;

  Gathered(void* scratch, size_t summands, const Segments& segments)
      : slices(static_cast<uint8_t*>(scratch)),
        bases(slices + summands * segments.bytes()),
        half_dots(reinterpret_cast<int8_t*>(bases + summands * kSlicePixels)) {}
};

inline size_t gathered_bytes(int channels, int taps) {
  const Segments segments(channels);
  return taps * segments.of_tap * (segments.bytes() + (1 + kChannels) * kSlicePixels);
}

// The slices of some units, two at a time, and their bases. Pixels after the last of `blocks` of 32
// are 0.
inline void gather_signs(const uint8_t* signs, size_t stride, int units, int blocks,
                         uint8_t* slices, uint8_t* bases) {
  const Bits ones =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  auto* base = reinterpret_cast<Bits*>(bases);
  for (int i = 0; i < 8; i++) base[i] = _mm256_set1_epi8(static_cast<char>(2 * units));
  for (int u = 0; u < units; u += 2, signs += 2 * stride, slices += 8 * kSliceBytes) {
    Bits pixels[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      pixels[i] = _mm256_setzero_si256();
      if (i >= blocks) continue;
      const auto* of_block = reinterpret_cast<const Bits*>(signs + 32 * i);
      const Bits low = _mm256_loadu_si256(of_block);
      pixels[i] = low;
      base[i] = _mm256_sub_epi8(base[i], _mm256_shuffle_epi8(ones, low));
      if (u + 1 == units) continue;
      const auto* of_next = reinterpret_cast<const Bits*>(signs + stride + 32 * i);
      const Bits high = _mm256_loadu_si256(of_next);
      pixels[i] = _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
      base[i] = _mm256_sub_epi8(base[i], _mm256_shuffle_epi8(ones, high));
    }
    turn(pixels);
    auto* to = reinterpret_cast<Bits*>(slices);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) _mm256_store_si256(to + i, pixels[i]);
  }
}

inline void gather(const BinaryGemmTask& task, const Segments& segments, const Gathered& gathered) {
  uint8_t *slices = gathered.slices, *bases = gathered.bases;
  for (int t = 0; t < task.tap_count; t++)
    for (int c = 0; c < task.channels; c += segments.each) {
      gather_signs(task.taps[t].signs + c / 4 * task.sign_stride + task.begin, task.sign_stride,
                   (segments.count(c) + 3) / 4, (task.end - task.begin) / 32, slices, bases);
      _mm256_store_si256(reinterpret_cast<Bits*>(slices + segments.each * kSliceBytes),
                         _mm256_setzero_si256());
      slices += segments.bytes();
      bases += kSlicePixels;
    }
}

// half dots = 2 S - P + base
[[gnu::always_inline]] inline void write_half_dots(const Bits* planes, int listed,
                                                   const uint8_t* bases, int8_t* half_dots) {
  Bits counts[8] = {_mm256_setzero_si256()};
#pragma GCC unroll 8
  for (int k = 0; k < kPlanes; k++) counts[k + 1] = planes[k];
  turn(counts);
  const Bits centre = _mm256_set1_epi8(static_cast<char>(listed));
  const auto* base = reinterpret_cast<const Bits*>(bases);
  auto* to = reinterpret_cast<Bits*>(half_dots);
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) to[i] = _mm256_add_epi8(_mm256_sub_epi8(counts[i], centre), base[i]);
}

// Half dots of all rows of the block, of each summand, rows of kSlicePixels bytes.
inline void count_slices(const BinaryGemmTask& task, const Segments& segments, const Lists& lists,
                         const Gathered& gathered) {
  const uint8_t *slices = gathered.slices, *bases = gathered.bases;
  int8_t* to = gathered.half_dots;
  for (int t = 0; t < task.tap_count; t++) {
    const Lists::Row* row = lists.of_tap(task.taps[t].weight, segments);
    for (int s = 0; s < segments.of_tap; s++) {
      for (int n = 0; n < kChannels; n += 2, row += 2, to += 2 * kSlicePixels)
        count_pair(slices, lists, row, [&](int i, const Bits* planes, int listed) {
          write_half_dots(planes, listed, bases, to + i * kSlicePixels);
        });
      slices += segments.bytes();
      bases += kSlicePixels;
    }
  }
}
