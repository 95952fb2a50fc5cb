#include "bimacosr/convolution.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace bimacosr {

namespace {

constexpr int kJobPixels = 1024;  // about as many as a job of the direct way gives

// The pixels of `rect`, normalised; zeros outside of the map.
void load_patch(const ConvKernels& kernels, const PixelMap& map, const Normalization* normalization,
                const Rect& rect, float* to) {
  const size_t stride = map.pixel_stride();
  const int before = std::clamp(-rect.x, 0, rect.columns);
  const int inside = std::clamp(map.width() - rect.x - before, 0, rect.columns - before);
  for (int y = rect.y; y < rect.y + rect.rows; y++, to += rect.columns * stride) {
    if (y < 0 || y >= map.height() || inside == 0) {
      std::fill_n(to, rect.columns * stride, 0.0f);
      continue;
    }
    const float* from = map.at(y, rect.x + before);
    float* first = to + before * stride;
    std::fill_n(to, before * stride, 0.0f);
    if (normalization)
      kernels.activate({from, normalization->gain.data(), normalization->shift.data(),
                        normalization->silu, static_cast<int>(stride), inside, first});
    else
      std::memcpy(first, from, inside * stride * sizeof(float));
    std::fill_n(first + inside * stride, (rect.columns - before - inside) * stride, 0.0f);
  }
}

void take_moments(const ConvKernels& kernels, Moments& moments, int part, const Rect& rect,
                  const float* pixels, size_t row_stride) {
  moments.pixels[part] = rect.rows * rect.columns;
  kernels.moments({pixels, row_stride, rect.rows, rect.columns, moments.channels,
                   moments.part(part)});
}

}  // namespace

Convolution::Convolution(const Kernels& kernels, Sampling sampling, int size, int outputs,
                         int inputs, const float* weights, const float* bias)
    : kernels_(*kernels.conv), sampling_(sampling), size_(size), outputs_(outputs),
      inputs_(inputs) {
  const bool many = inputs >= kWinogradChannels && outputs >= kWinogradChannels;
  if (sampling == Sampling::kDoubled || (sampling == Sampling::kSame && size == 3 && many))
    winograd_.emplace(kernels_, sampling == Sampling::kDoubled, outputs, inputs, weights, bias);
  else
    panels_.emplace(kernels_.panel, outputs, inputs, size * size, weights, bias);
}

void Convolution::run(const Call& call, ThreadPool& pool, ConvScratch& scratch) const {
  const int height = call.in->height(), width = call.in->width();
  if (sampling_ == Sampling::kSame) call.out->reshape(outputs_, height, width);
  if (sampling_ == Sampling::kHalf) call.out->reshape(outputs_, height / 2, width / 2);
  if (sampling_ == Sampling::kDoubled) call.out->reshape(outputs_, 2 * height, 2 * width);
  winograd_ ? run_winograd(call, pool, scratch) : run_direct(call, pool, scratch);
}

void Convolution::run_winograd(const Call& call, ThreadPool& pool, ConvScratch& scratch) const {
  const Winograd& winograd = *winograd_;
  PixelMap& out = *call.out;
  if (call.moments)
    call.moments->reshape(winograd.blocks(out.height(), out.width()), filled_up(outputs_));
  Winograd::Call inner{};
  inner.height = out.height();
  inner.width = out.width();
  inner.load = [&](const Rect& rect, float* patch) {
    load_patch(kernels_, *call.in, call.normalization, rect, patch);
  };
  inner.out = out.at(0, 0);
  inner.row_stride = out.row_stride();
  inner.pixel_stride = out.pixel_stride();
  inner.add = call.add ? call.add->at(0, 0) : nullptr;
  if (call.moments)
    inner.done = [&](int block, const Rect& rect, const float* pixels, size_t row_stride) {
      take_moments(kernels_, *call.moments, block, rect, pixels, row_stride);
    };
  winograd.run(inner, pool, scratch);
}

void Convolution::run_direct(const Call& call, ThreadPool& pool, ConvScratch& scratch) const {
  const PixelMap& in = *call.in;
  PixelMap& out = *call.out;
  const Panels& panels = *panels_;
  const int stride = sampling_ == Sampling::kHalf ? 2 : 1, margin = size_ == 3 && stride == 1;
  const int rows = std::clamp(kJobPixels / out.width(), 1, 8);
  const int jobs = (out.height() + rows - 1) / rows;
  const size_t channels = in.pixel_stride();
  // one pixel more at the right than a stride of two needs
  const int columns = size_ == 1 ? in.width() : stride * out.width() + 2;
  const size_t row_stride = columns * channels;
  std::array<ptrdiff_t, 9> segments;
  for (int t = 0; t < size_ * size_; t++)
    segments[t] = static_cast<ptrdiff_t>(t / size_ * row_stride + t % size_ * channels);
  if (call.moments) call.moments->reshape(jobs, filled_up(outputs_));
  scratch.threads.resize(pool.threads());
  pool.run(jobs, [&](int job, int thread) {
    const Rect block = {job * rows, 0, std::min(rows, out.height() - job * rows), out.width()};
    const float* pixels = size_ == 1 ? in.at(block.y, 0) : nullptr;
    if (size_ == 3) {
      const Rect seen = {block.y * stride - margin, -margin, block.rows * stride + 2, columns};
      Buffer<float>& patch = scratch.threads[thread].patch;
      patch.reserve(seen.rows * row_stride);
      load_patch(kernels_, in, call.normalization, seen, patch.data());
      pixels = patch.data();
    }
    for (int p = 0; p < panels.count(); p++)
      for (int y = 0; y < block.rows; y++) {
        MultiplyTask task{};
        task.a = pixels + y * stride * row_stride;
        task.a_stride = stride * channels;
        task.segments = segments.data();
        task.segment_count = size_ * size_;
        task.segment_length = inputs_;
        task.b = panels.weights(p);
        task.width = panels.width(p);
        task.start = panels.bias(p);
        task.add = call.add ? call.add->at(block.y + y, 0) + panels.first(p) : nullptr;
        task.add_stride = out.pixel_stride();
        task.c = out.at(block.y + y, 0) + panels.first(p);
        task.c_stride = out.pixel_stride();
        task.rows = block.columns;
        kernels_.multiply(task);
      }
    if (call.moments)
      take_moments(kernels_, *call.moments, job, block, out.at(block.y, 0), out.row_stride());
  });
}

}  // namespace bimacosr
