// The operators of which every network is made, one table of function pointers per instruction set.
//
// Layout. The pixels of a map are numbered row by row and cut into tiles of 64; a tile holds all
// its channels, 64 floats each, and the tiles follow each other. Everything runs along pixels, so
// no kernel sums across a vector, and what a tile needs lies together. Where rows are padded (to a
// multiple of 16 pixels), the pixels between are computed and never seen.
//
// The signs of a 1-bit layer's input lie in the way that suits the instruction set; a tap of a 3x3
// convolution is an offset of dy * row + dx pixels in them. Where a tap leaves the picture, its
// scale is 0.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bimacosr {

inline constexpr int kTile = 64;  // pixels

// Some channels of a map, or all.
struct MapView {
  const float* data;   // first channel of tile 0
  size_t tile_stride;  // floats from tile to tile
  int channels;
};

// Turns a float map into what a 1-bit layer reads: signs, scales, and its low-rank projection.
struct PrepareTask {
  MapView inputs[2];   // concatenated; the second may have no channels
  int channels;        // of both
  const float* gain;   // per channel, or null: y = gain * x + shift, or SiLU of it
  const float* shift;  // per channel, or null
  bool silu;           // whether that
  float* y;            // float result, a map of `channels`; null: not wanted, since it is inputs[0]
  int y_begin;         // the pixel that `y` starts with
  bool zero_is_positive;    // sign(0) is +1 if true, 0 if false
  uint8_t* signs;           // of pixel 0
  uint8_t* negative_signs;  // where the signs hold bits, 0 is 1 in `signs` and 0 here; may be null
  size_t sign_stride;       // bytes; see Kernels::sign_layout
  float* scales;            // mean |y| over the channels, per pixel
  uint8_t* zeros;         // per tile: 1 if some y of the picture is exactly 0, else 0; may be null
  const float* outside;   // per pixel: 1 where it is none of the picture's, else 0; null: all 0
  const float* low_rank;  // rank x channels, row by row; null: none
  int rank;
  float* projected;  // low_rank y, a map of `rank` channels
  int begin, end;    // pixels, whole tiles
};

// One tap of a 1-bit convolution: what it reads at output pixel p is signs[p], scales[p].
struct Tap {
  const uint8_t* signs;
  const float* scales;
  int weight;  // which of the layer's taps
};

// sums[n][p] = sum over taps of scales[p] * dot(weights[n], signs[p]), for one block of channels.
struct BinaryGemmTask {
  const Tap* taps;
  int tap_count;
  size_t sign_stride;
  int channels;            // of the input
  const uint8_t* weights;  // of this block of output channels, as `pack_weights` left them
  int layer_taps;          // taps of the layer (9 or 1)
  int rows;                // output channels that are wanted; sums of others may be written too
  const uint8_t* lists;    // of the same block, as `list_weights` left them; null: none
  bool new_weights;        // not those of the last call with this scratch
  bool new_signs;          // not the taps, begin and end of the last call with this sign_scratch
  int begin, end;          // pixels, whole tiles, at most gemm_pixels of them
  float* sums;             // gemm_channels rows of `sums_stride`; column 0 is pixel `begin`
  size_t sums_stride;
  void* scratch;       // scratch_bytes(channels, layer_taps), aligned to 64
  void* sign_scratch;  // sign_scratch_bytes(channels, most taps of a call), aligned to 64
};

struct SparseEntry {
  int32_t column;
  float value;
};

// What follows the sums, in this order:
//   v = rprelu(scale * sum + bias) + sparse + low rank;  v = prelu(v);  v = gain * v + residual;
//   v = gelu(v)
struct EpilogueTask {
  const float* sums;  // column 0 is pixel `begin`
  size_t sums_stride;
  int first, count;  // output channels; the arrays below are indexed by channel, from 0
  const float* scale;
  const float* bias;
  const float* rprelu;          // (before, slope, after) per channel; null: none
  MapView x;                    // float input of the layer, for the sparse branch
  int x_begin;                  // the pixel that `x` starts with
  const int32_t* sparse_start;  // channels + 1 offsets into `sparse`; null: none
  const SparseEntry* sparse;
  const float* low_rank;  // channels x rank; null: none
  int rank;
  const float* projected;
  const float* prelu;  // slope per channel; null: none
  const float* gain;   // per channel; null: 1
  MapView residual;    // data null: none
  bool gelu;
  float* out;  // channel 0 of tile 0
  size_t out_tile_stride;
  float* moments;        // per tile and channel: sum, squares of the distances from its mean;
                         // null: not wanted
  int moments_channels;  // channels of a tile in `moments`
  int begin, end;        // pixels, whole tiles
  int row, width;        // pixels of a row with and without padding: moments leave out the padding;
                         // rows that are padded are multiples of 16
  int pixels;            // of the map, padding included: moments leave out what lies beyond
};

