// A 3x3 layer after every pixel was repeated four times.
//
// Its nine taps read at most four different pixels, and all four outputs of a pixel read the same
// nine. So each tap is multiplied once with each pixel of the input, and the outputs are sums of
// such products: a quarter of the work, and the same numbers.
#include <algorithm>
#include <array>

#include "binary_frame.h"

namespace bimacosr {

namespace {

constexpr int kStrip = 512;  // pixels of the input whose products lie in memory together

}  // namespace

void BinaryLayer::run_double(const BinaryCall& call, const Shape& shape, Map& phases,
                             Workspace& space) const {
  Frame frame = frame_of(shape);
  for (Frame::Place& place : frame.places) place = {0, 0, -1, 0};
  frame.reach = frame.in_pixels;
  reserve(call, frame, space);
  phases.reshape(outputs_, {4 * frame.out_pixels / kTile, kTile, kTile});
  for (Buffer<float>& edge : space.edges_) {
    edge.reserve(frame.out_pixels);
    std::fill_n(edge.data(), frame.out_pixels, 1.0f);
  }
  for (int y = 0; y < shape.height; y++) {
    space.edges_[0][y * shape.row] = 0;
    space.edges_[1][y * shape.row + shape.width - 1] = 0;
  }
  prepare(call, frame, 0, frame.in_pixels, space);
  for (int begin = 0; begin < frame.out_pixels; begin += kStrip)
    multiply_phases(call, frame, begin, std::min(frame.out_pixels, begin + kStrip), phases, space);
}

void BinaryLayer::multiply_phases(const BinaryCall& call, const Frame& frame, int begin, int end,
                                  Map& phases, Workspace& space) const {
  Timer timer(space, Work::kMultiply3x3);
  const int halo = frame.margin, block_channels = kernels_.gemm_channels;
  const int first = std::max(0, begin - halo), last = std::min(frame.in_pixels, end + halo);
  const size_t span = kStrip + 2 * halo, tap_stride = span * block_channels;
  const size_t sums_floats = static_cast<size_t>(4) * kStrip * block_channels;
  space.products_.resize(space.pool.threads());
  for (Buffer<float>& products : space.products_)
    products.reserve(9 * tap_stride + sums_floats + 6 * (kStrip + 2 * kTile));
  const bool two_passes = frame.sees_zero(0);
  space.pool.run(blocks(), [&](int block, int thread) {
    // column `halo` is pixel `begin`
    float* products = space.products_[thread].data();
    float* sums = products + 9 * tap_stride;
    std::array<Tap, 2> taps;
    for (int i = 0; i < 2; i++)
      taps[i] = {frame.signs(space.signs_[two_passes ? i : 0]), frame.scales(space.scales_[1]), 0};
    BinaryGemmTask gemm{};
    gemm.taps = taps.data();
    gemm.tap_count = two_passes ? 2 : 1;
    gemm.sign_stride = frame.sign_stride;
    gemm.channels = inputs_;
    gemm.weights = weights_.data() + block * block_bytes_;
    gemm.layer_taps = taps_;
    gemm.new_weights = true;
    gemm.lists = frame.lists ? frame.lists + block * list_bytes() : nullptr;
    gemm.sums_stride = span;
    gemm.scratch = space.scratch_[thread].data();
    gemm.sign_scratch = space.sign_scratch_[thread].data();
    gemm.rows = std::min(block_channels, outputs_ - block * block_channels);
    for (int n = 0; n < taps_ * block_channels; n++) {
      float* row = products + n * span;
      std::fill_n(row, first - (begin - halo), 0.0f);
      std::fill(row + (last - (begin - halo)), row + span, 0.0f);
    }
    for (int p = first; p < last; p += kernels_.gemm_pixels) {
      gemm.begin = p;
      gemm.end = std::min(last, p + kernels_.gemm_pixels);
      gemm.new_signs = true;
      for (int t = 0; t < taps_; t++) {
        taps[0].weight = taps[1].weight = t;
        gemm.sums = products + t * tap_stride + (p - (begin - halo));
        kernels_.binary_gemm(gemm);
        gemm.new_weights = gemm.new_signs = false;
      }
    }
    PhaseTask combine{};
    combine.products = products + halo;
    combine.tap_stride = tap_stride;
    combine.channel_stride = span;
    combine.channels = block_channels;
    combine.pixels = end - begin;
    combine.row = frame.shape.row;
    combine.left_edge = space.edges_[0].data() + begin;
    combine.right_edge = space.edges_[1].data() + begin;
    combine.sums_stride = kStrip;
    for (int k = 0; k < 4; k++)
      combine.sums[k] = sums + static_cast<size_t>(k) * kStrip * block_channels;
    combine.scratch = sums + sums_floats;
    kernels_.combine_phases(combine);
    EpilogueTask rest = epilogue_of(call, frame, space);
    rest.scale = (two_passes ? half_scale_ : scale_).data();
    rest.first = block * block_channels;
    rest.count = gemm.rows;
    rest.sums_stride = kStrip;
    rest.begin = begin;
    rest.end = end;
    rest.out_tile_stride = phases.tile_stride();
    const int tiles = frame.out_pixels / kTile;
    for (int k = 0; k < 4; k++) {
      rest.sums = combine.sums[k];
      rest.out = phases.data() + static_cast<size_t>(k) * tiles * phases.tile_stride();
      if (call.moments) rest.moments = call.moments + static_cast<size_t>(k) * tiles * outputs_ * 2;
      kernels_.epilogue(rest);
    }
  });
}

}  // namespace bimacosr
