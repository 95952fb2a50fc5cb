// Convolutions in float over maps with many channels.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <utility>

#include "bimacosr/bfloat16_conv.h"
#include "bimacosr/conv_kernels.h"
#include "bimacosr/convolution_call.h"
#include "bimacosr/kernels.h"
#include "bimacosr/panels.h"

namespace bimacosr {

// A 3x3 convolution with zero padding, of a map or of its nearest enlargement by two.
class Winograd {
 public:
  // Of the weights as they are, 9 taps.
  Winograd(const ConvKernels& kernels, bool doubled, Panels panels)
      : kernels_(kernels), doubled_(doubled), panels_(std::move(panels)) {}

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
  // Rows of the result in a row of blocks.
  int band(int height, int width) const { return 4 * Grid(height, width).rows; }
  void run(const Call& call, ThreadPool& pool, ConvScratch& scratch) const {
    prepare(pool, scratch);
    run_rows(call, 0, call.height, pool, scratch);
  }
  // The same in parts: before the first, and then some rows at a time, from multiples of band() on.
  void prepare(ThreadPool& pool, ConvScratch& scratch) const;
  void run_rows(const Call& call, int begin, int end, ThreadPool& pool, ConvScratch& scratch) const;

 private:
  // How a result is cut into blocks of up to 64 tiles.
  struct Grid {
    Grid(int height, int width);
    int count() const { return down * across; }
    int rows, columns;  // tiles of a block
    int down, across;   // blocks
  };
  void run_block(const Call& call, const Rect& block, int number, const float* weights,
                 ConvScratch::OfThread& memory) const;
  int transformed_inputs() const { return doubled_ ? kDoubledInputs : kWinogradInputs; }

  const ConvKernels& kernels_;
  bool doubled_;
  Panels panels_;
};

class Convolution {
 public:
  // bias: outputs
  Convolution(const Arithmetic& arithmetic, Sampling sampling, int size, int outputs, int inputs,
              WeightSource weights, const float* bias);

  using Call = ConvolutionCall;
  void run(const Call& call, ThreadPool& pool, ConvScratch& scratch) const;

  // The same in parts: the weights, and `out`, are made ready, and then some rows at a time. The
  // scratch belongs to it until its end.
  class Run {
   public:
    Run(const Convolution& layer, const Call& call, ThreadPool& pool, ConvScratch& scratch);
    int height() const { return call_.out->height(); }
    // Rows that are best done together; parts begin at multiples of it.
    int band() const;
    void rows(int begin, int end);
    // The first row of the input that rows from `begin` on read.
    int first_read(int begin) const;

   private:
    void rows_direct(int begin, int end);
    void rows_winograd(int begin, int end);

    const Convolution& layer_;
    const Call call_;
    ThreadPool& pool_;
    ConvScratch& scratch_;
    const float* panels_ = nullptr;  // of the direct way
  };

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }

 private:
  int direct_rows(int width) const;

  const ConvKernels& kernels_;
  Sampling sampling_;
  int size_, outputs_, inputs_;
  std::optional<Bfloat16Convolution> rounded_;  // else
  std::optional<Winograd> winograd_;            // where it is faster than
  std::optional<Panels> panels_;                // the direct way
};

// Runs convolutions of one input, whose results have one height, and gives the input's rows back
// behind them.
void run_and_release(std::span<Convolution::Run> runs, PixelMap& in);

// Below this number of inputs or outputs the transforms cost more than they save.
inline constexpr int kWinogradChannels = 32;

}  // namespace bimacosr
