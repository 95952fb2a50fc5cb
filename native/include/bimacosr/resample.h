// Maps from one order of pixels to another: half the size, twice the size, windows.
#pragma once

#include <cstdint>
#include <vector>

#include "bimacosr/map.h"
#include "bimacosr/threads.h"

namespace bimacosr {

// From phase to phase of a split map: whole tiles, with a row of nothing between.
inline int phase_pixels(const Shape& half) {
  return (half.pixels() + half.row + 16 + kTile - 1) / kTile * kTile;
}

// The even and odd rows and columns of a map as four maps of half its size, one after another
// (rows first), and, if `mean` has channels, their mean.
void split_phases(const MapView& in, const Shape& shape, const Shape& half, Map& phases, Map* mean,
                  ThreadPool& pool);

// The other way: four maps of `half`, one after another from whole tiles to whole tiles, to `out`
// of twice its height and width.
void join_phases(const Map& phases, const Shape& half, Map& out, ThreadPool& pool);

// A new order of the pixels of a map, by runs of pixels that stay together.
class Order {
 public:
  // source[p]: which pixel of the old map is pixel p of the new one, or -1 for padding
  explicit Order(const std::vector<int32_t>& source);

  // Whether every pixel stays where it is.
  bool identity() const { return identity_; }
  void apply(const MapView& in, const Target& out, ThreadPool& pool) const;

 private:
  struct Run {
    int32_t to, from_tile, from, count;  // `to` and `from` within their tiles
  };
  std::vector<Run> runs_;
  std::vector<int32_t> tile_start_;  // first run of each new tile
  bool identity_;
};

}  // namespace bimacosr
