#include <cmath>
#include <limits>

#include "maps.h"
#include "suites.h"

namespace bimacosr::tests {
namespace {

constexpr float kUntouched = std::numeric_limits<float>::infinity();

struct Shape {
  int channels, width, height;
  int out_row;  // pixels of a row of the result
};

// Planes with a pixel of zeros all around, no wider than a kernel reads.
class Planes {
 public:
  Planes(const Shape& shape, Random* random)
      : row_(round_up(shape.width, 16) + 2),
        plane_(static_cast<size_t>(row_) * (shape.height + 2)),
        values_(plane_ * shape.channels) {
    for (int c = 0; c < shape.channels; c++)
      for (int y = 0; y < shape.height; y++)
        for (int x = 0; x < shape.width; x++)
          values_[index(c, y, x)] = random->between(-1.0f, 1.0f);
  }
  float at(int c, int y, int x) const { return values_[index(c, y, x)]; }
  const float* row(int y) const { return values_.data() + index(0, y, 0); }
  size_t plane_stride() const { return plane_; }
  size_t row_stride() const { return static_cast<size_t>(row_); }

 private:
  size_t index(int c, int y, int x) const { return c * plane_ + (y + 1) * row_stride() + x + 1; }
  int row_;
  size_t plane_;
  Array<float> values_;
};

double naive(const Planes& planes, const Shape& shape, const std::vector<float>& weights,
             const std::vector<float>& bias, int n, int y, int x) {
  const size_t block = bias.size();
  double sum = bias[n];
  for (int c = 0; c < shape.channels; c++)
    for (int t = 0; t < 9; t++)
      sum += static_cast<double>(weights[(c * 9 + t) * block + n]) *
             planes.at(c, y + t / 3 - 1, x + t % 3 - 1);
  return sum;
}

void run(const Kernels& kernels, const Shape& shape, int count, Random* random, Report* report) {
  const std::string test = "float_conv " + std::to_string(shape.channels) + " -> " +
                           std::to_string(count) + ", " + std::to_string(shape.width) + " wide";
  const Planes planes(shape, random);
  const int block = kernels.conv_channels;
  const std::vector<float> weights = random->values(shape.channels * 9 * block, -1.0f, 1.0f);
  const std::vector<float> bias = random->values(block, -1.0f, 1.0f);
  Map out(block + 1, shape.out_row * shape.height);
  for (int n = 0; n < out.channels(); n++)
    for (int p = 0; p < out.pixels(); p++) out.at(n, p) = kUntouched;
  for (int y = 0; y < shape.height; y++)
    kernels.float_conv({planes.row(y), planes.plane_stride(), planes.row_stride(), shape.channels,
                        weights.data(), bias.data(), count, y, round_up(shape.width, 16),
                        out.data(), out.tile_stride(), shape.out_row});
  // the size of a sum of so many random products
  const double size = std::sqrt(9.0 * shape.channels);
  for (int n = 0; n < out.channels(); n++)
    for (int y = 0; y < shape.height; y++)
      for (int x = 0; x < shape.out_row; x++) {
        const float value = out.at(n, y * shape.out_row + x);
        const std::string where = "channel " + std::to_string(n) + ", pixel " + std::to_string(x) +
                                  " of row " + std::to_string(y);
        if (n >= count || x >= round_up(shape.width, 16))
          report->check(value == kUntouched, test, "wrote " + where);
        else if (x < shape.width)
          report->check_near(value, naive(planes, shape, weights, bias, n, y, x), 1e-6 * size, test,
                             where);
      }
}

}  // namespace

void test_float_conv(const Kernels& kernels, Report* report) {
  Random random(4);
  for (const Shape& shape :
       {Shape{1, 16, 4, 16}, {3, 21, 5, 32}, {8, 33, 3, 64}, {70, 48, 2, 48}, {5, 80, 3, 96}})
    for (int count = 1; count <= kernels.conv_channels; count++)
      run(kernels, shape, count, &random, report);
}

}  // namespace bimacosr::tests
