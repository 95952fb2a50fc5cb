// Buffers of the kernels' tests: exactly as large as the interface says, so that AddressSanitizer
// sees every step beyond.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <vector>

#include "bimacosr/kernels.h"

namespace bimacosr::tests {

constexpr std::align_val_t kAlignment{64};

// `count` zeros, aligned to 64 bytes.
template <typename T>
class Array {
 public:
  explicit Array(size_t count)
      : count_(count), data_(static_cast<T*>(operator new(count * sizeof(T), kAlignment))) {
    std::memset(data_.get(), 0, count * sizeof(T));
  }
  size_t size() const { return count_; }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](size_t i) { return data_.get()[i]; }
  const T& operator[](size_t i) const { return data_.get()[i]; }

 private:
  struct Free {
    void operator()(T* p) const { operator delete(p, kAlignment); }
  };
  size_t count_;
  std::unique_ptr<T, Free> data_;
};

inline int round_up(int n, int multiple) { return (n + multiple - 1) / multiple * multiple; }

// A map of floats in tiles of 64 pixels.
class Map {
 public:
  Map(int channels, int pixels)
      : channels_(channels),
        pixels_(round_up(pixels, kTile)),
        values_(static_cast<size_t>(channels) * pixels_) {}
  float& at(int channel, int pixel) { return values_[index(channel, pixel)]; }
  float at(int channel, int pixel) const { return values_[index(channel, pixel)]; }
  int channels() const { return channels_; }
  int pixels() const { return pixels_; }  // whole tiles
  size_t tile_stride() const { return static_cast<size_t>(channels_) * kTile; }
  float* data() { return values_.data(); }
  MapView view() const { return {values_.data(), tile_stride(), channels_}; }

 private:
  size_t index(int channel, int pixel) const {
    return pixel / kTile * tile_stride() + static_cast<size_t>(channel) * kTile + pixel % kTile;
  }
  int channels_, pixels_;
  Array<float> values_;
};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<unsigned>(n)); }
  float between(float low, float high) {
    return low + (high - low) * static_cast<float>(engine_() >> 8) / 16777216.0f;
  }
  void fill(Map* map, float low, float high) {
    for (int c = 0; c < map->channels(); c++)
      for (int p = 0; p < map->pixels(); p++) map->at(c, p) = between(low, high);
  }
  std::vector<float> values(int count, float low, float high) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = between(low, high);
    return values;
  }

 private:
  std::mt19937 engine_;
};

}  // namespace bimacosr::tests
