// How one run of a 1-bit layer lies in memory; shared by the two files of BinaryLayer alone.
#pragma once

#include <algorithm>

#include "bimacosr/layers.h"

namespace bimacosr {

// Floats between the rows of sums: rows a power of two apart would meet in the first-level cache.
inline constexpr int kSumsGap = 16;

inline int round_up(int value, int to) { return (value + to - 1) / to * to; }

// Pixels before 0 and after the last are reached by taps; there the scales are 0.
struct BinaryLayer::Frame {
  struct Place {
    ptrdiff_t offset;   // pixels from an output pixel to what the tap reads
    int dx;             // the column of the tap: -1, 0 or 1
    int shifted;        // which copy of the signs holds them, or -1
    ptrdiff_t aligned;  // offset in that copy
  };

  Shape shape;                // of the output
  int period;                 // pixels from phase to phase of the input, or all
  int in_pixels, out_pixels;  // whole tiles
  int margin;                 // pixels before and after
  int reach;                  // pixels before and after an output pixel that a tap may read
  int kept;                   // pixels after which what the layer sees is overwritten
  int units;
  size_t sign_stride, sign_bytes, sign_origin;
  std::vector<Place> places;  // of the taps
  std::vector<int> shifts;    // of the copies
  uint8_t* zeros;             // see PrepareTask; null: they make no difference
  const float* outside;       // see PrepareTask
  const uint8_t* lists;       // see BinaryCall

  // Whether a tap may read a 0 from some pixel of the tile at p, so that there are two passes:
  // decided tile by tile, since how many pixels come at a time must not be seen in the sums.
  bool sees_zero(int p) const {
    if (!zeros) return false;
    const uint8_t* first = zeros + std::max(0, p - reach) / kTile;
    const uint8_t* last = zeros + std::min(in_pixels, p + kTile + reach) / kTile;
    return std::find(first, last, 1) != last;
  }
  // the pixel that lies where pixel 0 lay, when pixel p is written
  int lap(int p) const { return p / kept * kept; }
  uint8_t* signs(Buffer<uint8_t>& buffer) const { return buffer.data() + sign_origin; }
  float* scales(Buffer<float>& buffer) const { return buffer.data() + margin; }
};

}  // namespace bimacosr
