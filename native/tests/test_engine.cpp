// Whole runs with random weights: the same result for any number of threads, beside other runs,
// after a fork, and from every instruction set. Mostly there to be run under the sanitizers.
//
//   test_engine [no-fork]   QEMU before 8.0 cannot follow a child that makes threads
#include <array>
#include <cmath>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bimacosr/cpu.h"
#include "bimacosr/edge.h"

// ThreadSanitizer cannot follow a child that makes threads.
#if !defined(_WIN32) && !defined(__SANITIZE_THREAD__)
#define HAS_FORK
#include <sys/wait.h>
#include <unistd.h>
#endif

using namespace bimacosr;

namespace {

int failures = 0;

void check(bool holds, const std::string& what) {
  if (holds) return;
  failures++;
  std::printf("FAILED: %s\n", what.c_str());
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<unsigned>(n)); }
  std::vector<float> values(size_t count, float low, float high) {
    std::vector<float> values(count);
    for (float& value : values)
      value = low + (high - low) * static_cast<float>(engine_() >> 8) / 16777216.0f;
    return values;
  }
  uint64_t word() { return (static_cast<uint64_t>(engine_()) << 32) | engine_(); }

 private:
  std::mt19937 engine_;
};

// A layer with all that a layer can have, or the bare minimum.
std::shared_ptr<BinaryLayer> random_layer(const Kernels& kernels, int outputs, int inputs, int taps,
                                          bool branches, Random& random) {
  const int words = (inputs + 63) / 64, rank = 3, sparse = 2 * std::max(outputs, inputs);
  std::vector<uint64_t> signs(static_cast<size_t>(outputs) * taps * words);
  for (size_t i = 0; i < signs.size(); i++) {
    const bool last = i % words == static_cast<size_t>(words - 1);
    signs[i] =
        random.word() & (last && inputs % 64 ? ~(~uint64_t{0} << inputs % 64) : ~uint64_t{0});
  }
  std::vector<int32_t> rows(sparse), columns(sparse);
  for (int i = 0; i < sparse; i++)
    rows[i] = random.below(outputs), columns[i] = random.below(inputs);
  const float spread = 0.5f / std::sqrt(static_cast<float>(inputs * taps));
  const auto scale = random.values(outputs, 0.5f * spread, spread);
  const auto bias = random.values(outputs, -0.1f, 0.1f),
             rprelu = random.values(3 * outputs, 0, 0.5f);
  const auto values = random.values(sparse, -0.2f, 0.2f);
  const auto in = random.values(rank * inputs, -0.1f, 0.1f);
  const auto out = random.values(outputs * rank, -0.1f, 0.1f);
  BinarySource source{};
  source.outputs = outputs, source.inputs = inputs, source.taps = taps;
  source.signs = signs.data(), source.scale = scale.data();
  source.zero_is_positive = !branches;
  if (branches) {
    source.bias = bias.data(), source.rprelu = rprelu.data();
    source.sparse_count = sparse, source.sparse_rows = rows.data();
    source.sparse_columns = columns.data(), source.sparse_values = values.data();
    source.rank = rank, source.low_rank_in = in.data(), source.low_rank_out = out.data();
  }
  return std::make_shared<BinaryLayer>(kernels, source);
}

std::shared_ptr<FloatConv> random_conv(const Kernels& kernels, int outputs, int inputs,
                                       Random& random) {
  const float spread = 1.0f / std::sqrt(static_cast<float>(9 * inputs));
  const auto weights = random.values(static_cast<size_t>(outputs) * inputs * 9, -spread, spread);
  const auto bias = random.values(outputs, -0.1f, 0.1f);
  return std::make_shared<FloatConv>(kernels, outputs, inputs, weights.data(), bias.data());
}

