#include "bimacosr/resample.h"

#include <algorithm>
#include <cstring>

namespace bimacosr {

namespace {

// Calls work(x, count) for the pixels of one row of the smaller map, in runs that lie in one tile
// there, beginning at pixel `small` of its map, and in one tile of each of two rows of the larger
// map, which begin at `upper` and `lower`.
template <typename Function>
void for_runs(int width, int small, int upper, int lower, const Function& work) {
  for (int x = 0; x < width;) {
    const int in_small = kTile - (small + x) % kTile;
    const int in_upper = kTile - (upper + 2 * x) % kTile;
    const int in_lower = kTile - (lower + 2 * x) % kTile;
    const int count = std::min({width - x, in_small, in_upper / 2, in_lower / 2});
    work(x, count);
    x += count;
  }
}

}  // namespace

void split_phases(const MapView& in, const Shape& shape, const Shape& half, Map& phases, Map* mean,
                  ThreadPool& pool) {
  const int period = phase_pixels(half);
  const size_t end = static_cast<size_t>(in.channels) * kTile;
  phases.reshape(in.channels, {4 * period / kTile, kTile, kTile});
  if (mean) mean->reshape(in.channels, half);
  pool.run(half.height, [&](int y, int) {
    const int upper = 2 * y * shape.row;
    for_runs(half.width, y * half.row, upper, upper + shape.row, [&](int x, int count) {
      const int p = y * half.row + x;
      const float* from[2];
      float* to[4];
      for (int a = 0; a < 2; a++) {
        const int source = upper + a * shape.row + 2 * x;
        from[a] = in.data + source / kTile * in.tile_stride + source % kTile;
      }
      for (int k = 0; k < 4; k++)
        to[k] = phases.data() + (k * period + p) / kTile * phases.tile_stride() + p % kTile;
      float* middle = mean ? mean->data() + p / kTile * mean->tile_stride() + p % kTile : nullptr;
      for (size_t c = 0; c < end; c += kTile) {
        for (int a = 0; a < 2; a++)
          for (int i = 0; i < count; i++) {
            to[2 * a][c + i] = from[a][c + 2 * i];
            to[2 * a + 1][c + i] = from[a][c + 2 * i + 1];
          }
        if (!middle) continue;
        for (int i = 0; i < count; i++)
          middle[c + i] = 0.25f * ((to[0][c + i] + to[1][c + i]) + (to[2][c + i] + to[3][c + i]));
      }
    });
  });
}

void join_phases(const Map& phases, const Shape& half, Map& out, ThreadPool& pool) {
  const Shape& shape = out.shape();
  const int period = half.tiles() * kTile;
  const size_t end = static_cast<size_t>(out.channels()) * kTile;
  pool.run(shape.height, [&](int row, int) {
    const int y = row / 2, phase = row % 2 * 2 * period;
    const int first = row * shape.row;
    for_runs(half.width, y * half.row, first, first, [&](int x, int count) {
      const int p = y * half.row + x, q = first + 2 * x;
      const float* even = phases.data() + (phase + p) / kTile * phases.tile_stride() + p % kTile;
      const float* odd = even + period / kTile * phases.tile_stride();
      float* to = out.data() + q / kTile * out.tile_stride() + q % kTile;
      for (size_t c = 0; c < end; c += kTile)
        for (int i = 0; i < count; i++) {
          to[c + 2 * i] = even[c + i];
          to[c + 2 * i + 1] = odd[c + i];
        }
    });
  });
}

Order::Order(const std::vector<int32_t>& source) : identity_(true) {
  for (size_t p = 0; p < source.size(); p++) {
    if (p % kTile == 0) tile_start_.push_back(static_cast<int32_t>(runs_.size()));
    if (source[p] < 0) continue;
    identity_ = identity_ && source[p] == static_cast<int32_t>(p);
    const int32_t to = p % kTile, tile = source[p] / kTile, from = source[p] % kTile;
    if (to && source[p - 1] >= 0 && source[p] == source[p - 1] + 1 && from)
      runs_.back().count++;
    else
      runs_.push_back({to, tile, from, 1});
  }
  tile_start_.push_back(static_cast<int32_t>(runs_.size()));
}

void Order::apply(const MapView& in, const Target& out, ThreadPool& pool) const {
  // Tiles of one group read the same few tiles, channel by channel: whole cache lines of both.
  constexpr int kGroup = 8;
  const int tiles = static_cast<int>(tile_start_.size()) - 1;
  pool.run((tiles + kGroup - 1) / kGroup, [&](int group, int) {
    struct Copy {
      float* to;
      const float* from;
      int count;
    };
    std::vector<Copy> copies;
    const int first = group * kGroup, last = std::min(tiles, first + kGroup);
    for (int tile = first; tile < last; tile++)
      for (int i = tile_start_[tile]; i < tile_start_[tile + 1]; i++)
        copies.push_back({out.data + tile * out.tile_stride + runs_[i].to,
                          in.data + runs_[i].from_tile * in.tile_stride + runs_[i].from,
                          runs_[i].count});
    const size_t end = static_cast<size_t>(in.channels) * kTile;
    for (size_t c = 0; c < end; c += kTile)
      for (const Copy& copy : copies) {
        // a copy of known size is two or four instructions, any other a call
        if (copy.count == 8)
          std::memcpy(copy.to + c, copy.from + c, 8 * sizeof(float));
        else if (copy.count == 4)
          std::memcpy(copy.to + c, copy.from + c, 4 * sizeof(float));
        else
          std::memcpy(copy.to + c, copy.from + c, copy.count * sizeof(float));
      }
  });
}

}  // namespace bimacosr
