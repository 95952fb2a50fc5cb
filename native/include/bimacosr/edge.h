// The edge family: a photograph to its enlargement in one evaluation of a small 1-bit network.
#pragma once

#include <memory>
#include <vector>

#include "bimacosr/layers.h"

namespace bimacosr {

struct EdgeBlock {
  std::shared_ptr<const BinaryLayer> conv;
  std::vector<float> shift, prelu, gain;  // per channel
};

struct EdgeSource {
  int scale;
  std::shared_ptr<const FloatConv> first, last;
  std::vector<EdgeBlock> body;
  float noise_scale;  // x_T = z_y + noise_scale * noise
  float input_scale;  // the network sees input_scale * x_T
  bool residual;      // it gives z_y - z_0, or z_0
};

class EdgeModel {
 public:
  EdgeModel(EdgeSource source) : source_(std::move(source)) {}

  int scale() const { return source_.scale; }

  // lq: height x width x 3 in [0, 1]; noise: 3 scale^2 planes of height x width, or null;
  // sr: (height scale) x (width scale) x 3. Safe from several threads, each with its workspace.
  struct Memory {
    explicit Memory(int threads) : pool(threads), space(pool) {}
    ThreadPool pool;
    Workspace space;
    Map input, features, latent;
    Buffer<float> rows;
  };
  void restore(const float* lq, int height, int width, const float* noise, float* sr,
               Memory& memory) const;

 private:
  EdgeSource source_;
};

}  // namespace bimacosr
