#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "maps.h"
#include "suites.h"

namespace bimacosr::tests {
namespace {

constexpr float kLastGelu = -5.54259396f;  // PyTorch's float32 GELU, one value at a time, is not 0
constexpr float kZeroGelu = -5.54259443f;  // and 0 here, at the next float

constexpr float kUntouched = std::numeric_limits<float>::infinity();

// Which of its steps the epilogue takes.
struct Steps {
  bool bias, rprelu, sparse, low_rank, prelu, gain, residual, moments, gelu;
};

struct Geometry {
  int channels, rank;
  int row, width, pixels;  // of the map; `pixels` may end within a row
  float mean;              // of the sums
};

struct Inputs {
  Inputs(const Geometry& g, Random* random)
      : sums(g.channels, g.pixels),
        x(g.channels + 5, g.pixels),
        projected(g.rank, g.pixels),
        residual(g.channels + 2, g.pixels),
        scale(random->values(g.channels, 0.1f, 1.0f)),
        bias(random->values(g.channels, -1.0f, 1.0f)),
        rprelu(random->values(3 * g.channels, -1.0f, 1.0f)),
        low_rank(random->values(g.rank * g.channels, -1.0f, 1.0f)),
        prelu(random->values(g.channels, -0.5f, 1.5f)),
        gain(random->values(g.channels, -2.0f, 2.0f)) {
    for (Map* map : {&x, &projected, &residual}) random->fill(map, -2.0f, 2.0f);
    random->fill(&sums, g.mean - 2.0f, g.mean + 2.0f);
    for (int n = 0; n <= g.channels; n++) {
      sparse_start.push_back(static_cast<int32_t>(sparse.size()));
      for (int e = random->below(4); n < g.channels && e > 0; e--) {
        const int column = random->below(x.channels());
        sparse.push_back({column, random->between(-1.0f, 1.0f)});
      }
    }
  }
  Map sums, x, projected, residual;
  std::vector<float> scale, bias, rprelu, low_rank, prelu, gain;
  std::vector<int32_t> sparse_start;
  std::vector<SparseEntry> sparse;
};

double leaky(double v, double slope) { return v < 0 ? v * slope : v; }

double gelu_of(double x) { return x <= kZeroGelu ? 0.0 : 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

double naive(const Inputs& in, const Geometry& g, const Steps& steps, int n, int p) {
  double v = static_cast<double>(in.scale[n]) * in.sums.at(n, p) + (steps.bias ? in.bias[n] : 0.0f);
  if (steps.rprelu) v = leaky(v + in.rprelu[3 * n], in.rprelu[3 * n + 1]) + in.rprelu[3 * n + 2];
  for (int e = in.sparse_start[n]; steps.sparse && e < in.sparse_start[n + 1]; e++)
    v += static_cast<double>(in.sparse[e].value) * in.x.at(in.sparse[e].column, p);
  for (int k = 0; steps.low_rank && k < g.rank; k++)
    v += static_cast<double>(in.low_rank[n * g.rank + k]) * in.projected.at(k, p);
  if (steps.prelu) v = leaky(v, in.prelu[n]);
  if (steps.gain) v *= in.gain[n];
  if (steps.residual) v += in.residual.at(n, p);
  return steps.gelu ? gelu_of(v) : v;
}

struct Outputs {
  explicit Outputs(const Geometry& g)
      : out(g.channels + 3, g.pixels),
        moments(static_cast<size_t>(2 * g.channels) * out.pixels() / kTile) {
    for (int n = 0; n < out.channels(); n++)
      for (int p = 0; p < out.pixels(); p++) out.at(n, p) = kUntouched;
    std::fill_n(moments.data(), moments.size(), kUntouched);
  }
  Map out;
  Array<float> moments;  // tile, channel, (sum, squares)
};

EpilogueTask task_of(const Inputs& in, const Geometry& g, const Steps& steps, Outputs* outputs) {
  EpilogueTask task{};
  task.scale = in.scale.data();
  task.bias = steps.bias ? in.bias.data() : nullptr;
  task.rprelu = steps.rprelu ? in.rprelu.data() : nullptr;
  task.x = in.x.view();
  task.sparse_start = steps.sparse ? in.sparse_start.data() : nullptr;
  task.sparse = in.sparse.data();
  task.low_rank = steps.low_rank ? in.low_rank.data() : nullptr;
  task.rank = g.rank;
  task.projected = in.projected.view().data;
  task.prelu = steps.prelu ? in.prelu.data() : nullptr;
  task.gain = steps.gain ? in.gain.data() : nullptr;
  if (steps.residual) task.residual = in.residual.view();
  task.gelu = steps.gelu;
  task.out = outputs->out.data();
  task.out_tile_stride = outputs->out.tile_stride();
  task.moments = steps.moments ? outputs->moments.data() : nullptr;
  task.moments_channels = g.channels;
  task.row = g.row;
  task.width = g.width;
  task.pixels = g.pixels;
  return task;
}

// Calls the kernel for blocks of three channels and two tiles.
void call(const Kernels& kernels, const Inputs& in, const Geometry& g, EpilogueTask task) {
  constexpr int kBlock = 3, kStrip = 2 * kTile;
  for (int first = 0; first < g.channels; first += kBlock)
    for (int p = 0; p < in.sums.pixels(); p += kStrip) {
      task.first = first;
      task.count = std::min(kBlock, g.channels - first);
      task.begin = p;
      task.end = std::min(in.sums.pixels(), p + kStrip);
      Array<float> sums(static_cast<size_t>(kBlock) * kStrip);
      for (int n = 0; n < task.count; n++)
        for (int q = p; q < task.end; q++) sums[n * kStrip + q - p] = in.sums.at(first + n, q);
      task.sums = sums.data();
      task.sums_stride = kStrip;
      kernels.epilogue(task);
    }
}

void check_moments(const Geometry& g, Outputs& outputs, const std::string& test, Report* report) {
  for (int tile = 0; tile < outputs.out.pixels() / kTile; tile++)
    for (int n = 0; n < g.channels; n++) {
      std::vector<double> seen;
      for (int p = tile * kTile; p < (tile + 1) * kTile; p++)
        if (p < g.pixels && p % g.row < g.width) seen.push_back(outputs.out.at(n, p));
      double sum = 0, squares = 0;
      for (double v : seen) sum += v;
      for (double v : seen) squares += std::pow(v - sum / static_cast<double>(seen.size()), 2);
      const float* moments = outputs.moments.data() + 2 * (tile * g.channels + n);
      const std::string where = "tile " + std::to_string(tile) + ", channel " + std::to_string(n);
      report->check_near(moments[0], sum, 1e-5 * (kTile + std::abs(sum)), test, "sum, " + where);
      report->check_near(moments[1], squares, 1e-5 * (1 + squares), test, "squares, " + where);
    }
}

void run(const Kernels& kernels, const Geometry& g, const Steps& steps, Random* random,
         Report* report) {
  std::string test = "epilogue " + std::to_string(g.channels) + " channels";
  if (steps.bias) test += ", bias";
  if (steps.rprelu) test += ", rprelu";
  if (steps.sparse) test += ", sparse";
  if (steps.low_rank) test += ", rank " + std::to_string(g.rank);
  if (steps.prelu) test += ", prelu";
  if (steps.gain) test += ", gain";
  if (steps.residual) test += ", residual";
  if (steps.gelu) test += ", GELU";
  const Inputs in(g, random);
  Outputs outputs(g);
  call(kernels, in, g, task_of(in, g, steps, &outputs));
  for (int n = 0; n < outputs.out.channels(); n++)
    for (int p = 0; p < outputs.out.pixels(); p++) {
      const std::string where = "channel " + std::to_string(n) + ", pixel " + std::to_string(p);
      if (n >= g.channels)
        report->check(outputs.out.at(n, p) == kUntouched, test, "wrote " + where);
      else  // the other terms are at most 2, and rank + 5 of them
        report->check_near(outputs.out.at(n, p), naive(in, g, steps, n, p), 1e-5 * (1 + g.mean),
                           test, where);
    }
  if (steps.moments) {
    check_moments(g, outputs, test + ", moments", report);
    std::fill_n(outputs.moments.data(), outputs.moments.size(), kUntouched);
    EpilogueTask alone = task_of(in, g, steps, &outputs);
    alone.count = g.channels;
    alone.end = outputs.out.pixels();
    kernels.map_moments(alone);
    check_moments(g, outputs, test + ", moments alone", report);
  } else {
    for (size_t i = 0; i < outputs.moments.size(); i++)
      report->check(outputs.moments[i] == kUntouched, test, "wrote moments");
  }
}

// GELU over its whole range, and where it becomes 0.
void check_gelu(const Kernels& kernels, Random* random, Report* report) {
  const Geometry g{1, 0, 64, 64, 64, 0.0f};
  Inputs in(g, random);
  in.scale[0] = 1.0f;
  Steps steps{};
  steps.gelu = true;
  for (float low = -100.0f; low < 100.0f; low += 1.0f) {
    for (int p = 0; p < g.pixels; p++) in.sums.at(0, p) = low + static_cast<float>(p) / kTile;
    in.sums.at(0, 0) = kLastGelu;
    in.sums.at(0, 1) = kZeroGelu;
    Outputs outputs(g);
    call(kernels, in, g, task_of(in, g, steps, &outputs));
    for (int p = 0; p < g.pixels; p++) {
      const double x = in.sums.at(0, p), y = gelu_of(x), found = outputs.out.at(0, p);
      report->check_near(found, y, 2e-7 * std::abs(x), "range of GELU", std::to_string(x));
      report->check((found == 0) == (y == 0), "range of GELU", std::to_string(x) + ", is it 0");
    }
  }
}

}  // namespace

void test_epilogue(const Kernels& kernels, Report* report) {
  Random random(3);
  check_gelu(kernels, &random, report);
  constexpr Geometry kGeometries[] = {{1, 1, 16, 16, 64, 0.0f},
                                      {7, 8, 32, 21, 448, 0.0f},
                                      {5, 3, 48, 33, 283, 1000.0f},
                                      {33, 8, 64, 64, 1024, 0.0f}};
  for (const Geometry& geometry : kGeometries)
    for (int bits = 0; bits < 256; bits++)
      run(kernels, geometry,
          {(bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, (bits & 8) != 0, (bits & 16) != 0,
           (bits & 32) != 0, (bits & 64) != 0, (bits & 128) != 0,
           std::popcount(static_cast<unsigned>(bits)) % 2 == 1},
          &random, report);
}

}  // namespace bimacosr::tests
