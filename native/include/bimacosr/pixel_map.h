// Maps of floats pixel by pixel, all channels of a pixel together: the layout of conv_kernels.h.
#pragma once

#include <vector>

#include "bimacosr/pages.h"

namespace bimacosr {

inline int filled_up(int channels) { return (channels + 15) / 16 * 16; }

class PixelMap {
 public:
  // What was there is lost. Room that is not much too large is used again.
  void reshape(int channels, int height, int width) {
    channels_ = channels;
    height_ = height;
    width_ = width;
    const size_t bytes = static_cast<size_t>(height) * row_stride() * sizeof(float);
    if (bytes <= data_.size() && data_.size() <= 2 * bytes) return;
    data_ = {};
    data_ = Pages(bytes);
  }
  void clear() { *this = PixelMap(); }
  // Rows before this one are not needed any more.
  void release_before(int row) {
    if (row > 0) data_.release_before(row * row_stride() * sizeof(float));
  }

  int channels() const { return channels_; }
  int height() const { return height_; }
  int width() const { return width_; }
  int pixels() const { return height_ * width_; }
  size_t pixel_stride() const { return filled_up(channels_); }
  size_t row_stride() const { return pixel_stride() * width_; }
  float* at(int y, int x) {
    return static_cast<float*>(data_.data()) + y * row_stride() + x * pixel_stride();
  }
  const float* at(int y, int x) const {
    return static_cast<const float*>(data_.data()) + y * row_stride() + x * pixel_stride();
  }

 private:
  int channels_ = 0, height_ = 0, width_ = 0;
  Pages data_;
};

// Pixels of a map; those that lie outside of it are zeros.
struct Rect {
  int y, x, rows, columns;
};

// What a layer sees instead of x: gain * x + shift per channel (filled up to 16), then SiLU if
// wanted. Without gain: x itself.
struct Normalization {
  std::vector<float> gain, shift;
  bool silu = false;
};

// Per part of a map the pixels, and what MomentsTask leaves. How a map is cut into parts depends
// on its size alone, so that the sums are the same for any number of threads.
struct Moments {
  int channels = 0;  // filled up
  std::vector<int> pixels;
  std::vector<float> sums;

  void reshape(int parts, int channels_filled_up) {
    channels = channels_filled_up;
    pixels.assign(parts, 0);
    sums.resize(static_cast<size_t>(parts) * 3 * channels);
  }
  float* part(int i) { return sums.data() + static_cast<size_t>(i) * 3 * channels; }
  const float* part(int i) const { return sums.data() + static_cast<size_t>(i) * 3 * channels; }
};

}  // namespace bimacosr
