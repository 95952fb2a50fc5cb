// The UNet for Python: its parts are made one by one and then put together.
#include <nanobind/stl/map.h>
#include <nanobind/stl/variant.h>

#include <map>

#include "arrays.h"
#include "bimacosr/unet.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bimacosr {
namespace {

using LayerPtr = std::shared_ptr<BinaryLayer>;

GroupNorm make_norm(const Floats& weight, const Floats& bias) {
  require(weight.shape(0) > 0 && weight.shape(0) % 32 == 0,
          "channels of a norm must be a multiple of 32");
  require_size(bias, weight.shape(0), "bias");
  return {to_vector(weight), to_vector(bias)};
}

std::shared_ptr<ResBlock> make_res_block(const GroupNorm& norm_in, LayerPtr conv_in,
                                         const GroupNorm& norm_out, LayerPtr conv_out,
                                         std::optional<LayerPtr> skip) {
  return std::make_shared<ResBlock>(
      ResBlock{norm_in, conv_in, norm_out, conv_out, skip.value_or(nullptr)});
}

SwinBlock make_swin_block(const GroupNorm& norm_attention, LayerPtr qkv, LayerPtr proj, int heads,
                          int shift, Floats bias, const GroupNorm& norm_mlp, LayerPtr fc1,
                          LayerPtr fc2) {
  require(heads > 0 && shift >= 0, "a block has heads, and a shift of at least 0");
  return {norm_attention, qkv, proj, heads, shift, to_vector(bias), norm_mlp, fc1, fc2};
}

std::shared_ptr<SwinLayer> make_swin_layer(LayerPtr embed, LayerPtr unembed, int window,
                                           std::vector<SwinBlock> blocks) {
  require(window > 0 && window <= 64, "the window must be from 1 to 64");
  const size_t side = 2 * window - 1;
  for (const SwinBlock& block : blocks)
    require(block.bias.size() == block.heads * side * side && block.shift < window,
            "a table of position biases or a shift does not fit its window");
  return std::make_shared<SwinLayer>(embed, unembed, window, std::move(blocks));
}

std::shared_ptr<Unet> make_unet(std::shared_ptr<FloatConv> first, std::vector<Stage> down,
                                Stage middle, std::vector<Stage> up, const GroupNorm& norm,
                                std::shared_ptr<FloatConv> last, int multiple) {
  return std::make_shared<Unet>(
      UnetSource{first, last, norm, std::move(down), std::move(up), std::move(middle), multiple});
}

Result run_unet(const Unet& unet, UnetMemory& memory, Planes in) {
  const size_t height = in.shape(1), width = in.shape(2), multiple = unet.multiple();
  require(in.shape(0) == static_cast<size_t>(unet.inputs()),
          "the map has " + std::to_string(in.shape(0)) + " channels, the network takes " +
              std::to_string(unet.inputs()));
  require(height > 0 && width > 0 && height % multiple == 0 && width % multiple == 0,
          "the map is " + std::to_string(height) + "x" + std::to_string(width) +
              "; both must be multiples of " + std::to_string(multiple));
  require(height <= kMostPixels && width <= kMostPixels && height * width <= kMostPixels / 16,
          "the map is too large");
  Result result = make_result({static_cast<size_t>(unet.outputs()), height, width});
  {
    nb::gil_scoped_release unlocked;
    unet.run(in.data(), static_cast<int>(height), static_cast<int>(width), result.data(), memory);
  }
  return result;
}

std::map<std::string, double> take_seconds(UnetMemory& memory) {
  constexpr const char* kNames[kWorks] = {"prepare 3x3",  "multiply 3x3", "prepare 1x1",
                                          "multiply 1x1", "attention",    "rearrange",
                                          "norm",         "float"};
  const std::array<double, kWorks> seconds = memory.take_seconds();
  std::map<std::string, double> named;
  for (int i = 0; i < kWorks; i++) named[kNames[i]] = seconds[i];
  return named;
}

}  // namespace

void bind_unet(nb::module_& m) {
  nb::class_<GroupNorm>(m, "GroupNorm");
  m.def("group_norm", &make_norm, "weight"_a, "bias"_a);
  nb::class_<ResBlock>(m, "ResBlock");
  m.def("res_block", &make_res_block, "norm_in"_a, "conv_in"_a, "norm_out"_a, "conv_out"_a,
        "skip"_a = nb::none());
  nb::class_<SwinBlock>(m, "SwinBlock");
  m.def("swin_block", &make_swin_block, "norm_attention"_a, "qkv"_a, "proj"_a, "heads"_a, "shift"_a,
        "bias"_a, "norm_mlp"_a, "fc1"_a, "fc2"_a);
  nb::class_<SwinLayer>(m, "SwinLayer");
  m.def("swin_layer", &make_swin_layer, "embed"_a, "unembed"_a, "window"_a, "blocks"_a);
  nb::class_<Downsample>(m, "Downsample");
  m.def(
      "downsample", [](LayerPtr op, bool shortcut) { return Downsample{op, shortcut}; }, "op"_a,
      "shortcut"_a);
  nb::class_<Upsample>(m, "Upsample");
  m.def("upsample", [](LayerPtr conv) { return Upsample{conv}; }, "conv"_a);
  nb::class_<UnetMemory>(m, "UnetMemory")
      .def(
          "__init__",
          [](UnetMemory* self, int threads) {
            require(threads >= 1 && threads <= 1024, "threads must be from 1 to 1024");
            new (self) UnetMemory(threads);
          },
          "threads"_a)
      .def("take_seconds", &take_seconds);
  nb::class_<Unet>(m, "Unet").def("run", &run_unet, "memory"_a, "planes"_a);
  m.def("unet", &make_unet, "first"_a, "down"_a, "middle"_a, "up"_a, "norm"_a, "last"_a,
        "multiple"_a);
}

}  // namespace bimacosr
