// Weights of float convolutions in panels of output channels; see conv_kernels.h.
#pragma once

#include <functional>
#include <vector>

#include "bimacosr/bfloat16_kernels.h"
#include "bimacosr/buffer.h"
#include "bimacosr/pixel_map.h"
#include "bimacosr/threads.h"

namespace bimacosr {

// Gives the numbers of a layer, outputs x inputs x taps, each time it runs: from where they lie, or
// by way of `space`. May throw.
using WeightSource = std::function<const float*(Buffer<float>& space)>;

// Memory that convolutions share, one after another. It belongs to one run at a time.
struct ConvScratch {
  struct OfThread {
    Buffer<float> patch, v, m, out;
    Buffer<Bfloat16> rounded;
  };
  std::vector<OfThread> threads;
  Buffer<float> read, panels, weights;
  Buffer<Bfloat16> rounded;
};

class Panels {
 public:
  // Keeps a copy of the weights. `bias`: outputs, or null.
  Panels(int panel, int outputs, int inputs, int taps, const float* weights, const float* bias);
  // Keeps none: a large network is several times as large as what one of its layers needs.
  Panels(int panel, int outputs, int inputs, int taps, WeightSource weights, const float* bias);

  int outputs() const { return outputs_; }
  int inputs() const { return inputs_; }
  int count() const { return (outputs_ + panel_ - 1) / panel_; }
  int first(int panel) const { return panel * panel_; }
  int width(int panel) const;
  const float* bias(int panel) const { return bias_.data() + first(panel); }

  // All panels, one after the other, each taps x inputs x width; until `scratch` is used again.
  const float* ready(ThreadPool& pool, ConvScratch& scratch) const;
  // Where a panel lies among them.
  size_t offset(int panel) const { return static_cast<size_t>(first(panel)) * taps_ * inputs_; }

 private:
  Panels(int panel, int outputs, int inputs, int taps, const float* bias);
  void pack(int panel, const float* weights, float* all) const;

  int panel_, outputs_, inputs_, taps_;
  Buffer<float> kept_, bias_;
  WeightSource source_;
};

}  // namespace bimacosr
