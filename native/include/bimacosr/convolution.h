// Convolutions in float over maps with many channels.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "bimacosr/kernels.h"
#include "bimacosr/conv_kernels.h"
#include "bimacosr/pixel_map.h"
#include "bimacosr/threads.h"

namespace bimacosr {

// Weights in panels of output channels; see conv_kernels.h.
class Panels {
 public:
  // weights: outputs x inputs x taps; bias: outputs, or null
  Panels(int panel, int outputs, int inputs, int taps, const float* weights, const float* bias);

  int outputs() const { return outputs_; }
  int inputs() const { return inputs_; }
  int count() const { return (outputs_ + panel_ - 1) / panel_; }
  int first(int panel) const { return panel * panel_; }
  int width(int panel) const;
  // taps x inputs x width
  const float* weights(int panel) const {
    return weights_.data() + static_cast<size_t>(first(panel)) * taps_ * inputs_;
  }
  const float* bias(int panel) const { return bias_.data() + first(panel); }

 private:
  int panel_, outputs_, inputs_, taps_;
  Buffer<float> weights_, bias_;
};

// Memory that convolutions share, one after another. It belongs to one run at a time.
struct ConvScratch {
  struct OfThread {
    Buffer<float> patch, v, m, out;
  };
  std::vector<OfThread> threads;
  Buffer<float> weights;
};

// A 3x3 convolution with zero padding, of a map or of its nearest enlargement by two.
class Winograd {
 public:
  Winograd(const ConvKernels& kernels, bool doubled, int outputs, int inputs, const float* weights,
           const float* bias);

  struct Call {
    int height, width;  // of the result
    // Fills in the pixels of a rectangle, channels filled up to 16 with zeros.
    std::function<void(const Rect&, float* patch)> load;
    float* out;  // pixel (0, 0) of the result; null: each block has a place of its own
    size_t row_stride, pixel_stride;
    const float* add;  // added to the result, laid out like `out`; null: 0
    // Called once for each block that is finished, with its first pixel.
    std::function<void(int block, const Rect&, const float* pixels, size_t row_stride)> done;
  };
  int blocks(int height, int width) const { return Grid(height, width).count(); }
  void run(const Call& call, ThreadPool& pool, ConvScratch& scratch) const;

 private:
  // How a result is cut into blocks of up to 64 tiles.
  struct Grid {
    Grid(int height, int width);
    int count() const { return down * across; }
    int rows, columns;  // tiles of a block
    int down, across;   // blocks
  };
  void transform_weights(ThreadPool& pool, ConvScratch& scratch) const;
  void run_block(const Call& call, const Rect& block, int number, const float* weights,
                 ConvScratch::OfThread& memory) const;
  int transformed_inputs() const { return doubled_ ? kDoubledInputs : kWinogradInputs; }

  const ConvKernels& kernels_;
  bool doubled_;
  Panels panels_;
};

enum class Sampling { kSame, kHalf, kDoubled };

// kSame: 1x1, or 3x3 with zero padding. kHalf: 3x3 of stride two, padded at the right and the bottom
// only. kDoubled: 3x3 after nearest enlargement by two.
class Convolution {
 public:
  Convolution(const Kernels& kernels, Sampling sampling, int size, int outputs, int inputs,
              const float* weights, const float* bias);

  struct Call {
    const PixelMap* in;
    const Normalization* normalization;  // of the input; null: none. Not for 1x1.
    PixelMap* out;                       // takes the size that results
    const PixelMap* add;                 // may be `out`; null: none
    Moments* moments;                    // of the result; null: not wanted
  };
  void run(const Call& call, ThreadPool& pool, ConvScratch& scratch) const;

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }

 private:
  void run_direct(const Call& call, ThreadPool& pool, ConvScratch& scratch) const;
  void run_winograd(const Call& call, ThreadPool& pool, ConvScratch& scratch) const;

  const ConvKernels& kernels_;
  Sampling sampling_;
  int size_, outputs_, inputs_;
  std::optional<Winograd> winograd_;  // where it is faster than
  std::optional<Panels> panels_;      // the direct way
};

// Below this number of inputs or outputs the transforms cost more than they save.
inline constexpr int kWinogradChannels = 32;

}  // namespace bimacosr
