#include <algorithm>

#include "bimacosr/convolution.h"

namespace bimacosr {

namespace {

constexpr int kTiles = 64;  // of a block: 32x32 pixels where the map is large enough
// Transformed inputs that stay in the second cache while panel after panel reads them; of more,
// each product takes all panels, so that they are read once.
constexpr size_t kStaying = 1400 * 1024;

}  // namespace

Winograd::Grid::Grid(int height, int width) {
  const int tile_rows = (height + 3) / 4, tile_columns = (width + 3) / 4;
  rows = std::min(tile_rows, 8);
  columns = std::min(tile_columns, kTiles / rows);
  rows = std::min(tile_rows, kTiles / columns);
  down = (tile_rows + rows - 1) / rows;
  across = (tile_columns + columns - 1) / columns;
}

// Four times as many as the layer's own, so they are made for each run and not kept.
void Winograd::prepare(ThreadPool& pool, ConvScratch& scratch) const {
  const float* panels = panels_.ready(pool, scratch);
  const size_t inputs = panels_.inputs(), stride = inputs * filled_up(panels_.outputs());
  scratch.weights.reserve(kWinogradProducts * stride);
  pool.run(panels_.count(), [&](int p, int) {
    WinogradWeightsTask task{};
    task.from = panels + panels_.offset(p);
    task.channels = panels_.inputs();
    task.width = panels_.width(p);
    task.doubled = doubled_;
    task.to = scratch.weights.data() + panels_.first(p) * inputs;
    task.to_stride = stride;
    kernels_.winograd_weights(task);
  });
  scratch.threads.resize(pool.threads());
}

void Winograd::run_rows(const Call& call, int begin, int end, ThreadPool& pool,
                        ConvScratch& scratch) const {
  const Grid grid(call.height, call.width);
  const int band = 4 * grid.rows, first = begin / band * grid.across;
  const int last = (end + band - 1) / band * grid.across;
  pool.run(last - first, [&](int job, int thread) {
    const int number = first + job;
    Rect block;
    block.y = number / grid.across * band;
    block.x = number % grid.across * grid.columns * 4;
    block.rows = std::min(band, call.height - block.y);
    block.columns = std::min(4 * grid.columns, call.width - block.x);
    run_block(call, block, number, scratch.weights.data(), scratch.threads[thread]);
  });
}

void Winograd::run_block(const Call& call, const Rect& block, int number, const float* weights,
                         ConvScratch::OfThread& memory) const {
  const int tile_rows = (block.rows + 3) / 4, tile_columns = (block.columns + 3) / 4;
  const int tiles = tile_rows * tile_columns, step = doubled_ ? 2 : 4;
  const size_t inputs = panels_.inputs(), channels = filled_up(panels_.inputs());
  const size_t outputs = filled_up(panels_.outputs());

  const Rect seen = {block.y * step / 4 - 1, block.x * step / 4 - 1, tile_rows * step + 2,
                     tile_columns * step + 2};
  memory.patch.reserve(static_cast<size_t>(seen.rows) * seen.columns * channels);
  call.load(seen, memory.patch.data());

  const size_t tile_stride = channels + 16;  // no power of two, so that tiles share no cache set
  const size_t v_stride = tiles * tile_stride;
  memory.v.reserve(transformed_inputs() * v_stride);
  WinogradInputTask input{};
  input.row_stride = seen.columns * channels;
  input.pixel_stride = channels;
  input.channels = static_cast<int>(channels);
  input.tiles = tile_columns;
  input.doubled = doubled_;
  input.v_stride = v_stride;
  input.tile_stride = tile_stride;
  for (int row = 0; row < tile_rows; row++) {
    input.patch = memory.patch.data() + row * step * input.row_stride;
    input.v = memory.v.data() + row * tile_columns * tile_stride;
    kernels_.winograd_input(input);
  }

  const bool staying = transformed_inputs() * v_stride * sizeof(float) <= kStaying;
  const int together = staying ? 1 : panels_.count();
  memory.m.reserve(static_cast<size_t>(kWinogradProducts) * tiles *
                   std::min<size_t>(outputs, static_cast<size_t>(together) * kernels_.panel));
  float* out =
      call.out ? call.out + block.y * call.row_stride + block.x * call.pixel_stride : nullptr;
  const float* add = call.add;
  if (add) add += block.y * call.row_stride + block.x * call.pixel_stride;
  size_t row_stride = call.row_stride, pixel_stride = call.pixel_stride;
  if (!out) {
    pixel_stride = outputs;
    row_stride = pixel_stride * block.columns;
    memory.out.reserve(row_stride * block.rows);
    out = memory.out.data();
  }
  for (int group = 0; group < panels_.count(); group += together) {
    const int last = std::min(panels_.count(), group + together);
    const size_t m_stride = tiles * (last == panels_.count() ? outputs - panels_.first(group)
                                                             : static_cast<size_t>(kernels_.panel));
    const ptrdiff_t whole = 0;
    MultiplyTask multiply{};
    multiply.a_stride = tile_stride;
    multiply.segments = &whole;
    multiply.segment_count = 1;
    multiply.segment_length = static_cast<int>(inputs);
    multiply.rows = tiles;
    for (int product = 0; product < kWinogradProducts; product++) {
      int i = product / 6, j = product % 6;
      if (doubled_) i -= i > 2, j -= j > 2;
      multiply.a = memory.v.data() + (i * (doubled_ ? 5 : 6) + j) * v_stride;
      for (int p = group; p < last; p++) {
        multiply.width = panels_.width(p);
        multiply.b = weights + (product * outputs + panels_.first(p)) * inputs;
        multiply.c = memory.m.data() + product * m_stride +
                     static_cast<size_t>(panels_.first(p) - panels_.first(group)) * tiles;
        multiply.c_stride = multiply.width;
        kernels_.multiply(multiply);
      }
    }
    WinogradOutputTask output{};
    output.m_stride = m_stride;
    output.tiles = tile_columns;
    output.doubled = doubled_;
    output.row_stride = row_stride;
    output.pixel_stride = pixel_stride;
    output.columns = block.columns;
    for (int p = group; p < last; p++)
      for (int row = 0; row < tile_rows; row++) {
        const size_t at = 4 * row * row_stride + panels_.first(p);
        output.width = panels_.width(p);
        output.m = memory.m.data() +
                   static_cast<size_t>(panels_.first(p) - panels_.first(group)) * tiles +
                   static_cast<size_t>(row) * tile_columns * output.width;
        output.bias = panels_.bias(p);
        output.add = add ? add + at : nullptr;
        output.out = out + at;
        output.rows = std::min(4, block.rows - 4 * row);
        kernels_.winograd_output(output);
      }
  }
  if (call.done) call.done(number, block, out, row_stride);
}

}  // namespace bimacosr
