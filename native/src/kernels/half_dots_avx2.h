// Half the dot products of signs and weights of few pixels, where lists of channels would not pay:
// four weights are a row of a table, and four signs of 32 pixels are looked up in it at once.
// Included by avx2.cpp, in its namespace.

// Half the dot products of four weights with all signs, sixteen bytes, of all eight weights of a
// byte: of its lower four, and of its upper.
struct Table {
  alignas(64) int8_t half_dots[2][256][16];
};
constexpr Table make_table() {
  Table table{};
  for (int half = 0; half < 2; half++)
    for (int byte = 0; byte < 256; byte++)
      for (int signs = 0; signs < 16; signs++) {
        const int differing = (byte >> 4 * half & 15) ^ signs;
        table.half_dots[half][byte][signs] = static_cast<int8_t>(
            2 - (differing & 1) - (differing >> 1 & 1) - (differing >> 2 & 1) - (differing >> 3));
      }
  return table;
}
constexpr Table kTable = make_table();

inline __m256i half_dots(int half, uint8_t weights) {
  return _mm256_broadcastsi128_si256(
      *reinterpret_cast<const __m128i*>(kTable.half_dots[half][weights]));
}

// A register, not a memory operand: GCC would load it again for every use.
#define IN_REGISTER(x) asm("" : "+x"(x))
// a += b where a stays in its register: GCC would move the sums about in every step.
#define ADD(a, b) asm("vpaddb %1, %0, %0" : "+x"(a) : "x"(b))

// Half the dot products of `count` units for 64 pixels and four rows of weights, `row` bytes apart;
// rows of kFewPixels bytes. The accumulators have names because GCC keeps an array of them in
// memory.
[[gnu::noinline]] void look_up(const uint8_t* signs, size_t stride, const uint8_t* weights,
                               size_t row, int count, int8_t* to) {
  __m256i a00 = _mm256_setzero_si256(), a01 = a00, a10 = a00, a11 = a00;
  __m256i a20 = a00, a21 = a00, a30 = a00, a31 = a00;
  const uint8_t *weights1 = weights + row, *weights2 = weights1 + row, *weights3 = weights2 + row;
  int k = 0;
#define STEP(n, half, weights)                      \
  do {                                              \
    const __m256i table = half_dots(half, weights); \
    ADD(a##n##0, _mm256_shuffle_epi8(table, x0));   \
    ADD(a##n##1, _mm256_shuffle_epi8(table, x1));   \
  } while (false)
#define UNIT(half)                                                                 \
  do {                                                                             \
    __m256i x0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(signs));      \
    __m256i x1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(signs + 32)); \
    IN_REGISTER(x0);                                                               \
    IN_REGISTER(x1);                                                               \
    STEP(0, half, weights[k]);                                                     \
    STEP(1, half, weights1[k]);                                                    \
    STEP(2, half, weights2[k]);                                                    \
    STEP(3, half, weights3[k]);                                                    \
    signs += stride;                                                               \
  } while (false)
  for (; k < count / 2; k++) {
    UNIT(0);
    UNIT(1);
  }
  if (count % 2) UNIT(0);
#undef UNIT
#undef STEP
  auto* rows = reinterpret_cast<__m256i*>(to);
#define KEEP(n)                              \
  _mm256_store_si256(rows + 2 * n, a##n##0); \
  _mm256_store_si256(rows + 2 * n + 1, a##n##1)
  KEEP(0);
  KEEP(1);
  KEEP(2);
  KEEP(3);
#undef KEEP
}

// Half dots of four rows from the `first`th on and 64 pixels from p on, of each summand.
inline void look_up_all(const BinaryGemmTask& task, const Segments& segments, int first, int p,
                        int8_t* to) {
  const size_t row = row_bytes(task.channels, task.layer_taps);
  for (int t = 0; t < task.tap_count; t++) {
    const Tap& tap = task.taps[t];
    const uint8_t* weights = task.weights + first * row + tap.weight * tap_bytes(task.channels);
    for (int c = 0; c < task.channels; c += segments.each, to += kFewRows * kFewPixels)
      look_up(tap.signs + c / 4 * task.sign_stride + p, task.sign_stride, weights + c / 8, row,
              (segments.count(c) + 3) / 4, to);
  }
}
