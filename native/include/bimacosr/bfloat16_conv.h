// A convolution whose products are in bfloat16; see convolution.h.
#pragma once

#include "bimacosr/bfloat16_kernels.h"
#include "bimacosr/convolution_call.h"
#include "bimacosr/panels.h"

namespace bimacosr {

class Bfloat16Convolution {
 public:
  Bfloat16Convolution(const ConvKernels& kernels, const Bfloat16Kernels& rounded, Sampling sampling,
                      int size, int outputs, int inputs, WeightSource weights, const float* bias);

  int blocks(int height, int width) const;     // of a result of that size
  int band() const { return unit() * kRows; }  // rows of the result in a row of blocks
  // Makes the weights ready in `scratch`.
  void prepare(ThreadPool& pool, ConvScratch& scratch) const;
  // Begins at a multiple of band().
  void run_rows(const ConvolutionCall& call, int begin, int end, ThreadPool& pool,
                ConvScratch& scratch) const;

 private:
  // Of a block: 32 pixels wide, since that is what two tiles take, of the result, or, if that is
  // enlarged, of what it is enlarged from.
  static constexpr int kRows = 16, kColumns = 32;

  bool doubled() const { return sampling_ == Sampling::kDoubled; }
  int unit() const { return doubled() ? 2 : 1; }
  // Pixels in even and odd rows and columns of an enlarged map see two by two pixels of the input,
  // each by another sum of weights.
  int phases() const { return doubled() ? 4 : 1; }
  int side() const { return doubled() ? 2 : size_; }  // taps of a phase
  int planes() const { return (inputs_ + kStepInputs - 1) / kStepInputs; }
  int steps() const { return planes() * side() * side(); }
  int panels() const { return (outputs_ + kStepOutputs - 1) / kStepOutputs; }
  size_t phase_weights() const { return static_cast<size_t>(steps()) * kStepWeights; }
  void pack_panel(int panel, const float* weights, Buffer<float>& space, Bfloat16* to) const;
  void run_block(const ConvolutionCall& call, const Rect& block, int number,
                 const Bfloat16* weights, ConvScratch::OfThread& memory) const;
  void load(const ConvolutionCall& call, const Rect& rect, Bfloat16* to, size_t plane) const;

  const ConvKernels& kernels_;
  const Bfloat16Kernels& rounded_;
  Sampling sampling_;
  int size_, outputs_, inputs_;
  WeightSource source_;
  Buffer<float> bias_;
};

}  // namespace bimacosr
