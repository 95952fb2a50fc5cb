// Rows to columns. Included by conv_body.h.

#if defined(BIMACOSR_SIMD_X86)
constexpr int kSquare = 8;

// to[j][i] = from[i][j] for a square
inline void transpose_square(const float* from, size_t from_stride, float* to, size_t to_stride) {
  __m256 row[8], pair[8], four[8];
  for (int i = 0; i < 8; i++) row[i] = _mm256_loadu_ps(from + i * from_stride);
  for (int i = 0; i < 8; i += 2) {
    pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
    pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
  }
  for (int i = 0; i < 8; i += 4)
    for (int k = 0; k < 2; k++) {
      four[i + 2 * k] = _mm256_shuffle_ps(pair[i + k], pair[i + k + 2], 0x44);
      four[i + 2 * k + 1] = _mm256_shuffle_ps(pair[i + k], pair[i + k + 2], 0xee);
    }
  for (int k = 0; k < 4; k++) {
    _mm256_storeu_ps(to + k * to_stride, _mm256_permute2f128_ps(four[k], four[k + 4], 0x20));
    _mm256_storeu_ps(to + (k + 4) * to_stride, _mm256_permute2f128_ps(four[k], four[k + 4], 0x31));
  }
}
#elif defined(BIMACOSR_SIMD_NEON)
constexpr int kSquare = 4;

inline void transpose_square(const float* from, size_t from_stride, float* to, size_t to_stride) {
  const float32x4x4_t rows = {{vld1q_f32(from), vld1q_f32(from + from_stride),
                               vld1q_f32(from + 2 * from_stride),
                               vld1q_f32(from + 3 * from_stride)}};
  float lanes[16];
  vst4q_f32(lanes, rows);
  for (int j = 0; j < 4; j++) vst1q_f32(to + j * to_stride, vld1q_f32(lanes + 4 * j));
}
#else
constexpr int kSquare = 1;

inline void transpose_square(const float* from, size_t, float* to, size_t) { *to = *from; }
#endif

void transpose(const float* from, size_t from_stride, int rows, int columns, float* to,
               size_t to_stride) {
  const int whole_rows = rows / kSquare * kSquare, whole_columns = columns / kSquare * kSquare;
  for (int i = 0; i < whole_rows; i += kSquare)
    for (int j = 0; j < whole_columns; j += kSquare)
      transpose_square(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
  for (int i = 0; i < rows; i++)
    for (int j = i < whole_rows ? whole_columns : 0; j < columns; j++)
      to[j * to_stride + i] = from[i * from_stride + j];
}
