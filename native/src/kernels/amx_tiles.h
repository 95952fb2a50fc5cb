// All eight tiles at their full size, 16 rows of 64 bytes. Included inside a namespace, after
// <immintrin.h>.

struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Not a local variable: to GCC the instruction reads 8 bytes of it, and the others could be left
// out.
constexpr TileConfig kTiles = [] {
  TileConfig config;
  for (int i = 0; i < 8; i++) config.row_bytes[i] = 64, config.rows[i] = 16;
  return config;
}();
