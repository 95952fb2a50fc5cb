// What `bimacosr bench` times: layers, pairs of them, their integer part alone; with memory that
// stays.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "bimacosr/unet.h"

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

// Two 1-bit layers of 1 tap as they follow each other in a Swin block: the second reads the last of
// what the first one writes, through GELU or as it is, some tiles at a time while they are near.
class PairTimer {
 public:
  PairTimer(std::shared_ptr<const BinaryLayer> first, std::shared_ptr<const BinaryLayer> second,
            bool gelu, int pixels, int threads);
  void run();

 private:
  void run_strip(int first_tile, int tiles, const uint8_t* const* lists,
                 UnetMemory::Worker& worker);

  std::shared_ptr<const BinaryLayer> first_, second_;
  bool gelu_;
  UnetMemory memory_;
  Map in_, out_;
};

// The sums of a 1-bit layer alone: its signs are there, and nothing follows. One thread.
class GemmTimer {
 public:
  GemmTimer(const Kernels& kernels, int outputs, int inputs, int taps, int height, int width);
  void run();

 private:
  const Kernels& kernels_;
  int inputs_, layer_taps_, pixels_, blocks_;
  size_t sign_stride_, block_bytes_, list_bytes_ = 0;
  Buffer<uint8_t> signs_, weights_, lists_, scratch_, sign_scratch_;
  Buffer<float> scales_, sums_;
  std::vector<Tap> taps_;
};

}  // namespace bimacosr::bench
