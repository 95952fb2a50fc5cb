#include "bimacosr/resample.h"

#include <cstring>

namespace bimacosr {

void split_phases(const MapView& in, const Shape& shape, const Shape& half, Map& phases, Map* mean,
                  ThreadPool& pool) {
  const int period = phase_pixels(half);
  phases.reshape(in.channels, {4 * period / kTile, kTile, kTile});
  if (mean) mean->reshape(in.channels, half);
  pool.run(half.height, [&](int y, int) {
    for (int x = 0; x < half.width; x++) {
      const int p = y * half.row + x;
      const float* from[4];
      float* to[4];
      for (int k = 0; k < 4; k++) {
        const int source = (2 * y + k / 2) * shape.row + 2 * x + k % 2;
        const int target = k * period + p;
        from[k] = in.data + source / kTile * in.tile_stride + source % kTile;
        to[k] = phases.data() + target / kTile * phases.tile_stride() + target % kTile;
      }
      float* middle = mean ? mean->data() + p / kTile * mean->tile_stride() + p % kTile : nullptr;
      for (size_t c = 0; c < static_cast<size_t>(in.channels) * kTile; c += kTile) {
        float sum = 0;
        for (int k = 0; k < 4; k++) sum += to[k][c] = from[k][c];
        if (middle) middle[c] = 0.25f * sum;
      }
    }
  });
}

void repeat_pixels(const MapView& in, const Shape& shape, Map& out, ThreadPool& pool) {
  const Shape& full = out.shape();
  pool.run(full.height, [&](int y, int) {
    for (int x = 0; x < full.width; x++) {
      const int source = y / 2 * shape.row + x / 2;
      const float* from = in.data + source / kTile * in.tile_stride + source % kTile;
      float* to = out.data() + out.index(y, x);
      for (size_t c = 0; c < static_cast<size_t>(in.channels) * kTile; c += kTile) to[c] = from[c];
    }
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
  pool.run(static_cast<int>(tile_start_.size()) - 1, [&](int tile, int) {
    float* to_tile = out.data + tile * out.tile_stride;
    for (int i = tile_start_[tile]; i < tile_start_[tile + 1]; i++) {
      const Run& run = runs_[i];
      const float* from = in.data + run.from_tile * in.tile_stride + run.from;
      float* to = to_tile + run.to;
      const size_t end = static_cast<size_t>(in.channels) * kTile;
      // a copy of known size is two or four instructions, any other a call
      if (run.count == 8)
        for (size_t c = 0; c < end; c += kTile) std::memcpy(to + c, from + c, 8 * sizeof(float));
      else if (run.count == 4)
        for (size_t c = 0; c < end; c += kTile) std::memcpy(to + c, from + c, 4 * sizeof(float));
      else
        for (size_t c = 0; c < end; c += kTile)
          std::memcpy(to + c, from + c, run.count * sizeof(float));
    }
  });
}

}  // namespace bimacosr
