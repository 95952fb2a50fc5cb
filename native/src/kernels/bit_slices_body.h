// Sums of signs by slices: a register holds one bit of many pixels, and adders of bits count.
//
// With x = 1 where a sign is +1 and 0 where it is -1, the dot of C signs with a row of weights is
//   4 (S - P / 2) + (C - 2 X),   S: sum of x where the weight is +1,   X: sum of all x,
// where P is how many weights are +1; the second bracket is the same for all rows. So about half of
// the signs have to be added, and an adder of three bits takes one more of as many pixels as a
// register has bits. What two rows of weights both add is added once, so that of four signs three
// adders do the work of eight products. Rows of weights become lists of the channels to add; the
// signs of the pixels at hand become one register a channel, once for all rows.
//
// Here bits are counted; slice_sums_*.h have what lies before and after. Included inside the
// namespace of the instruction set, after its Bits and `full_adder`; kChannels, the rows of a call;
// kPlanes, the bits of a count; kSegmentChannels and kSegmentStep, see Segments; and `append`, see
// list_channels.

constexpr size_t kSliceBytes = sizeof(Bits);
constexpr int kMostListed = 255;   // a count has eight bits
constexpr int kMostCentred = 127;  // and twice a count, less their number, with its sign
constexpr int kListStep = 8;    // lists are filled up to multiples of it, with a channel of zeros
constexpr int kListSlack = 64;  // entries that `append` may write beyond

// How a layer's signs are cut: segments of each tap are counted by themselves.
struct Segments {
  int channels, each, of_tap;  // channels of a segment; segments of a tap
  explicit Segments(int channels) : channels(channels) {
    const int least = (channels + kSegmentChannels - 1) / kSegmentChannels;
    each = ((channels + least - 1) / least + kSegmentStep - 1) / kSegmentStep * kSegmentStep;
    of_tap = (channels + each - 1) / each;
  }
  int count(int first) const { return channels - first < each ? channels - first : each; }
  size_t bytes() const { return (each + 1) * kSliceBytes; }  // of the slices, and zeros
};

// Which channels the weights of a block add up.
struct Lists {
  struct Row {
    uint32_t first, shared;  // of `slices`: its own; and what the other row of the pair has, too
    uint16_t length, shared_length;
    uint16_t listed;  // of both, without zeros
    float middle;     // of the counts: -P / 2
  };
  // centred: twice their counts, less their numbers, have eight bits; too long: a count has nine
  enum State : uint32_t { kCentred, kReady, kTooLong };
  const State* state;
  const Row* rows;         // summand by summand, of each kChannels
  const uint16_t* slices;  // where each listed channel lies, in bytes

  Lists(const uint8_t* at, int summands)
      : state(reinterpret_cast<const State*>(at)),
        rows(reinterpret_cast<const Row*>(at + 64)),
        slices(reinterpret_cast<const uint16_t*>(rows + summands * kChannels)) {}

  const Row* of_tap(int tap, const Segments& segments) const {
    return rows + static_cast<size_t>(tap) * segments.of_tap * kChannels;
  }
};

inline size_t list_bytes(int channels, int taps) {
  const Segments segments(channels);
  const size_t summands = static_cast<size_t>(taps) * segments.of_tap;
  const size_t of_pair = (segments.each + 3 * kListStep) * sizeof(uint16_t);
  return 64 + summands * (kChannels * sizeof(Lists::Row) + kChannels / 2 * of_pair) +
         (segments.each + kListSlack) * sizeof(uint16_t);
}

