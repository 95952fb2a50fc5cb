#include <algorithm>
#include <cmath>
#include <limits>

#include "maps.h"
#include "suites.h"

namespace bimacosr::tests {
namespace {

constexpr float kUntouched = std::numeric_limits<float>::infinity();

struct Window {
  int tokens, heads, head_channels;
  float size;  // of the queries and keys: how far apart the logits are
};

double naive(const Map& qkv, const Window& w, const std::vector<float>& bias, float scale, int head,
             int d, int query) {
  const int part = w.heads * w.head_channels, first = head * w.head_channels;
  std::vector<double> logits(w.tokens);
  for (int j = 0; j < w.tokens; j++) {
    double dot = 0;
    for (int k = first; k < first + w.head_channels; k++)
      dot += static_cast<double>(qkv.at(k, query)) * qkv.at(part + k, j);
    const size_t row = static_cast<size_t>(head) * w.tokens + j;
    logits[j] = scale * dot + bias[row * qkv.pixels() + query];
  }
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0, total = 0;
  for (int j = 0; j < w.tokens; j++) {
    total += std::exp(logits[j] - most);
    sum += std::exp(logits[j] - most) * qkv.at(2 * part + first + d, j);
  }
  return sum / total;
}

void run(const Kernels& kernels, const Window& w, Random* random, Report* report) {
  const std::string test = "attention of " + std::to_string(w.tokens) + " tokens, " +
                           std::to_string(w.heads) + " heads of " + std::to_string(w.head_channels);
  const int channels = w.heads * w.head_channels;
  Map qkv(3 * channels, w.tokens), out(channels + 1, w.tokens);
  random->fill(&qkv, -w.size, w.size);
  for (int n = 0; n < out.channels(); n++)
    for (int p = 0; p < out.pixels(); p++) out.at(n, p) = kUntouched;
  std::vector<float> bias = random->values(w.heads * w.tokens * qkv.pixels(), -1.0f, 1.0f);
  for (float& value : bias)
    if (random->below(8) == 0) value -= 100.0f;  // as a shifted window masks
  Array<float> scratch(static_cast<size_t>(w.tokens) * kTile);
  AttentionTask task{};
  task.qkv = qkv.data();
  task.tile_stride = qkv.tile_stride();
  task.tokens = w.tokens;
  task.tiles = qkv.pixels() / kTile;
  task.heads = w.heads;
  task.head_channels = w.head_channels;
  task.scale = 1.0f / std::sqrt(static_cast<float>(w.head_channels));
  task.bias = bias.data();
  task.out = out.data();
  task.out_tile_stride = out.tile_stride();
  task.scratch = scratch.data();
  kernels.attention(task);
  for (int n = 0; n < out.channels(); n++)
    for (int p = 0; p < out.pixels(); p++) {
      const std::string where = "channel " + std::to_string(n) + ", token " + std::to_string(p);
      if (n == channels)
        report->check(out.at(n, p) == kUntouched, test, "wrote " + where);
      else if (p < w.tokens)
        report->check_near(
            out.at(n, p),
            naive(qkv, w, bias, task.scale, n / w.head_channels, n % w.head_channels, p),
            1e-5 * w.size, test, where);
    }
}

}  // namespace

void test_attention(const Kernels& kernels, Report* report) {
  Random random(6);
  for (const Window& window : {Window{1, 1, 1, 1.0f},
                               {9, 3, 5, 2.0f},
                               {64, 6, 32, 2.0f},
                               {67, 2, 6, 1.0f},
                               {150, 1, 33, 3.0f}})
    run(kernels, window, &random, report);
}

}  // namespace bimacosr::tests
