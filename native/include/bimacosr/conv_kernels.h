// The operators of float networks with many channels, one table of function pointers per
// instruction set.
//
// Layout. A map here is pixel by pixel, all channels of a pixel together, filled up with zeros to a
// multiple of 16: vectors run along channels. Weights lie in panels of `panel` output channels (the
// last may have 16): for each row of inputs, the panel's outputs together.
//
// Winograd. A 3x3 convolution of a tile of 4x4 pixels is 6x6 products of transformed inputs and
// weights instead of 144 (Lavin and Gray 2015, arXiv:1509.09308). After nearest enlargement by two
// the pixels come in pairs: then two convolutions of two taps, for even and for odd pixels, need
// 6x6 products, too, of only 5x5 inputs, and their transforms only add.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bimacosr {

// c[row] = start + add[row] + sum over segments s and i < segment_length of
//          a[row * a_stride + segments[s] + i] * b[s * segment_length + i]
struct MultiplyTask {
  const float* a;
  size_t a_stride;
  const ptrdiff_t* segments;
  int segment_count, segment_length;
  const float* b;      // segment_count * segment_length rows of `width`
  int width;           // 16 or ConvKernels::panel
  const float* start;  // `width` values; null: 0
  const float* add;    // rows of `width`, may be `c`; null: 0
  size_t add_stride;
  float* c;
  size_t c_stride;
  int rows;
};

// to = gain * from + shift, then SiLU if wanted, for pixels that follow each other.
struct ActivateTask {
  const float* from;
  const float* gain;   // per channel
  const float* shift;  // per channel
  bool silu;
  int channels;  // filled up to 16
  int pixels;
  float* to;
};

// What group norm needs of a rectangle: per channel a pivot (its first pixel), and the sums of
// x - pivot and of its square.
struct MomentsTask {
  const float* x;
  size_t row_stride;
  int rows, columns;
  int channels;    // filled up to 16
  float* moments;  // 3 x channels
};

// From panel weights of 9 taps to those of the products.
struct WinogradWeightsTask {
  const float* from;  // 9 x channels x width
  int channels, width;
  bool doubled;
  float* to;         // products x `to_stride`, each channels x width
  size_t to_stride;  // from product to product
};

// The inputs of a row of tiles.
struct WinogradInputTask {
  const float* patch;  // first tile's first pixel: one left of and above its first output
  size_t row_stride, pixel_stride;
  int channels;  // filled up to 16
  int tiles;
  bool doubled;        // 4x4 pixels a tile, two on to the next; else 6x6 and four
  float* v;            // inputs x `v_stride` x `tile_stride`
  size_t v_stride;     // from transformed input to transformed input
  size_t tile_stride;  // from tile to tile
};

// From products to the pixels of a row of tiles.
struct WinogradOutputTask {
  const float* m;  // products x `m_stride`, each tiles x width
  size_t m_stride;
  int width, tiles;
  bool doubled;
  const float* bias;                // `width` values
  const float* add;                 // added to the result, may be `out`; null: 0
  float* out;                       // first pixel
  size_t row_stride, pixel_stride;  // of `out` and `add`
  int rows, columns;                // of pixels to write: 1 to 4, and 1 to 4 * tiles
};

// x = softmax(scale * x), each row by itself.
struct SoftmaxTask {
  float* x;
  size_t stride;
  int rows, count;  // count: filled up to 16; what is to be left out is very negative
  float scale;
};

// The nearest of the codes by |z|^2 + |e|^2 - 2 z e; of equally near ones the first.
struct NearestTask {
  const float* z;
  size_t stride;  // from pixel to pixel
  int pixels, channels;
  const float* codes;    // channels x count
  const float* squares;  // |e|^2, very large where there is no code
  int count;             // filled up to 16
  int32_t* indices;
};

// Of each tile. Products i, j of a side of 6 read inputs i, j of a side of 6, or, when doubled,
// of a side of 5, where products 2 and 3 share one.
inline constexpr int kWinogradProducts = 36, kWinogradInputs = 36, kDoubledInputs = 25;

struct ConvKernels {
  int panel;  // output channels
  void (*multiply)(const MultiplyTask&);
  void (*activate)(const ActivateTask&);
  void (*moments)(const MomentsTask&);
  void (*winograd_weights)(const WinogradWeightsTask&);
  void (*winograd_input)(const WinogradInputTask&);
  void (*winograd_output)(const WinogradOutputTask&);
  void (*softmax)(const SoftmaxTask&);
  void (*nearest)(const NearestTask&);
  // to[j][i] = from[i][j]
  void (*transpose)(const float* from, size_t from_stride, int rows, int columns, float* to,
                    size_t to_stride);
};

}  // namespace bimacosr
