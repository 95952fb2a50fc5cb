// Maps of floats in the kernels' layout: tiles of 64 pixels, all channels of a tile together.
#pragma once

#include "bimacosr/buffer.h"
#include "bimacosr/kernels.h"

namespace bimacosr {

// Height and width of a map, and the pixels from row to row: a multiple of 16, at least the width.
struct Shape {
  int height, width, row;

  static Shape of(int height, int width) { return {height, width, (width + 15) / 16 * 16}; }
  // Rows of a multiple of 8 pixels are not padded. FloatConv does not write such maps.
  static Shape tight(int height, int width) {
    return width % 8 ? of(height, width) : Shape{height, width, width};
  }
  int pixels() const { return height * row; }
  int tiles() const { return (pixels() + kTile - 1) / kTile; }
  bool operator==(const Shape&) const = default;
};

// Where a layer writes: a map, or some whole tiles of one.
struct Target {
  float* data;
  size_t tile_stride;
  Shape shape;
};

// A map that owns its floats.
class Map {
 public:
  void reshape(int channels, Shape shape) {
    channels_ = channels;
    shape_ = shape;
    data_.reserve(static_cast<size_t>(shape.tiles()) * channels * kTile);
  }

  int channels() const { return channels_; }
  const Shape& shape() const { return shape_; }
  size_t tile_stride() const { return static_cast<size_t>(channels_) * kTile; }
  float* data() { return data_.data(); }
  const float* data() const { return data_.data(); }
  MapView view() const { return {data_.data(), tile_stride(), channels_}; }
  Target target() { return {data_.data(), tile_stride(), shape_}; }

  // Where pixel (y, x) of channel 0 lies; the next channel is kTile floats on.
  size_t index(int y, int x) const {
    const int p = y * shape_.row + x;
    return static_cast<size_t>(p / kTile) * tile_stride() + p % kTile;
  }

 private:
  int channels_ = 0;
  Shape shape_{0, 0, 0};
  Buffer<float> data_;
};

}  // namespace bimacosr
