// The VQ-f4 autoencoder in float: pictures to latents and back, through a codebook.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bimacosr/convolution.h"

namespace bimacosr {

struct VqSettings {
  int in_channels, out_channels;
  int channels;                   // of the first level, a multiple of 32
  std::vector<int> channel_mult;  // channels of each level over `channels`
  int num_res_blocks;             // of a level in the encoder; the decoder has one more
  int z_channels, embed_dim, n_embed;
};

// Where the array of that name comes from. Throws std::invalid_argument if there is none, or it has
// another shape.
using VqWeights =
    std::function<WeightSource(const std::string& name, const std::vector<int>& shape)>;

// What one run needs; it belongs to one run at a time. Maps are the most of it: each is there only
// from its first pixel to the last layer that reads it.
struct VqMemory {
  explicit VqMemory(int threads) : pool(threads) {}
  // Gives back all but the threads.
  void clear();

  ThreadPool pool;
  ConvScratch scratch, scratch_beside;
  PixelMap x, h, other;  // the map, and what the blocks make on the way
  Moments of_x, of_h;
};

// The numbers of an array that is kept.
Buffer<float> load_array(const VqWeights& weights, const std::string& name,
                         const std::vector<int>& shape);

Convolution load_convolution(const Arithmetic& arithmetic, const VqWeights& weights,
                             const std::string& name, Sampling sampling, int size, int outputs,
                             int inputs);

class VqNorm {
 public:
  VqNorm(const VqWeights& weights, const std::string& name, int channels);
  // What the group norm of a map with these moments does to each channel.
  Normalization fold(const Moments& moments, bool silu) const;

 private:
  int channels_;
  Buffer<float> gain_, shift_;
};

// The steps below replace memory.x, and keep memory.of_x up to date.

class VqResBlock {
 public:
  VqResBlock(const Arithmetic& arithmetic, const VqWeights& weights, const std::string& name,
             int inputs, int outputs);
  void run(VqMemory& memory) const;

 private:
  void run_both(const Normalization& first, VqMemory& memory) const;

  VqNorm norm1_, norm2_;
  Convolution conv1_, conv2_;
  std::optional<Convolution> shortcut_;  // where the channels change
};

class VqAttention {
 public:
  VqAttention(const Arithmetic& arithmetic, const VqWeights& weights, const std::string& name,
              int channels);
  void run(VqMemory& memory) const;

 private:
  const Arithmetic arithmetic_;
  const int channels_;
  VqNorm norm_;
  Convolution query_, key_, value_, projection_;
};

struct VqLevel {
  std::vector<VqResBlock> blocks;
  std::optional<Convolution> resample;
};

// The encoder or the decoder. The levels lie in the order in which they run; the middle comes after
// them in the encoder and before them in the decoder.
struct VqWay {
  Convolution first;
  std::vector<VqLevel> levels;
  VqResBlock block_1;
  VqAttention attention;
  VqResBlock block_2;
  VqNorm norm;
  Convolution last;
};

class VqAutoencoder {
 public:
  // Throws what `weights` throws. Keeps the sources of the convolutions' weights; what they throw,
  // encode and decode throw.
  VqAutoencoder(const Arithmetic& arithmetic, const VqSettings& settings, const VqWeights& weights);

  const VqSettings& settings() const { return settings_; }
  int scale() const { return 1 << (settings_.channel_mult.size() - 1); }

  // planes: in_channels x height x width, multiples of scale(); latent: embed_dim planes.
  void encode(const float* planes, int height, int width, float* latent, VqMemory& memory) const;
  // z: embed_dim planes of `pixels`; numerically z + (code - z), in place. indices: of the codes.
  void quantize(float* z, int pixels, int32_t* indices, VqMemory& memory) const;
  // latent: embed_dim planes of height x width; planes: out_channels, scale() times as large.
  void decode(const float* latent, int height, int width, float* planes, VqMemory& memory) const;

 private:
  void run_middle(const VqWay& way, VqMemory& memory) const;
  void run_levels(const VqWay& way, VqMemory& memory) const;
  void finish(const VqWay& way, VqMemory& memory) const;

  const ConvKernels& kernels_;
  VqSettings settings_;
  VqWay encoder_, decoder_;
  Convolution quant_, post_quant_;
  int codes_;                         // filled up to 16
  Buffer<float> codebook_, squares_;  // plane by plane; |code|^2
};

}  // namespace bimacosr
