#include "bimacosr/unet.h"

#include <algorithm>
#include <cmath>

#include "unet_parts.h"

namespace bimacosr {

namespace {

constexpr int kGroups = 32;
constexpr double kEpsilon = 1e-5;

void read_features(BinaryCall& call, Inputs inputs) {
  for (size_t i = 0; i < inputs.size(); i++) call.inputs[i] = inputs[i]->map.view();
}

// What a float layer leaves without moments.
void add_moments(const Kernels& kernels, Feature& feature, UnetMemory& memory) {
  Map& map = feature.map;
  const Shape& shape = map.shape();
  memory.pool.run(shape.tiles(), [&](int tile, int) {
    EpilogueTask task{};
    task.count = map.channels();
    task.out = map.data();
    task.out_tile_stride = map.tile_stride();
    task.moments = feature.moments.data();
    task.moments_channels = map.channels();
    task.begin = tile * kTile;
    task.end = task.begin + kTile;
    task.row = shape.row;
    task.width = shape.width;
    task.pixels = shape.pixels();
    kernels.map_moments(task);
  });
}

class Run {
 public:
  Run(UnetMemory& memory) : memory_(memory) {}

  // All modules of a stage, in a row; `out` is none of the inputs.
  void stage(const Stage& modules, Inputs inputs, Feature& out) {
    const Feature* now[1];
    for (size_t i = 0; i < modules.size(); i++) {
      Feature& to = i + 1 == modules.size() ? out : memory_.within[i % 2];
      std::visit([&](const auto& module) { (*this)(module, inputs, to); }, modules[i]);
      now[0] = &to;
      inputs = now;
    }
  }

  void operator()(const std::shared_ptr<const ResBlock>& block, Inputs inputs, Feature& out) {
    const Shape shape = inputs[0]->map.shape();
    out.reshape(block->conv_out->outputs(), shape);
    // The second layer writes over what it adds or what it reads, which the cache has already.
    Feature& hidden = block->skip ? memory_.hidden : out;
    hidden.reshape(block->conv_in->outputs(), shape);
    BinaryCall in;
    read_normed(in, block->norm_in, inputs, memory_);
    in.silu = true;
    in.moments = hidden.moments.data();
    block->conv_in->run(in, hidden.map, memory_.space);

    BinaryCall last;
    last.residual = inputs[0]->map.view();
    if (block->skip) {
      BinaryCall skip;
      read_features(skip, inputs);
      block->skip->run(skip, out.map, memory_.space);
      last.residual = out.map.view();
    }
    const Feature* middle[] = {&hidden};
    read_normed(last, block->norm_out, middle, memory_);
    last.silu = true;
    last.moments = out.moments.data();
    block->conv_out->run(last, out.map, memory_.space);
  }

  void operator()(const std::shared_ptr<const SwinLayer>& layer, Inputs inputs, Feature& out) {
    run_swin(*layer, *inputs[0], out, memory_);
  }

  void operator()(const Downsample& down, Inputs inputs, Feature& out) {
    const Map& in = inputs[0]->map;
    const Shape half = Shape::tight(in.shape().height / 2, in.shape().width / 2);
    larger_.push_back(in.shape());
    {
      Timer timer(memory_.space, Work::kRearrange);
      split_phases(in.view(), in.shape(), half, memory_.phases,
                   down.shortcut ? &memory_.mean : nullptr, memory_.pool);
    }
    out.reshape(down.op->outputs(), half);
    BinaryCall call;
    call.inputs[0] = memory_.phases.view();
    if (down.shortcut) call.residual = memory_.mean.view();
    call.moments = out.moments.data();
    down.op->run_half(call, out.map.target(), memory_.space);
  }

  void operator()(const Upsample& up, Inputs inputs, Feature& out) {
    const Map& in = inputs[0]->map;
    const Shape& half = in.shape();
    out.reshape(up.conv->outputs(), larger_.back(), half, 4);
    larger_.pop_back();
    BinaryCall call;
    call.inputs[0] = in.view();
    call.moments = out.moments.data();
    up.conv->run_double(call, half, memory_.phases, memory_.space);
    Timer timer(memory_.space, Work::kRearrange);
    join_phases(memory_.phases, half, out.map, memory_.pool);
  }

