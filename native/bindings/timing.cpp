// What `bimacosr bench` measures by, beside the calls that everybody uses.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <stdexcept>

#include "../bench/ceiling.h"
#include "../bench/timers.h"
#include "bimacosr/cpu.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bimacosr {
namespace {

constexpr int kMostSide = 4096;

void require_sides(int height, int width) {
  if (height < 1 || height > kMostSide || width < 1 || width > kMostSide)
    throw std::invalid_argument("height and width must be from 1 to 4096");
}

void require_between(int value, int most, const char* name) {
  if (value < 1 || value > most)
    throw std::invalid_argument(std::string(name) + " must be from 1 to " + std::to_string(most));
}

}  // namespace

void bind_timing(nb::module_& m) {
  using bench::GemmTimer;
  using bench::LayerTimer;
  using bench::PairTimer;
  nb::class_<LayerTimer>(m, "LayerTimer")
      .def(
          "__init__",
          [](LayerTimer* self, std::shared_ptr<BinaryLayer> layer, int height, int width,
             int threads) {
            require_sides(height, width);
            require_between(threads, 1024, "threads");
            new (self) LayerTimer(std::move(layer), height, width, threads);
          },
          "layer"_a, "height"_a, "width"_a, "threads"_a = 1)
      .def("run", &LayerTimer::run, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<PairTimer>(m, "PairTimer")
      .def(
          "__init__",
          [](PairTimer* self, std::shared_ptr<BinaryLayer> first,
             std::shared_ptr<BinaryLayer> second, bool gelu, int pixels, int threads) {
            require_between(pixels, kMostSide * kMostSide, "pixels");
            require_between(threads, 1024, "threads");
            if (first->taps() != 1 || second->taps() != 1 || second->inputs() > first->outputs() ||
                (gelu && second->inputs() < first->outputs()))
              throw std::invalid_argument("the second layer does not fit the first");
            new (self) PairTimer(std::move(first), std::move(second), gelu, pixels, threads);
          },
          "first"_a, "second"_a, "gelu"_a, "pixels"_a, "threads"_a = 1)
      .def("run", &PairTimer::run, nb::call_guard<nb::gil_scoped_release>());
  nb::class_<GemmTimer>(m, "GemmTimer")
      .def(
          "__init__",
          [](GemmTimer* self, const std::string& isa, int outputs, int inputs, int taps, int height,
             int width) {
            require_sides(height, width);
            require_between(outputs, 1 << 16, "outputs");
            require_between(inputs, 1 << 16, "inputs");
            if (taps != 1 && taps != 9) throw std::invalid_argument("a layer has 1 or 9 taps");
            new (self) GemmTimer(select_kernels(isa, inputs, taps, height * width), outputs, inputs,
                                 taps, height, width);
          },
          "isa"_a, "outputs"_a, "inputs"_a, "taps"_a, "height"_a, "width"_a)
      .def("run", &GemmTimer::run, nb::call_guard<nb::gil_scoped_release>());
  m.def(
      "layer_isa",
      [](const std::string& isa, int inputs, int taps, int pixels) {
        return select_kernels(isa, inputs, taps, pixels).name;
      },
      "isa"_a, "inputs"_a, "taps"_a, "pixels"_a);
  m.def(
      "measure_ceiling",
      [](const std::string& isa) {
        const bench::Ceiling best = bench::measure_ceiling(select_kernels(isa).name);
        return std::pair(best.cycles_per_second, best.macs_per_second);
      },
      "isa"_a, nb::call_guard<nb::gil_scoped_release>());
}

}  // namespace bimacosr