EdgeModel random_model(const Kernels& kernels, int scale, int channels, unsigned seed) {
  Random random(seed);
  const int latents = 3 * scale * scale;
  auto first = random_conv(kernels, channels, latents + 3, random);
  std::vector<EdgeBlock> body;
  for (int i = 0; i < 3; i++)
    body.push_back({random_layer(kernels, channels, channels, 9, i != 1, random),
                    random.values(channels, -0.2f, 0.2f), random.values(channels, 0, 0.5f),
                    random.values(channels, 0.2f, 0.8f)});
  auto last = random_conv(kernels, latents, channels, random);
  return EdgeModel({scale, first, last, std::move(body), 0.3f, 0.8f, seed % 2 == 0});
}

struct Photo {
  int height, width;
  std::vector<float> lq, noise;

  Photo(int height, int width, int scale, unsigned seed) : height(height), width(width) {
    Random random(seed);
    const size_t pixels = static_cast<size_t>(height) * width;
    lq = random.values(pixels * 3, 0, 1);
    if (seed % 2) noise = random.values(pixels * 3 * scale * scale, -1, 1);
  }
};

std::vector<float> restore(const EdgeModel& model, const Photo& photo, EdgeModel::Memory& memory) {
  std::vector<float> sr(photo.lq.size() * model.scale() * model.scale());
  model.restore(photo.lq.data(), photo.height, photo.width,
                photo.noise.empty() ? nullptr : photo.noise.data(), sr.data(), memory);
  return sr;
}

std::vector<float> restore(const EdgeModel& model, const Photo& photo, int threads) {
  EdgeModel::Memory memory(threads);
  return restore(model, photo, memory);
}

// Root mean square of the difference over that of the expected values. Rounding may turn a sign
// near 0, so single values may differ by more.
double deviation(const std::vector<float>& result, const std::vector<float>& expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.size(); i++) {
    error += std::pow(static_cast<double>(result[i]) - expected[i], 2);
    size += std::pow(expected[i], 2);
  }
  return std::sqrt(error / size);
}

constexpr int kSizes[][2] = {{1, 1}, {2, 17}, {5, 3}, {17, 33}, {40, 61}};
constexpr int kScales[] = {1, 2, 4};
constexpr int kChannels[] = {7, 33, 64, 70};

void test_threads(const Kernels& kernels) {
  const Kernels& scalar = select_kernels("scalar");
  unsigned seed = 0;
  for (const auto& [height, width] : kSizes) {
    const int scale = kScales[seed % 3], channels = kChannels[seed % 4];
    const Photo photo(height, width, scale, seed);
    const EdgeModel model = random_model(kernels, scale, channels, seed++);
    const auto expected = restore(model, photo, 1);
    const std::string name = std::string(kernels.name) + ", " + std::to_string(channels) +
                             " channels, " + std::to_string(height) + "x" + std::to_string(width);
    for (int threads : {2, 3, 5})
      check(restore(model, photo, threads) == expected,
            name + ": " + std::to_string(threads) + " threads change the result");
    const EdgeModel twin = random_model(scalar, scale, channels, seed - 1);
    const double far = deviation(expected, restore(twin, photo, 1));
    check(far < 1e-3, name + ": " + std::to_string(far) + " from the scalar reference");
  }
}

// One memory for maps of changing size: nothing of the last one may be seen.
void test_memory_is_used_again(const Kernels& kernels) {
  const EdgeModel model = random_model(kernels, 2, 33, 5);
  EdgeModel::Memory memory(2);
  for (int round = 0; round < 2; round++)
    for (const auto& [height, width] : kSizes) {
      const Photo photo(height, width, 2, 7);
      check(restore(model, photo, memory) == restore(model, photo, 1),
            std::string(kernels.name) + ": what was in memory changes the result");
    }
}

