// What `bimacosr bench` times: layers and their integer part alone, with memory that stays.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bimacosr/layers.h"

namespace bimacosr::bench {

// A 1-bit layer on a map of its own, filled with numbers around 0.
class LayerTimer {
 public:
  LayerTimer(std::shared_ptr<const BinaryLayer> layer, int height, int width, int threads);
  void run();

 private:
  std::shared_ptr<const BinaryLayer> layer_;
  ThreadPool pool_;
  Workspace space_;
  Map in_, out_;
  BinaryCall call_;
};

// The sums of a 1-bit layer alone: its signs are there, and nothing follows. One thread.
class GemmTimer {
 public:
  GemmTimer(const Kernels& kernels, int outputs, int inputs, int taps, int height, int width);
  void run();

 private:
  const Kernels& kernels_;
  int inputs_, layer_taps_, pixels_, blocks_;
  size_t sign_stride_, block_bytes_;
  Buffer<uint8_t> signs_, weights_, scratch_;
  Buffer<float> scales_, sums_;
  std::vector<Tap> taps_;
};

}  // namespace bimacosr::bench