// `weights(row, tap, byte)`: the bits of 64 channels from byte 8 times theirs on, 1 for +1.
// `append(bits, channel, list)` lists those of 64 channels that are 1, and returns how many.
template <class Weights>
inline void list_channels(const Weights& weights, int channels, int taps, uint8_t* to) {
  const Segments segments(channels);
  const Lists lists(to, taps * segments.of_tap);
  auto* state = const_cast<Lists::State*>(lists.state);
  auto* row = const_cast<Lists::Row*>(lists.rows);
  auto* end = const_cast<uint16_t*>(lists.slices);
  constexpr int kWords = (kSegmentChannels + 63) / 64;
  struct Sublist {
    uint32_t first;
    int listed, length;
  };
  uint16_t zeros[kListStep];
  for (uint16_t& zero : zeros) zero = static_cast<uint16_t>(segments.each * kSliceBytes);
  *state = Lists::kCentred;
  for (int t = 0; t < taps; t++)
    for (int begin = 0; begin < segments.channels; begin += segments.each) {
      const int count = segments.count(begin), words = (count + 63) / 64;
      const uint64_t last = ~uint64_t{0} >> (64 * words - count);
      for (int n = 0; n < kChannels; n += 2) {
        uint64_t a[kWords] = {}, b[kWords] = {};
        for (int w = 0; w < words; w++) {
          a[w] = weights(n, t, begin / 8 + 8 * w);
          b[w] = weights(n + 1, t, begin / 8 + 8 * w);
        }
        a[words - 1] &= last;
        b[words - 1] &= last;
        const auto list = [&](const auto& wanted) __attribute__((always_inline)) {
          Sublist list{static_cast<uint32_t>(end - lists.slices), 0, 0};
          for (int w = 0; w < words; w++)
            list.listed += append(wanted(a[w], b[w]), 64 * w, end + list.listed);
          __builtin_memcpy(end + list.listed, zeros, sizeof zeros);
          list.length = (list.listed + kListStep - 1) / kListStep * kListStep;
          end += list.length;  // what was written beyond, the next overwrites
          return list;
        };
        const Sublist both = list([](uint64_t a, uint64_t b) { return a & b; });
        for (int i = 0; i < 2; i++, row++) {
          const Sublist own = i ? list([](uint64_t a, uint64_t b) { return b & ~a; })
                                : list([](uint64_t a, uint64_t b) { return a & ~b; });
          const int all = both.listed + own.listed;
          if (all > kMostListed) {
            *state = Lists::kTooLong;
            return;
          }
          if (all > kMostCentred) *state = Lists::kReady;
          *row = {own.first,
                  both.first,
                  static_cast<uint16_t>(own.length),
                  static_cast<uint16_t>(both.length),
                  static_cast<uint16_t>(all),
                  -0.5f * static_cast<float>(all)};
        }
      }
    }
}

// Adds 2^level listed channels to planes[0] to planes[level - 1]; returns the carry beyond these.
template <int level>
[[gnu::always_inline]] inline Bits add_listed(const uint8_t* slices, const uint16_t* list,
                                              Bits* planes) {
  if constexpr (level == 0) {
    return *reinterpret_cast<const Bits*>(slices + *list);
  } else {
    const Bits a = add_listed<level - 1>(slices, list, planes);
    const Bits b = add_listed<level - 1>(slices, list + (1 << (level - 1)), planes);
    return full_adder(planes[level - 1], a, b);
  }
}

template <int level>
[[gnu::always_inline]] inline void add_carry(Bits more, Bits* planes) {
#pragma GCC unroll 8
  for (int i = level; i < kPlanes; i++) {
    const Bits next = planes[i] & more;
    planes[i] ^= more;
    more = next;
  }
}

// planes += the listed channels
[[gnu::always_inline]] inline void add_list(const uint8_t* slices, const uint16_t* list, int length,
                                            Bits* planes) {
  int i = 0;
  for (; i + 32 <= length; i += 32) add_carry<5>(add_listed<5>(slices, list + i, planes), planes);
  if (i + 16 <= length) {
    add_carry<4>(add_listed<4>(slices, list + i, planes), planes);
    i += 16;
  }
  if (i < length) add_carry<3>(add_listed<3>(slices, list + i, planes), planes);
}

// Counts two rows: `write(0 or 1, planes, listed)`.
template <class Write>
[[gnu::noinline]] void count_pair(const uint8_t* slices, const Lists& lists, const Lists::Row* row,
                                  const Write& write) {
  Bits shared[kPlanes] = {};
  add_list(slices, lists.slices + row->shared, row->shared_length, shared);
#pragma GCC unroll 2  // so that the processor learns the lengths of either by themselves
  for (int n = 0; n < 2; n++, row++) {
    Bits planes[kPlanes];
#pragma GCC unroll 8
    for (int k = 0; k < kPlanes; k++) planes[k] = shared[k];
    add_list(slices, lists.slices + row->first, row->length, planes);
    write(n, planes, row->listed);
  }
}
