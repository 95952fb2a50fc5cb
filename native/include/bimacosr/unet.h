// The 1-bit student of the paper family: a UNet with Swin blocks, at one fixed time step.
#pragma once

#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "bimacosr/layers.h"
#include "bimacosr/resample.h"

namespace bimacosr {

// A map and, for the norm of who reads it, the moments of each tile and channel (EpilogueTask).
struct Feature {
  Map map;
  Buffer<float> moments;
  // Of whose tiles they are: the pixels may have another order by now.
  Shape moment_shape{0, 0, 0};
  int moment_maps = 1;

  void reshape(int channels, const Shape& shape, const Shape& of_moments, int maps = 1) {
    map.reshape(channels, shape);
    moment_shape = of_moments;
    moment_maps = maps;
    moments.reserve(static_cast<size_t>(maps) * of_moments.tiles() * channels * 2);
  }
  void reshape(int channels, const Shape& shape) { reshape(channels, shape, shape); }
};

// Gain and shift per channel that a norm comes to for one input.
struct Affine {
  std::vector<float> gain, shift;
};

// Group norm in 32 groups; a time step's scale and shift belong to its weight and bias.
class GroupNorm {
 public:
  GroupNorm(std::vector<float> weight, std::vector<float> bias)
      : weight_(std::move(weight)), bias_(std::move(bias)) {}

  int channels() const { return static_cast<int>(weight_.size()); }
  // Over the channels of one or two features of one shape, one after the other.
  void fold(std::span<const Feature* const> inputs, Affine& affine) const;

 private:
  std::vector<float> weight_, bias_;
};

using BinaryLayerPtr = std::shared_ptr<const BinaryLayer>;

struct ResBlock {
  GroupNorm norm_in;
  BinaryLayerPtr conv_in;
  GroupNorm norm_out;
  BinaryLayerPtr conv_out, skip;  // no skip: identity
};

struct SwinBlock {
  GroupNorm norm_attention;
  BinaryLayerPtr qkv, proj;
  int heads, shift;
  std::vector<float> bias;  // heads x (2 window - 1)^2
  GroupNorm norm_mlp;
  BinaryLayerPtr fc1, fc2;
};

struct SwinLayer {
  BinaryLayerPtr embed, unembed;
  int window;
  std::vector<SwinBlock> blocks;
  // of each block: heads x keys x queries, of the last row of windows and of the others
  struct Bias {
    std::vector<float> normal, last_row;
  };
  std::vector<Bias> biases;

  SwinLayer(BinaryLayerPtr embed, BinaryLayerPtr unembed, int window,
            std::vector<SwinBlock> blocks);
};

struct Downsample {
  BinaryLayerPtr op;
  bool shortcut;  // adds the mean of each four pixels
};

struct Upsample {
  BinaryLayerPtr conv;
};

using Module = std::variant<std::shared_ptr<const ResBlock>, std::shared_ptr<const SwinLayer>,
                            Downsample, Upsample>;
using Stage = std::vector<Module>;

struct UnetSource {
  std::shared_ptr<const FloatConv> first, last;
  GroupNorm norm;  // before the last
  std::vector<Stage> down, up;
  Stage middle;
  int multiple;  // what height and width must be multiples of
};

// How many tiles' tokens go through several layers of the Swin part while near: as many as a kernel
// takes at a time, but not so many that a thread has none; yet not very few.
int strip_tiles(const Kernels& kernels, int tiles, int threads);

// What one run needs; it belongs to one run at a time.
struct UnetMemory {
  explicit UnetMemory(int threads);

  // Seconds of all threads since the last call, by kind of work.
  std::array<double, kWorks> take_seconds();

  // What runs layers one after another, by itself or with all threads.
  struct Worker {
    explicit Worker(int threads) : pool(threads) {}
    ThreadPool pool;
    Workspace space{pool};
    Buffer<float> qkv, hidden, scratch;
  };
  struct NamedOrder {
    Shape shape;
    int window, from, to;  // shifts, or kNatural
    Order order;
  };
  static constexpr int kNatural = -1;

  Worker all;
  ThreadPool& pool = all.pool;
  Workspace& space = all.space;
  std::vector<std::unique_ptr<Worker>> workers;  // of one thread each
  std::vector<NamedOrder> orders;
  std::vector<Feature> skips;
  Feature stage[2], within[2], hidden, tokens[2];
  Map phases, mean, activated;
  Buffer<uint8_t> lists[2];  // of two layers that take turns, see BinaryCall
  Buffer<uint8_t> signs;
  Buffer<float> scales;
  Affine affine;
};

class Unet {
 public:
  // Throws std::invalid_argument where channels or sizes do not fit each other.
  explicit Unet(UnetSource source);

  int inputs() const { return source_.first->inputs(); }
  int outputs() const { return source_.last->outputs(); }
  int multiple() const { return source_.multiple; }

  // in: inputs() planes of height x width, multiples of multiple(); out: outputs() planes. Safe
  // from several threads, each with its memory.
  void run(const float* in, int height, int width, float* out, UnetMemory& memory) const;

 private:
  UnetSource source_;
};

}  // namespace bimacosr
