#include "bimacosr/convolution.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

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

}  // namespace

Convolution::Convolution(const Arithmetic& arithmetic, Sampling sampling, int size, int outputs,
                         int inputs, WeightSource weights, const float* bias)
    : kernels_(*arithmetic.kernels.conv),
      sampling_(sampling),
      size_(size),
      outputs_(outputs),
      inputs_(inputs) {
  if (arithmetic.rounded() && inputs >= kStepInputs) {
    rounded_.emplace(kernels_, *arithmetic.rounded(), sampling, size, outputs, inputs,
                     std::move(weights), bias);
    return;
  }
  const bool many = inputs >= kWinogradChannels && outputs >= kWinogradChannels;
  Panels panels(kernels_.panel, outputs, inputs, size * size, std::move(weights), bias);
  if (sampling == Sampling::kDoubled || (sampling == Sampling::kSame && size == 3 && many))
    winograd_.emplace(kernels_, sampling == Sampling::kDoubled, std::move(panels));
  else
    panels_.emplace(std::move(panels));
}

void Convolution::run(const Call& call, ThreadPool& pool, ConvScratch& scratch) const {
  Run run(*this, call, pool, scratch);
  run.rows(0, run.height());
}

// Rows of a job of the direct way.
int Convolution::direct_rows(int width) const { return std::clamp(kJobPixels / width, 1, 8); }

Convolution::Run::Run(const Convolution& layer, const Call& call, ThreadPool& pool,
                      ConvScratch& scratch)
    : layer_(layer), call_(call), pool_(pool), scratch_(scratch) {
  PixelMap& out = *call.out;
  const int height = call.in->height(), width = call.in->width();
  if (layer.sampling_ == Sampling::kSame) out.reshape(layer.outputs_, height, width);
  if (layer.sampling_ == Sampling::kHalf) out.reshape(layer.outputs_, height / 2, width / 2);
  if (layer.sampling_ == Sampling::kDoubled) out.reshape(layer.outputs_, 2 * height, 2 * width);
  const int rows = layer.direct_rows(out.width());
  const int parts = layer.rounded_    ? layer.rounded_->blocks(out.height(), out.width())
                    : layer.winograd_ ? layer.winograd_->blocks(out.height(), out.width())
                                      : (out.height() + rows - 1) / rows;
  if (call.moments) call.moments->reshape(parts, filled_up(layer.outputs_));
  scratch.threads.resize(pool.threads());
  if (layer.rounded_)
    layer.rounded_->prepare(pool, scratch);
  else if (layer.winograd_)
    layer.winograd_->prepare(pool, scratch);
  else
    panels_ = layer.panels_->ready(pool, scratch);
}

int Convolution::Run::band() const {
  const int height = call_.out->height(), width = call_.out->width();
  if (layer_.rounded_) return layer_.rounded_->band();
  if (layer_.winograd_) return layer_.winograd_->band(height, width);
  return call_.moments ? layer_.direct_rows(width) : 1;
}

int Convolution::Run::first_read(int begin) const {
  if (layer_.sampling_ == Sampling::kHalf) return 2 * begin;
  if (layer_.sampling_ == Sampling::kDoubled) return std::max(0, begin / 2 - 1);
  return layer_.size_ == 1 ? begin : std::max(0, begin - 1);
}

void Convolution::Run::rows(int begin, int end) {
  if (layer_.rounded_)
    layer_.rounded_->run_rows(call_, begin, end, pool_, scratch_);
  else if (layer_.winograd_)
    rows_winograd(begin, end);
  else
    rows_direct(begin, end);
}

void Convolution::Run::rows_winograd(int begin, int end) {
  const ConvKernels& kernels = layer_.kernels_;
  PixelMap& out = *call_.out;
  Winograd::Call inner{};
  inner.height = out.height();
  inner.width = out.width();
  inner.load = [&](const Rect& rect, float* patch) {
    load_patch(kernels, *call_.in, call_.normalization, rect, patch);
  };
  inner.out = out.at(0, 0);
  inner.row_stride = out.row_stride();
  inner.pixel_stride = out.pixel_stride();
  inner.add = call_.add ? call_.add->at(0, 0) : nullptr;
  if (call_.moments)
    inner.done = [&](int block, const Rect& rect, const float* pixels, size_t row_stride) {
      take_moments(kernels, *call_.moments, block, rect, pixels, row_stride);
    };
  layer_.winograd_->run_rows(inner, begin, end, pool_, scratch_);
}

void Convolution::Run::rows_direct(int begin, int end) {
  const ConvKernels& kernels = layer_.kernels_;
  const PixelMap& in = *call_.in;
  PixelMap& out = *call_.out;
  const Panels& panels = *layer_.panels_;
  const int size = layer_.size_, stride = layer_.sampling_ == Sampling::kHalf ? 2 : 1;
  const int margin = size == 3 && stride == 1;
  const int rows = layer_.direct_rows(out.width());
  const size_t channels = in.pixel_stride();
  // one pixel more at the right than a stride of two needs
  const int columns = size == 1 ? in.width() : stride * out.width() + 2;
  const size_t row_stride = columns * channels;
  std::array<ptrdiff_t, 9> segments;
  for (int t = 0; t < size * size; t++)
    segments[t] = static_cast<ptrdiff_t>(t / size * row_stride + t % size * channels);
  pool_.run((end - begin + rows - 1) / rows, [&](int job, int thread) {
    const int y = begin + job * rows;
    const Rect block = {y, 0, std::min(rows, end - y), out.width()};
    const float* pixels = size == 1 ? in.at(block.y, 0) : nullptr;
    if (size == 3) {
      const Rect seen = {block.y * stride - margin, -margin, block.rows * stride + 2, columns};
      Buffer<float>& patch = scratch_.threads[thread].patch;
      patch.reserve(seen.rows * row_stride);
      load_patch(kernels, in, call_.normalization, seen, patch.data());
      pixels = patch.data();
    }
    for (int p = 0; p < panels.count(); p++)
      for (int y = 0; y < block.rows; y++) {
        MultiplyTask task{};
        task.a = pixels + y * stride * row_stride;
        task.a_stride = stride * channels;
        task.segments = segments.data();
        task.segment_count = size * size;
        task.segment_length = layer_.inputs_;
        task.b = panels_ + panels.offset(p);
        task.width = panels.width(p);
        task.start = panels.bias(p);
        task.add = call_.add ? call_.add->at(block.y + y, 0) + panels.first(p) : nullptr;
        task.add_stride = out.pixel_stride();
        task.c = out.at(block.y + y, 0) + panels.first(p);
        task.c_stride = out.pixel_stride();
        task.rows = block.columns;
        kernels.multiply(task);
      }
    if (call_.moments)
      take_moments(kernels, *call_.moments, block.y / rows, block, out.at(block.y, 0),
                   out.row_stride());
  });
}

void run_and_release(std::span<Convolution::Run> runs, PixelMap& in) {
  const int height = runs[0].height();
  int band = 1;
  for (const Convolution::Run& run : runs) band = std::lcm(band, run.band());
  for (int begin = 0; begin < height; begin += band) {
    const int end = std::min(height, begin + band);
    int needed = in.height();
    for (Convolution::Run& run : runs) {
      run.rows(begin, end);
      needed = std::min(needed, run.first_read(end));
    }
    in.release_before(needed);
  }
}

}  // namespace bimacosr