void test_layers(const Kernels& kernels) {
  const Kernels& scalar = select_kernels("scalar");
  for (const auto& [inputs, outputs, taps] : {std::array{70, 33, 1}, {3, 130, 1}, {160, 20, 9}}) {
    std::vector<float> results[2];
    for (int side = 0; side < 2; side++) {
      Random random(11);
      const auto layer = random_layer(side ? scalar : kernels, outputs, inputs, taps, true, random);
      ThreadPool pool(side ? 1 : 3);
      Workspace space(pool);
      Map in, out;
      in.reshape(inputs, Shape::of(13, 37));
      out.reshape(outputs, in.shape());
      for (int c = 0; c < inputs; c++)
        for (int y = 0; y < 13; y++)
          for (int x = 0; x < 37; x++)
            in.data()[in.index(y, x) + c * kTile] = static_cast<float>(random.below(9) - 4);
      BinaryCall call;
      call.inputs[0] = in.view();
      layer->run(call, out, space);
      for (int c = 0; c < outputs; c++)
        for (int y = 0; y < 13; y++)
          for (int x = 0; x < 37; x++)
            results[side].push_back(out.data()[out.index(y, x) + c * kTile]);
    }
    const double far = deviation(results[0], results[1]);
    check(far < 1e-5, std::string(kernels.name) + ": a layer of " + std::to_string(taps) +
                          " taps is " + std::to_string(far) + " from the scalar reference");
  }
}

// Two models, and one model with two memories, each in a thread with threads of its own.
void test_side_by_side(const Kernels& kernels) {
  const EdgeModel models[] = {random_model(kernels, 2, 33, 1), random_model(kernels, 4, 20, 2)};
  const Photo photos[] = {Photo(30, 41, 2, 3), Photo(19, 50, 4, 4)};
  const std::vector<float> expected[] = {restore(models[0], photos[0], 1),
                                         restore(models[1], photos[1], 1)};
  int wrong[4] = {};
  std::vector<std::thread> runs;
  for (int i = 0; i < 4; i++)
    runs.emplace_back([&, i] {
      EdgeModel::Memory memory(1 + i % 3);
      for (int round = 0; round < 6; round++)
        wrong[i] += restore(models[i % 2], photos[i % 2], memory) != expected[i % 2];
    });
  for (std::thread& run : runs) run.join();
  for (int count : wrong)
    check(count == 0, std::string(kernels.name) + ": runs side by side disturb each other");
}

#ifdef HAS_FORK
// The child has the parent's memories, but not their threads. The second memory is used after the
// first has its new threads, which may bear the names of the second's lost ones.
void test_fork(const Kernels& kernels) {
  const EdgeModel model = random_model(kernels, 2, 33, 1);
  const Photo photo(20, 31, 2, 3);
  const auto expected = restore(model, photo, 1);
  auto one = std::make_unique<EdgeModel::Memory>(3), two = std::make_unique<EdgeModel::Memory>(3);
  auto idle = std::make_unique<EdgeModel::Memory>(3);
  for (auto* memory : {&one, &two, &idle}) restore(model, photo, **memory);
  const pid_t child = fork();
  if (child == 0) {
    const bool right =
        restore(model, photo, *one) == expected && restore(model, photo, *two) == expected;
    idle.reset();
    one.reset();
    two.reset();
    _exit(right && restore(model, photo, 2) == expected ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  check(
      WIFEXITED(status) && WEXITSTATUS(status) == 0,
      std::string(kernels.name) + ": the child of a fork fails, status " + std::to_string(status));
  check(restore(model, photo, *one) == expected,
        std::string(kernels.name) + ": the parent of a fork fails");
}
#endif

}  // namespace

int main(int argc, char** argv) {
  const bool forks = argc < 2 || std::string(argv[1]) != "no-fork";
  for (const Kernels* kernels : available_kernels()) {
    test_threads(*kernels);
    test_memory_is_used_again(*kernels);
    test_layers(*kernels);
    test_side_by_side(*kernels);
#ifdef HAS_FORK
    if (forks) test_fork(*kernels);
#else
    static_cast<void>(forks);
#endif
    std::printf("%s: done\n", kernels->name);
  }
  std::printf("%d failures\n", failures);
  return failures != 0;
}
