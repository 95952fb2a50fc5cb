#include <algorithm>
#include <cstring>

#include "bimacosr/layers.h"

namespace bimacosr {

FloatConv::FloatConv(const Kernels& kernels, int outputs, int inputs, const float* weights,
                     const float* bias)
    : kernels_(kernels), outputs_(outputs), inputs_(inputs) {
  if (outputs >= kWinogradChannels && inputs >= kWinogradChannels) {
    const int panel = kernels.conv->panel;
    winograd_.emplace(*kernels.conv, false, Panels(panel, outputs, inputs, 9, weights, bias));
    return;
  }
  const int block = kernels.conv_channels, blocks = (outputs + block - 1) / block;
  weights_.reserve(static_cast<size_t>(blocks) * inputs * 9 * block);
  bias_.reserve(static_cast<size_t>(blocks) * block);
  for (int n = 0; n < outputs; n++) {
    bias_[n] = bias ? bias[n] : 0.0f;
    for (int c = 0; c < inputs; c++)
      for (int t = 0; t < 9; t++)
        weights_[((static_cast<size_t>(n / block) * inputs + c) * 9 + t) * block + n % block] =
            weights[(static_cast<size_t>(n) * inputs + c) * 9 + t];
  }
}

void FloatConv::run(const MapView& in, Map& out, Workspace& space) const {
  winograd_ ? run_winograd(in, out, space) : run_direct(in, out, space);
}

// Blocks of tiles of the map are turned to pixels with their channels together, and back.
void FloatConv::run_winograd(const MapView& in, Map& out, Workspace& space) const {
  const Shape shape = out.shape();
  const ConvKernels& kernels = *kernels_.conv;
  const size_t channels = filled_up(inputs_), outputs = filled_up(outputs_);
  Winograd::Call call{};
  call.height = shape.height;
  call.width = shape.row;
  call.load = [&](const Rect& rect, float* patch) {
    std::fill_n(patch, rect.rows * rect.columns * channels, 0.0f);
    const int first = std::max(rect.x, 0), last = std::min(rect.x + rect.columns, shape.width);
    for (int y = std::max(rect.y, 0); y < std::min(rect.y + rect.rows, shape.height); y++)
      for (int x = first, next; x < last; x = next) {
        const int p = y * shape.row + x;
        next = std::min(last, x + kTile - p % kTile);
        float* to = patch + ((y - rect.y) * rect.columns + x - rect.x) * channels;
        kernels.transpose(in.data + p / kTile * in.tile_stride + p % kTile, kTile, inputs_,
                          next - x, to, channels);
      }
  };
  call.done = [&](int, const Rect& block, const float* pixels, size_t row_stride) {
    for (int y = block.y; y < block.y + block.rows; y++)
      for (int x = block.x, next; x < block.x + block.columns; x = next) {
        const int p = y * shape.row + x;
        next = std::min(block.x + block.columns, x + kTile - p % kTile);
        const float* from = pixels + (y - block.y) * row_stride + (x - block.x) * outputs;
        kernels.transpose(from, outputs, next - x, outputs_,
                          out.data() + p / kTile * out.tile_stride() + p % kTile, kTile);
      }
  };
  winograd_->run(call, space.pool, space.conv_);
}

// Strips of rows are laid out as planes, where a row's neighbours lie side by side.
void FloatConv::run_direct(const MapView& in, Map& out, Workspace& space) const {
  constexpr int kBefore = 16, kAfter = 16;  // zeros left and right of a row
  constexpr int kRows = 8;
  const Shape shape = out.shape();
  const size_t row_stride = shape.row + kBefore + kAfter;
  const size_t plane_stride = (kRows + 2) * row_stride;
  space.planes_.resize(space.pool.threads());
  const int block = kernels_.conv_channels;
  space.pool.run((shape.height + kRows - 1) / kRows, [&](int strip, int thread) {
    const int first = strip * kRows, last = std::min(shape.height, first + kRows);
    Buffer<float>& planes = space.planes_[thread];
    planes.reserve(plane_stride * inputs_);
    for (int c = 0; c < inputs_; c++) {
      float* row = planes.data() + c * plane_stride;
      for (int y = first - 1; y <= last; y++, row += row_stride) {
        if (y < 0 || y == shape.height) {
          std::fill_n(row, row_stride, 0.0f);
          continue;
        }
        std::fill_n(row, kBefore, 0.0f);
        std::fill(row + kBefore + shape.width, row + row_stride, 0.0f);
        for (int x = 0; x < shape.width; x += 16) {
          const int p = y * shape.row + x;
          std::memcpy(row + kBefore + x,
                      in.data + p / kTile * in.tile_stride + c * kTile + p % kTile,
                      std::min(16, shape.width - x) * sizeof(float));
        }
      }
    }
    FloatConvTask task{};
    task.plane_stride = plane_stride;
    task.row_stride = row_stride;
    task.channels = inputs_;
    task.width = shape.row;
    task.out_tile_stride = out.tile_stride();
    task.out_row = shape.row;
    for (int b = 0; b * block < outputs_; b++) {
      task.weights = weights_.data() + static_cast<size_t>(b) * inputs_ * 9 * block;
      task.bias = bias_.data() + static_cast<size_t>(b) * block;
      task.count = std::min(block, outputs_ - b * block);
      task.out = out.data() + static_cast<size_t>(b) * block * kTile;
      for (task.y = first; task.y < last; task.y++) {
        task.row = planes.data() + (task.y - first + 1) * row_stride + kBefore;
        kernels_.float_conv(task);
      }
    }
  });
}

}  // namespace bimacosr
