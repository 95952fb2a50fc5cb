#include "bimacosr/bfloat16_kernels.h"

#include <bit>
#include <cmath>
#include <limits>

#include "maps.h"
#include "suites.h"

namespace bimacosr::tests {
namespace {

constexpr float kUntouched = std::numeric_limits<float>::infinity();

float wide(Bfloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x) << 16); }

// to the nearest, of two as near to the even one
Bfloat16 nearest(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return static_cast<Bfloat16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void test_round(const Bfloat16Kernels& kernels, Random* random, Report* report) {
  for (int channels : {16, 32, 48, 80})
    for (int form = 0; form < 3; form++) {  // as it is, normalised, and with SiLU
      const std::string test =
          "round " + std::to_string(channels) + ", form " + std::to_string(form);
      const int pixels = 1 + random->below(9), planes = (channels + 31) / 32;
      const size_t stride = channels + 16 * random->below(2), plane = (pixels + 1) * kStepInputs;
      const std::vector<float> from = random->values(static_cast<int>(pixels * stride), -20, 20);
      const std::vector<float> gain = random->values(channels, -2, 2);
      const std::vector<float> shift = random->values(channels, -2, 2);
      Array<Bfloat16> to(planes * plane);
      for (size_t i = 0; i < to.size(); i++) to[i] = 1;
      kernels.round({from.data(), stride, form ? gain.data() : nullptr,
                     form ? shift.data() : nullptr, form == 2, channels, pixels, to.data(), plane});
      for (int c = 0; c < planes * kStepInputs; c++)
        for (int p = 0; p <= pixels; p++) {
          const Bfloat16 got = to[c / 32 * plane + p * kStepInputs + c % 32];
          const std::string where = "channel " + std::to_string(c) + ", pixel " + std::to_string(p);
          if (p == pixels || c >= channels) {
            report->check(got == (p == pixels ? 1 : 0), test, where);
            continue;
          }
          const float x = from[p * stride + c];
          if (form == 0) {
            report->check(got == nearest(x), test, where);
            continue;
          }
          const double y = static_cast<double>(gain[c]) * x + shift[c];
          const double wanted = form == 1 ? y : y / (1 + std::exp(-y));
          report->check_near(wide(got), wanted, 0.0042 * std::abs(wanted) + 1e-6, test, where);
        }
    }
}

void test_pack(const Bfloat16Kernels& kernels, Random* random, Report* report) {
  for (int i = 0; i < 40; i++) {
    const int outputs = i ? 1 + random->below(32) : 32, inputs = i ? 1 + random->below(32) : 32;
    const int input_stride = 1 + random->below(16);
    const bool across = random->below(2);  // inputs further apart than outputs
    const int apart = across ? outputs + random->below(5) : input_stride;
    const int output_stride = across ? 1 : inputs * input_stride + random->below(5);
    const std::string test = "pack " + std::to_string(inputs) + " -> " + std::to_string(outputs);
    const std::vector<float> from =
        random->values((outputs - 1) * output_stride + (inputs - 1) * apart + 1, -3, 3);
    Array<Bfloat16> to(kStepWeights);
    for (size_t k = 0; k < to.size(); k++) to[k] = 1;
    kernels.pack({from.data(), static_cast<size_t>(output_stride), static_cast<size_t>(apart),
                  outputs, inputs, to.data()});
    for (int n = 0; n < 32; n++)
      for (int k = 0; k < 32; k++) {
        const bool there = n < outputs && k < inputs;
        const Bfloat16 wanted = there ? nearest(from[n * output_stride + k * apart]) : 0;
        report->check(to[n / 16 * 512 + k / 2 * 32 + n % 16 * 2 + k % 2] == wanted, test,
                      "output " + std::to_string(n) + ", input " + std::to_string(k));
      }
  }
}

struct Case {
  int rows, columns, steps, stride, width;  // stride: pixels of the input for one of the result
  bool start, add;
};

void test_multiply(const Bfloat16Kernels& kernels, const Case& shape, Random* random,
                   Report* report) {
  const std::string test = "multiply " + std::to_string(shape.rows) + "x" +
                           std::to_string(shape.columns) + ", steps " + std::to_string(shape.steps);
  const int places = round_up(shape.columns, 16) * shape.stride;  // pixels that a row may read
  const size_t row = static_cast<size_t>(places) * kStepInputs * shape.stride;
  std::vector<ptrdiff_t> steps;  // each in a plane of its own, or two in one
  for (int s = 0; s < shape.steps; s++)
    steps.push_back(static_cast<ptrdiff_t>(s / 2 * shape.rows * row + s % 2 * kStepInputs));
  Array<Bfloat16> a((shape.steps / 2 + 1) * shape.rows * row + 2 * kStepInputs);
  for (size_t i = 0; i < a.size(); i++) a[i] = nearest(random->between(-1, 1));
  Array<Bfloat16> b(static_cast<size_t>(shape.steps) * kStepWeights);
  for (size_t i = 0; i < b.size(); i++) b[i] = nearest(random->between(-1, 1));
  const std::vector<float> start = random->values(32, -1, 1);
  const size_t pixel = shape.width + 16, c_row = (shape.columns + 1) * pixel;
  const std::vector<float> plus = random->values(static_cast<int>(shape.rows * c_row), -1, 1);
  std::vector<float> c(shape.rows * c_row, kUntouched);
  Array<float> sums(static_cast<size_t>(shape.rows) * round_up(shape.columns, 32) * 32);
  kernels.multiply({a.data(), row, static_cast<size_t>(shape.stride) * kStepInputs, steps.data(),
                    shape.steps, b.data(), shape.rows, shape.columns,
                    shape.start ? start.data() : nullptr, shape.add ? plus.data() : nullptr,
                    c.data(), c_row, pixel, shape.width, sums.data()});
  for (int y = 0; y < shape.rows; y++)
    for (int x = 0; x <= shape.columns; x++)
      for (size_t n = 0; n < pixel; n++) {
        const size_t at = y * c_row + x * pixel + n;
        const std::string where = "output " + std::to_string(n) + ", pixel " + std::to_string(x) +
                                  " of row " + std::to_string(y);
        if (x == shape.columns || n >= static_cast<size_t>(shape.width)) {
          report->check(c[at] == kUntouched, test, "wrote " + where);
          continue;
        }
        double wanted = (shape.start ? start[n] : 0.0) + (shape.add ? plus[at] : 0.0);
        for (int s = 0; s < shape.steps; s++)
          for (int k = 0; k < 32; k++)
            wanted += static_cast<double>(
                          wide(a[y * row + x * shape.stride * kStepInputs + steps[s] + k])) *
                      wide(b[s * kStepWeights + n / 16 * 512 + k / 2 * 32 + n % 16 * 2 + k % 2]);
        report->check_near(c[at], wanted, 2e-6 * std::sqrt(32.0 * shape.steps), test, where);
      }
}

}  // namespace

void test_bfloat16(const Kernels& kernels, Report* report) {
  if (!kernels.bfloat16) return;
  Random random(6);
  test_round(*kernels.bfloat16, &random, report);
  test_pack(*kernels.bfloat16, &random, report);
  for (const Case& shape : {Case{1, 1, 1, 1, 16, false, false},
                            {3, 16, 9, 1, 32, true, false},
                            {2, 32, 18, 1, 32, true, true},
                            {2, 17, 19, 2, 16, false, true},
                            {4, 33, 36, 1, 32, true, true},
                            {1, 70, 40, 2, 32, true, false}})
    test_multiply(*kernels.bfloat16, shape, &random, report);
}

}  // namespace bimacosr::tests
