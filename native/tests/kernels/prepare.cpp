#include <cmath>

#include "signs.h"
#include "suites.h"

namespace bimacosr::tests {
namespace {

double silu_of(double x) { return x / (1 + std::exp(-x)); }

struct Case {
  int first, second;  // channels of the two inputs
  int rank;
  bool gain, zero_is_positive, zeros, silu;
};

// One call of `prepare` and all it wrote.
struct Prepared {
  static constexpr int kRow = 32, kPixels = 5 * kTile;
  Prepared(const Kernels& kernels, const Case& c)
      : a(c.first, kPixels),
        b(c.second, kPixels),
        y(c.first + c.second, kPixels),
        projected(c.rank, kPixels),
        scales(kPixels),
        signs(kernels, c.first + c.second, kRow, kPixels),
        negative(kernels, c.first + c.second, kRow, kPixels) {}

  float x(int c, int p) const { return c < a.channels() ? a.at(c, p) : b.at(c - a.channels(), p); }

  Map a, b, y, projected;
  Array<float> scales;
  Signs signs, negative;
  std::vector<float> gain, shift, low_rank;
  uint8_t zeros[kPixels / kTile];
};

void fill(const Case& c, Prepared* data, Random* random) {
  const int channels = c.first + c.second;
  for (Map* map : {&data->a, &data->b}) {
    random->fill(map, -6.0f, 6.0f);
    for (int n = 0; c.zeros && n < map->channels(); n++)
      for (int p = 0; p < map->pixels(); p++)
        if (random->below(32) == 0) map->at(n, p) = random->below(2) ? 0.0f : -0.0f;
  }
  if (c.gain) data->gain = random->values(channels, 0.5f, 2.0f);
  // a shift that is 0 keeps the zeros
  if (c.gain) data->shift = random->values(channels, c.zeros ? 0.0f : -1.0f, c.zeros ? 0.0f : 1.0f);
  data->low_rank = random->values(c.rank * channels, -1.0f, 1.0f);
}

void call(const Kernels& kernels, const Case& c, Prepared* data) {
  PrepareTask task{};
  task.inputs[0] = data->a.view();
  task.inputs[1] = data->b.view();
  task.channels = c.first + c.second;
  task.gain = c.gain ? data->gain.data() : nullptr;
  task.shift = c.gain ? data->shift.data() : nullptr;
  task.silu = c.silu;
  task.y = data->y.data();
  task.zero_is_positive = c.zero_is_positive;
  task.signs = data->signs.origin();
  if (!kernels.zero_is_exact && !c.zero_is_positive) task.negative_signs = data->negative.origin();
  task.sign_stride = data->signs.stride();
  task.scales = data->scales.data();
  task.zeros = data->zeros;
  task.low_rank = c.rank ? data->low_rank.data() : nullptr;
  task.rank = c.rank;
  task.projected = data->projected.data();
  // in two parts, as threads would
  task.begin = 2 * kTile;
  task.end = Prepared::kPixels;
  kernels.prepare(task);
  task.begin = 0;
  task.end = 2 * kTile;
  kernels.prepare(task);
}

void check_signs(const Kernels& kernels, const Case& c, Prepared& data, const std::string& test,
                 Report* report) {
  bool zeros[Prepared::kPixels / kTile] = {};
  for (int n = 0; n < c.first + c.second; n++)
    for (int p = 0; p < Prepared::kPixels; p++) {
      const float y = data.y.at(n, p);
      const std::string where = "sign of " + std::to_string(y) + ", channel " + std::to_string(n);
      const bool positive_zero = c.zero_is_positive || !kernels.zero_is_exact;
      const int expected = y > 0 ? 1 : y < 0 ? -1 : positive_zero ? 1 : 0;
      report->check(data.signs.at(n, p) == expected, test, where);
      if (!kernels.zero_is_exact && !c.zero_is_positive)
        report->check(data.negative.at(n, p) == (y > 0 ? 1 : -1), test, where + ", negative plane");
      zeros[p / kTile] |= y == 0;
    }
  if (!kernels.zero_is_exact && !c.zero_is_positive)
    report->check(std::equal(std::begin(zeros), std::end(zeros), data.zeros), test, "zeros");
}

void run(const Kernels& kernels, const Case& c, Random* random, Report* report) {
  const int channels = c.first + c.second;
  const std::string test = "prepare " + std::to_string(c.first) + " + " + std::to_string(c.second) +
                           (c.silu ? ", SiLU" : "") + (c.zero_is_positive ? ", 0 is +1" : "");
  Prepared data(kernels, c);
  fill(c, &data, random);
  call(kernels, c, &data);
  std::vector<double> total(Prepared::kPixels);
  for (int n = 0; n < channels; n++)
    for (int p = 0; p < Prepared::kPixels; p++) {
      const double gain = c.gain ? data.gain[n] : 1.0f, shift = c.gain ? data.shift[n] : 0.0f;
      const double x = gain * data.x(n, p) + shift;
      // SiLU ends in a product with x, which may be a small difference
      const double size = std::abs(gain * data.x(n, p)) + std::abs(shift);
      report->check_near(data.y.at(n, p), c.silu ? silu_of(x) : x, 1e-6 * size, test,
                         "y of " + std::to_string(x));
      total[p] += std::abs(static_cast<double>(data.y.at(n, p)));
    }
  for (int p = 0; p < Prepared::kPixels; p++) {
    const double mean = total[p] / channels;
    report->check_near(data.scales[p], mean, 1e-5 * mean, test, "scale of " + std::to_string(p));
    for (int k = 0; k < c.rank; k++) {
      double sum = 0;
      for (int n = 0; n < channels; n++)
        sum += static_cast<double>(data.low_rank[k * channels + n]) * data.y.at(n, p);
      report->check_near(data.projected.at(k, p), sum, 1e-5 * (1 + mean * std::sqrt(channels)),
                         test, "projection " + std::to_string(k) + " of " + std::to_string(p));
    }
  }
  check_signs(kernels, c, data, test, report);
}

// SiLU over its whole range.
void check_range(const Kernels& kernels, Report* report) {
  const Case c{1, 0, 0, false, false, false, true};
  Prepared data(kernels, c);
  for (float low = -100.0f; low < 100.0f; low += 8.0f) {
    for (int p = 0; p < Prepared::kPixels; p++)
      data.a.at(0, p) = low + 8.0f * static_cast<float>(p) / Prepared::kPixels;
    call(kernels, c, &data);
    for (int p = 0; p < Prepared::kPixels; p++) {
      const double x = data.a.at(0, p), y = silu_of(x);
      report->check_near(data.y.at(0, p), y, 2e-7 * std::abs(x), "range of SiLU",
                         std::to_string(x));
      if (x > -87)
        report->check_near(data.y.at(0, p), y, (3e-7 + 8e-8 * std::abs(x)) * std::abs(y),
                           "range of SiLU", std::to_string(x) + ", relative");
    }
  }
}

}  // namespace

void test_prepare(const Kernels& kernels, Report* report) {
  Random random(2);
  check_range(kernels, report);
  for (bool silu : {false, true})
    for (bool zero_is_positive : {false, true}) {
      run(kernels, {1, 0, 1, false, zero_is_positive, true, silu}, &random, report);
      run(kernels, {3, 8, 4, true, zero_is_positive, true, silu}, &random, report);
      run(kernels, {51, 19, 13, true, zero_is_positive, false, silu}, &random, report);
      run(kernels, {160, 33, 8, false, zero_is_positive, true, silu}, &random, report);
    }
}

}  // namespace bimacosr::tests
