// Arrays from Python and to Python, and what every binding checks about them.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace bimacosr {

template <typename T, typename... Shape>
using Array = nanobind::ndarray<const T, Shape..., nanobind::c_contig, nanobind::device::cpu>;
using Floats = Array<float, nanobind::ndim<1>>;
using Matrix = Array<float, nanobind::ndim<2>>;
using Planes = Array<float, nanobind::ndim<3>>;  // channels, height, width
using Result = nanobind::ndarray<nanobind::numpy, float>;

inline constexpr size_t kMostChannels = 1 << 16, kMostPixels = 1 << 28;

inline void require(bool condition, const std::string& message) {
  if (!condition) throw std::invalid_argument(message);
}

inline void require_size(const Floats& array, size_t size, const char* name) {
  require(array.shape(0) == size, std::string(name) + " has " + std::to_string(array.shape(0)) +
                                      " values, not " + std::to_string(size));
}

inline Result make_result(std::vector<size_t> shape) {
  size_t count = 1;
  for (size_t side : shape) count *= side;
  auto* data = new float[count];
  nanobind::capsule owner(data, [](void* p) noexcept { delete[] static_cast<float*>(p); });
  return Result(data, shape.size(), shape.data(), owner);
}

inline std::vector<float> to_vector(const Floats& array) {
  return {array.data(), array.data() + array.shape(0)};
}

}  // namespace bimacosr
