#include "bimacosr/bfloat16_conv.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace bimacosr {

namespace {

constexpr int kPhaseTaps = 16;                 // four phases of two by two
constexpr int kBeyond = 32 * 2 * kStepInputs;  // values behind a patch that tiles may read

// The weights of the nine taps that a phase has to add for one of its two by two.
// After enlargement row 2i reads rows i-1, i, i and row 2i+1 rows i, i, i+1.
bool meets(int phase, int tap, int of_nine) {
  const int at = (phase + of_nine + 1) / 2 - phase;
  return at == tap;
}

void sum_taps(const float* nine, float* sixteen) {
  for (int i = 0; i < kPhaseTaps; i++) {
    const int row = i >> 3, column = i >> 2 & 1, tap_row = i >> 1 & 1, tap_column = i & 1;
    float sum = 0;
    for (int y = 0; y < 3; y++)
      for (int x = 0; x < 3; x++)
        if (meets(row, tap_row, y) && meets(column, tap_column, x)) sum += nine[3 * y + x];
    sixteen[i] = sum;
  }
}

}  // namespace

Bfloat16Convolution::Bfloat16Convolution(const ConvKernels& kernels, const Bfloat16Kernels& rounded,
                                         Sampling sampling, int size, int outputs, int inputs,
                                         WeightSource weights, const float* bias)
    : kernels_(kernels),
      rounded_(rounded),
      sampling_(sampling),
      size_(size),
      outputs_(outputs),
      inputs_(inputs),
      source_(std::move(weights)) {
  bias_.reserve(static_cast<size_t>(panels()) * kStepOutputs);
  if (bias) std::copy_n(bias, outputs, bias_.data());
}

int Bfloat16Convolution::blocks(int height, int width) const {
  const int rows = unit() * kRows, columns = unit() * kColumns;
  return (height + rows - 1) / rows * ((width + columns - 1) / columns);
}

void Bfloat16Convolution::prepare(ThreadPool& pool, ConvScratch& scratch) const {
  const float* weights = source_(scratch.read);
  const size_t panel = phases() * phase_weights();
  scratch.rounded.reserve(panels() * panel);
  scratch.threads.resize(pool.threads());
  pool.run(panels(), [&](int p, int thread) {
    pack_panel(p, weights, scratch.threads[thread].patch, scratch.rounded.data() + p * panel);
  });
}

// Steps go through the taps of 32 inputs before the next.
void Bfloat16Convolution::pack_panel(int panel, const float* weights, Buffer<float>& space,
                                     Bfloat16* to) const {
  const int first = panel * kStepOutputs, outputs = std::min(kStepOutputs, outputs_ - first);
  const float* from = weights + static_cast<size_t>(first) * inputs_ * size_ * size_;
  int stride = size_ * size_;
  if (doubled()) {
    const int count = outputs * inputs_;
    space.reserve(static_cast<size_t>(count) * kPhaseTaps);
    for (int i = 0; i < count; i++) sum_taps(from + i * 9, space.data() + i * kPhaseTaps);
    from = space.data();
    stride = kPhaseTaps;
  }
  const int taps = side() * side();
  for (int phase = 0; phase < phases(); phase++)
    for (int c = 0; c < inputs_; c += kStepInputs)
      for (int t = 0; t < taps; t++, to += kStepWeights)
        rounded_.pack({from + c * stride + phase * taps + t, static_cast<size_t>(inputs_) * stride,
                       static_cast<size_t>(stride), outputs, std::min(kStepInputs, inputs_ - c),
                       to});
}

void Bfloat16Convolution::run_rows(const ConvolutionCall& call, int begin, int end,
                                   ThreadPool& pool, ConvScratch& scratch) const {
  const int height = end / unit(), width = call.out->width() / unit();
  const int across = (width + kColumns - 1) / kColumns;
  const int first = begin / band() * across, last = (end + band() - 1) / band() * across;
  pool.run(last - first, [&](int job, int thread) {
    const int number = first + job;
    const int y = number / across * kRows, x = number % across * kColumns;
    run_block(call, {y, x, std::min(kRows, height - y), std::min(kColumns, width - x)}, number,
              scratch.rounded.data(), scratch.threads[thread]);
  });
}