 private:
  UnetMemory& memory_;
  std::vector<Shape> larger_;  // of the levels above, whose rows may be padded in another way
};

// silu(norm(x)), for the float layer at the end
void activate(const Kernels& kernels, const GroupNorm& norm, const Feature& in,
              UnetMemory& memory) {
  const Shape& shape = in.map.shape();
  const Feature* inputs[] = {&in};
  norm.fold(inputs, memory.affine);
  memory.activated.reshape(in.map.channels(), shape);
  const int channels = in.map.channels(), pixels = shape.tiles() * kTile;
  const size_t units = (channels + kernels.unit_channels - 1) / kernels.unit_channels;
  const bool grouped = kernels.sign_layout == SignLayout::kGroups;
  const size_t stride = grouped ? units * kTile : pixels;
  memory.signs.reserve(grouped ? stride * (pixels / 16) : stride * units);
  memory.scales.reserve(pixels);
  memory.pool.run(shape.tiles(), [&](int tile, int) {
    PrepareTask task{};
    task.inputs[0] = in.map.view();
    task.channels = channels;
    task.gain = memory.affine.gain.data();
    task.shift = memory.affine.shift.data();
    task.silu = true;
    task.y = memory.activated.data();
    task.zero_is_positive = true;
    task.signs = memory.signs.data();
    task.sign_stride = stride;
    task.scales = memory.scales.data();
    task.begin = tile * kTile;
    task.end = task.begin + kTile;
    kernels.prepare(task);
  });
}

// Pixels of a tile that belong to the picture.
std::vector<int> pixels_of_tiles(const Shape& shape) {
  std::vector<int> pixels(shape.tiles(), 0);
  for (int y = 0; y < shape.height; y++)
    for (int x = 0; x < shape.width;) {
      const int p = y * shape.row + x, count = std::min(shape.width - x, kTile - p % kTile);
      pixels[p / kTile] += count;
      x += count;
    }
  return pixels;
}

}  // namespace

void GroupNorm::fold(std::span<const Feature* const> inputs, Affine& affine) const {
  const int all = channels(), each = all / kGroups;
  affine.gain.resize(all);
  affine.shift.resize(all);
  // of each channel: sum; squares of distances from the means of tiles; n mean^2 of tiles
  std::vector<double> sums(all, 0.0), within(all, 0.0), between(all, 0.0);
  int first = 0;
  for (const Feature* input : inputs) {
    const int count = input->map.channels();
    const float* moments = input->moments.data();
    const std::vector<int> tiles = pixels_of_tiles(input->moment_shape);
    for (int map = 0; map < input->moment_maps; map++)
      for (int pixels : tiles) {
        const double factor = pixels ? 1.0 / pixels : 0.0;
        for (int c = first; c < first + count; c++, moments += 2) {
          const double sum = moments[0];
          sums[c] += sum;
          within[c] += moments[1];
          between[c] += sum * sum * factor;
        }
      }
    first += count;
  }
  const Shape& shape = inputs[0]->moment_shape;
  const double values =
      static_cast<double>(inputs[0]->moment_maps) * shape.height * shape.width * each;
  for (int c = 0; c < all; c += each) {
    double sum = 0, squares = 0;
    for (int i = c; i < c + each; i++) {
      sum += sums[i];
      squares += within[i] + between[i];
    }
    const double mean = sum / values;
    const double variance = std::max(0.0, squares / values - mean * mean);
    const double factor = 1 / std::sqrt(variance + kEpsilon);
    for (int i = c; i < c + each; i++) {
      affine.gain[i] = static_cast<float>(weight_[i] * factor);
      affine.shift[i] = static_cast<float>(bias_[i] - mean * weight_[i] * factor);
    }
  }
}

void read_normed(BinaryCall& call, const GroupNorm& norm, Inputs inputs, UnetMemory& memory) {
  Timer timer(memory.space, Work::kNorm);
  read_features(call, inputs);
  norm.fold(inputs, memory.affine);
  call.gain = memory.affine.gain.data();
  call.shift = memory.affine.shift.data();
}

UnetMemory::UnetMemory(int threads) : all(threads) {
  for (int i = 0; i < pool.threads(); i++) workers.push_back(std::make_unique<Worker>(1));
}

std::array<double, kWorks> UnetMemory::take_seconds() {
  std::array<double, kWorks> sums{};
  const auto take = [&](Workspace& from) {
    for (int i = 0; i < kWorks; i++) sums[i] += from.seconds[i];
    from.seconds = {};
  };
  take(space);
  for (const std::unique_ptr<Worker>& worker : workers) take(worker->space);
  return sums;
}

void Unet::run(const float* in, int height, int width, float* out, UnetMemory& memory) const {
  const Shape shape = Shape::of(height, width);
  const auto each_row = [&](int channels, const auto& work) {
    memory.pool.run(channels * height, [&](int job, int) {
      const int c = job / height, y = job % height;
      for (int x = 0; x < width; x += 16)
        work(c, y, x, std::min(16, width - x), (static_cast<size_t>(c) * height + y) * width + x);
    });
  };
  Map& joined = memory.mean;
  joined.reshape(inputs(), shape);
  each_row(inputs(), [&](int c, int y, int x, int count, size_t at) {
    std::copy_n(in + at, count, joined.data() + joined.index(y, x) + c * kTile);
  });

  memory.skips.resize(source_.down.size() + 1);
  Feature& first = memory.skips[0];
  first.reshape(source_.first->outputs(), shape);
  {
    Timer timer(memory.space, Work::kFloat);
    source_.first->run(joined.view(), first.map, memory.space);
    add_moments(source_.first->kernels(), first, memory);
  }
  Run run(memory);
  const Feature* inputs[2] = {&first, nullptr};
  for (size_t i = 0; i < source_.down.size(); i++) {
    run.stage(source_.down[i], Inputs(inputs, 1), memory.skips[i + 1]);
    inputs[0] = &memory.skips[i + 1];
  }
  run.stage(source_.middle, Inputs(inputs, 1), memory.stage[0]);
  int now = 0;
  for (size_t i = 0; i < source_.up.size(); i++, now = 1 - now) {
    inputs[0] = &memory.stage[now];
    inputs[1] = &memory.skips[source_.down.size() - i];
    run.stage(source_.up[i], inputs, memory.stage[1 - now]);
  }

  Timer timer(memory.space, Work::kFloat);
  activate(source_.last->kernels(), source_.norm, memory.stage[now], memory);
  Map& result = memory.mean;
  result.reshape(outputs(), shape);
  source_.last->run(memory.activated.view(), result, memory.space);
  each_row(outputs(), [&](int c, int y, int x, int count, size_t at) {
    std::copy_n(result.data() + result.index(y, x) + c * kTile, count, out + at);
  });
}

}  // namespace bimacosr