// 3x3 convolution in float of one row, for one block of output channels.
struct FloatConvTask {
  const float* row;  // its first pixel in channel 0; a pixel of zeros or of the picture all around
  size_t plane_stride, row_stride;
  int channels;
  const float* weights;  // channels x 9 x conv_channels
  const float* bias;     // conv_channels
  int count;             // output channels to write, at most conv_channels
  int y, width;          // which row, and its pixels, rounded up to 16
  float* out;            // first of these channels of tile 0
  size_t out_tile_stride;
  int out_row;  // pixels of a row in `out`
};

// Softmax attention among the tokens of one window, all heads. Queries run along pixels; channel
// order of `qkv` is queries, keys, values, each head after head.
struct AttentionTask {
  const float* qkv;  // channel 0 of the window's first tile
  size_t tile_stride;
  int tokens, tiles;  // of the window; pixels beyond the tokens are computed and never seen
  int heads, head_channels;
  float scale;        // of the products of queries and keys
  const float* bias;  // added to them: heads x tokens (keys) x 64 tiles (queries)
  float* out;         // heads x head_channels channels; may be the queries
  size_t out_tile_stride;
  float* scratch;  // tokens x kTile, aligned to 64
};

// The sums of a 3x3 convolution that sees every pixel of its input four times, from the products of
// each tap with the pixels as they are: of pixel p, the output at row 2y + a and column 2x + b is
// number p of phase 2a + b. Several taps of an output read the same pixel.
struct PhaseTask {
  const float* products;  // tap 0, channel 0, pixel 0
  size_t tap_stride, channel_stride;
  int channels, pixels;
  int row;                  // pixels; as many may be read before and after, and one more
  const float* left_edge;   // per pixel: 0 where it is the first of its row, else 1
  const float* right_edge;  // the same of the last
  float* sums[4];           // of each phase, rows of `sums_stride`
  size_t sums_stride;
  float* scratch;  // 6 x (pixels + 2 kTile)
};

// Where the signs of unit u (a few channels) of pixel p lie, in bytes from `signs`:
enum class SignLayout : int {
  kPlanes,  // u * sign_stride + p: eight channels a byte; taps may start at any pixel
  kGroups,  // p / 16 * sign_stride + u * 64 + p % 16 * 4: four channels in four bytes; taps start
            // at multiples of 16, so offsets that are not are served by shifted copies
};

inline constexpr int kMostInputs = 1 << 13;  // of a 1-bit layer, which counts them in few bits

struct ConvKernels;      // conv_kernels.h
struct Bfloat16Kernels;  // bfloat16_kernels.h

struct Kernels {
  const char* name;
  SignLayout sign_layout;
  int unit_channels;   // channels of one unit
  int unit_multiple;   // units a layer has are rounded up to this; the rest hold 0
  bool zero_is_exact;  // signs hold -1, 0, +1: `negative_signs` is never needed
  int gemm_channels;   // output channels of a BinaryGemmTask
  int gemm_pixels;     // most pixels of a BinaryGemmTask
  int conv_channels;   // output channels of a FloatConvTask
  size_t (*weight_bytes)(int channels, int taps);   // of one block of gemm_channels
  size_t (*scratch_bytes)(int channels, int taps);  // of one BinaryGemmTask
  // From the file's words, rows x taps x ceil(channels / 64), to a block of gemm_channels.
  void (*pack_weights)(const uint64_t* words, int rows, int channels, int taps, uint8_t* packed);
  void (*prepare)(const PrepareTask&);
  void (*binary_gemm)(const BinaryGemmTask&);
  void (*epilogue)(const EpilogueTask&);
  void (*map_moments)(const EpilogueTask&);  // only the moments of what `out` has
  void (*float_conv)(const FloatConvTask&);
  // kGroups only: a copy of the signs of `units` units, moved so that pixel p is what pixel
  // p + shift was; -15 <= shift <= 15; pixels in whole groups of 16.
  void (*shift_signs)(const uint8_t* from, uint8_t* to, size_t stride, int units, int shift,
                      int begin, int end) = nullptr;
  void (*attention)(const AttentionTask&);
  void (*combine_phases)(const PhaseTask&);
  const ConvKernels* conv;
  // Where the signs of the pixels at hand are rearranged for all rows of weights; null: nowhere.
  size_t (*sign_scratch_bytes)(int channels, int taps) = nullptr;
  // Where weights that meet many pixels are made lists of channels first; null: nowhere.
  size_t (*list_bytes)(int channels, int taps) = nullptr;  // of one block of gemm_channels
  void (*list_weights)(const uint8_t* weights, int channels, int taps, uint8_t* lists) = nullptr;
  const Bfloat16Kernels* bfloat16 = nullptr;  // where float convolutions may be rounded
};

}  // namespace bimacosr