// The pixels of `rect`, normalised and rounded; zeros outside of the map.
void Bfloat16Convolution::load(const ConvolutionCall& call, const Rect& rect, Bfloat16* to,
                               size_t plane) const {
  const PixelMap& map = *call.in;
  const Normalization* norm = call.normalization;
  const int before = std::clamp(-rect.x, 0, rect.columns);
  const int inside = std::clamp(map.width() - rect.x - before, 0, rect.columns - before);
  for (int y = rect.y; y < rect.y + rect.rows; y++, to += rect.columns * kStepInputs) {
    const bool there = y >= 0 && y < map.height() && inside > 0;
    const int first = there ? before : rect.columns, last = there ? before + inside : rect.columns;
    for (int i = 0; i < planes(); i++) {
      Bfloat16* row = to + i * plane;
      std::fill_n(row, first * kStepInputs, Bfloat16{0});
      std::fill_n(row + last * kStepInputs, (rect.columns - last) * kStepInputs, Bfloat16{0});
    }
    if (there)
      rounded_.round({map.at(y, rect.x + before), map.pixel_stride(),
                      norm ? norm->gain.data() : nullptr, norm ? norm->shift.data() : nullptr,
                      norm && norm->silu, static_cast<int>(map.pixel_stride()), inside,
                      to + before * kStepInputs, plane});
  }
}

void Bfloat16Convolution::run_block(const ConvolutionCall& call, const Rect& block, int number,
                                    const Bfloat16* weights, ConvScratch::OfThread& memory) const {
  const int stride = sampling_ == Sampling::kHalf ? 2 : 1;
  const int margin = size_ == 3 && stride == 1;
  const Rect seen = {block.y * stride - margin, block.x * stride - margin,
                     (block.rows - 1) * stride + size_, (block.columns - 1) * stride + size_};
  const size_t row = static_cast<size_t>(seen.columns) * kStepInputs, plane = seen.rows * row;
  memory.rounded.reserve(planes() * plane + kBeyond);
  load(call, seen, memory.rounded.data(), plane);
  memory.out.reserve(static_cast<size_t>(kRows) * kColumns * kStepOutputs);

  PixelMap& out = *call.out;
  std::vector<ptrdiff_t> places(steps());
  Bfloat16MultiplyTask task{};
  task.row_stride = stride * row;
  task.pixel_stride = stride * kStepInputs;
  task.steps = places.data();
  task.step_count = steps();
  task.rows = block.rows;
  task.columns = block.columns;
  task.c_row_stride = unit() * out.row_stride();
  task.c_pixel_stride = unit() * out.pixel_stride();
  task.sums = memory.out.data();
  const Bfloat16* panel = weights;
  for (int p = 0; p < panels(); p++, panel += phases() * phase_weights())
    for (int phase = 0; phase < phases(); phase++) {
      const int y = phase / 2, x = phase % 2;
      for (int s = 0; s < steps(); s++) {
        const int tap = s % (side() * side());
        places[s] = s / (side() * side()) * plane + (y + tap / side()) * row +
                    (x + tap % side()) * kStepInputs;
      }
      task.a = memory.rounded.data();
      task.b = panel + phase * phase_weights();
      task.start = bias_.data() + p * kStepOutputs;
      const int row_of_out = unit() * block.y + y, column_of_out = unit() * block.x + x;
      task.c = out.at(row_of_out, column_of_out) + p * kStepOutputs;
      task.add = call.add ? call.add->at(row_of_out, column_of_out) + p * kStepOutputs : nullptr;
      task.width = std::min(kStepOutputs, filled_up(outputs_) - p * kStepOutputs);
      rounded_.multiply(task);
    }
  if (call.moments)
    take_moments(kernels_, *call.moments, number,
                 {unit() * block.y, unit() * block.x, unit() * block.rows, unit() * block.columns},
                 out.at(unit() * block.y, unit() * block.x), out.row_stride());
}

}  // namespace bimacosr
