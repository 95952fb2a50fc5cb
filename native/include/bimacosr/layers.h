// The layers: weights made ready for one instruction set, and how they run over a whole map.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "bimacosr/convolution.h"
#include "bimacosr/map.h"
#include "bimacosr/threads.h"

namespace bimacosr {

// A 1-bit layer as it lies in a file. Pointers are read while the layer is made, and not kept.
struct BinarySource {
  int outputs, inputs, taps;  // taps: 9 or 1
  const uint64_t* signs;      // outputs x taps x ceil(inputs / 64)
  const float* scale;         // outputs
  const float* bias;          // outputs, or null
  const float* rprelu;        // 3 x outputs (before, slope, after), or null
  int sparse_count;           // entries of the sparse branch; 0: none
  const int32_t* sparse_rows;
  const int32_t* sparse_columns;
  const float* sparse_values;
  int rank;                   // of the low-rank branch; 0: none
  const float* low_rank_in;   // rank x inputs
  const float* low_rank_out;  // outputs x rank
  bool zero_is_positive;
};

// Where the time of a network goes.
enum class Work : int {
  kPrepare3x3,
  kMultiply3x3,
  kPrepare1x1,
  kMultiply1x1,
  kAttention,
  kRearrange,
  kNorm,
  kFloat,
};
inline constexpr int kWorks = 8;

// Memory that layers share, one after another. It belongs to one run at a time.
class Workspace {
 public:
  explicit Workspace(ThreadPool& pool) : pool(pool) {}
  ThreadPool& pool;
  std::array<double, kWorks> seconds{};

 private:
  friend class BinaryLayer;
  friend class FloatConv;
  Buffer<uint8_t> signs_[2];              // zeros counted as positive; as negative
  std::vector<Buffer<uint8_t>> shifted_;  // copies of signs_[0], see SignLayout::kGroups
  Buffer<float> outside_;                 // 1 for pixels that are only padding, else 0
  Buffer<float> scales_[3];               // mean |x| of the left neighbour, the pixel, the right
  Buffer<float> y_, projected_;
  std::vector<Buffer<float>> sums_;            // per thread
  std::vector<Buffer<uint8_t>> scratch_;       // per thread
  std::vector<Buffer<uint8_t>> sign_scratch_;  // per thread
  Buffer<uint8_t> lists_;
  Buffer<uint8_t> zeros_;                // per tile, see PrepareTask
  std::vector<Buffer<float>> products_;  // per thread, see run_double
  Buffer<float> edges_[2];               // see PhaseTask
  std::vector<Buffer<float>> planes_;    // per thread
  ConvScratch conv_;
};

// Adds the time until its end to a workspace.
class Timer {
 public:
  Timer(Workspace& space, Work work) : seconds_(space.seconds[static_cast<int>(work)]) {}
  ~Timer() {
    seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double& seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// What goes into a 1-bit layer, and what is done with what comes out.
struct BinaryCall {
  MapView inputs[2] = {};       // concatenated
  const float* gain = nullptr;  // the layer sees gain * x + shift, or SiLU of it
  const float* shift = nullptr;
  bool silu = false;
  const float* prelu = nullptr;  // see EpilogueTask
  const float* output_gain = nullptr;
  MapView residual = {};
  bool gelu = false;
  float* moments = nullptr;        // 2 per tile and output channel
  const uint8_t* lists = nullptr;  // from list_weights; null: made where they are of use
};

class BinaryLayer {
 public:
  BinaryLayer(const Kernels& kernels, const BinarySource& source);

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  int taps() const { return taps_; }
  bool has_branches() const { return rank_ || !sparse_start_.empty(); }
  const Kernels& kernels() const { return kernels_; }

  // pixels of a map; for fewer, lists take longer than they save
  static constexpr int kLeastListed = 320;
  // What kernels that add only the signs whose weight is +1 read instead of weights, for calls on
  // parts of a map of so many pixels; it lies in `to`. Null where it is of no use.
  const uint8_t* list_weights(int pixels, Workspace& space, Buffer<uint8_t>& to) const;

  // Stride 1, zero padding. `out` may be the residual; and an input, if the call has a gain, a
  // shift or SiLU, since its branches read a copy of that.
  void run(const BinaryCall& call, const Target& out, Workspace& space) const;
  void run(const BinaryCall& call, Map& out, Workspace& space) const {
    run(call, out.target(), space);
  }

  // Stride 2 with 9 taps and no branches. The input is what split_phases made of a map of twice the
  // height and width of `out`.
  void run_half(const BinaryCall& call, const Target& out, Workspace& space) const;

  // 9 taps after every pixel of the input was repeated four times. `phases` and the moments become
  // four maps of `shape`, that of the input: see join_phases. No residual.
  void run_double(const BinaryCall& call, const Shape& shape, Map& phases, Workspace& space) const;

 private:
  struct Frame;
  Frame frame_of(const Shape& shape) const;
  void reserve(const BinaryCall& call, Frame& frame, Workspace& space) const;
  const float* mark_outside(const Frame& frame, Workspace& space) const;
  void prepare(const BinaryCall& call, const Frame& frame, int begin, int end,
               Workspace& space) const;
  void multiply_phases(const BinaryCall& call, const Frame& frame, int begin, int end, Map& phases,
                       Workspace& space) const;
  EpilogueTask epilogue_of(const BinaryCall& call, const Frame& frame, Workspace& space) const;
  void place_scales(const Frame& frame, int begin, int end, Workspace& space) const;
  void multiply(const BinaryCall& call, const Frame& frame, int begin, int end, const Target& out,
                Workspace& space) const;
  int blocks() const { return (outputs_ + kernels_.gemm_channels - 1) / kernels_.gemm_channels; }
  size_t list_bytes() const;  // of one block of output channels, a multiple of 64
  Work multiplies() const { return taps_ == 1 ? Work::kMultiply1x1 : Work::kMultiply3x3; }
  bool two_signs() const { return !kernels_.zero_is_exact && !zero_is_positive_; }

  const Kernels& kernels_;
  int outputs_, inputs_, taps_, rank_;
  bool zero_is_positive_;
  size_t block_bytes_;
  Buffer<uint8_t> weights_;
  std::vector<float> scale_, half_scale_, bias_, rprelu_, low_rank_in_, low_rank_out_;
  std::vector<int32_t> sparse_start_;
  std::vector<SparseEntry> sparse_;
};

// A 3x3 convolution in float, stride 1, zero padding.
class FloatConv {
 public:
  // weights: outputs x inputs x 3 x 3
  FloatConv(const Kernels& kernels, int outputs, int inputs, const float* weights,
            const float* bias);

  int inputs() const { return inputs_; }
  int outputs() const { return outputs_; }
  const Kernels& kernels() const { return kernels_; }
  // `out` has padded rows (Shape::of).
  void run(const MapView& in, Map& out, Workspace& space) const;

 private:
  void run_direct(const MapView& in, Map& out, Workspace& space) const;
  void run_winograd(const MapView& in, Map& out, Workspace& space) const;

  const Kernels& kernels_;
  int outputs_, inputs_;
  Buffer<float> weights_, bias_;      // of the direct way, for few channels
  std::optional<Winograd> winograd_;  // for many
};

}  // namespace bimacosr
