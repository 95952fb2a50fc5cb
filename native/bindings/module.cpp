// The Python module: arrays in, checked, arrays out. No call keeps Python's lock while it computes.
#include <algorithm>
#include <cmath>

#include "arrays.h"
#include "bimacosr/cpu.h"
#include "bimacosr/edge.h"

namespace nb = nanobind;
using namespace nb::literals;
using namespace bimacosr;

namespace {

constexpr int kManyPixels = 1 << 20;  // of a layer that sees maps of any size

std::shared_ptr<BinaryLayer> make_binary_layer(
    const std::string& isa, Array<uint64_t, nb::ndim<3>> signs, int inputs, Floats scale,
    std::optional<Floats> bias, std::optional<Matrix> rprelu,
    std::optional<Array<int32_t, nb::shape<2, -1>>> sparse_indices,
    std::optional<Floats> sparse_values, std::optional<Matrix> low_rank_in,
    std::optional<Matrix> low_rank_out, bool zero_is_positive, int pixels) {
  const size_t outputs = signs.shape(0), taps = signs.shape(1);
  require(inputs > 0 && inputs <= kMostInputs && outputs > 0 && outputs <= kMostChannels,
          "a 1-bit layer has 1 to 8192 inputs and 1 to 65536 outputs");
  require(taps == 1 || taps == 9, "a 1-bit layer has 1 or 9 taps");
  require(signs.shape(2) == static_cast<size_t>(inputs + 63) / 64, "wrong number of words a row");
  if (const int used = inputs % 64) {
    const uint64_t unused = ~uint64_t{0} << used;
    for (size_t i = signs.shape(2) - 1; i < signs.size(); i += signs.shape(2))
      require((signs.data()[i] & unused) == 0, "bits beyond the last channel are set");
  }
  require_size(scale, outputs, "scale");
  BinarySource source{};
  source.outputs = static_cast<int>(outputs);
  source.inputs = inputs;
  source.taps = static_cast<int>(taps);
  source.signs = signs.data();
  source.scale = scale.data();
  source.zero_is_positive = zero_is_positive;
  if (bias) {
    require_size(*bias, outputs, "bias");
    source.bias = bias->data();
  }
  if (rprelu) {
    require(rprelu->shape(0) == 3 && rprelu->shape(1) == outputs, "rprelu must be 3 x outputs");
    source.rprelu = rprelu->data();
  }
  require(sparse_indices.has_value() == sparse_values.has_value(),
          "a sparse branch has indices and values");
  if (sparse_indices) {
    const size_t count = sparse_indices->shape(1);
    require_size(*sparse_values, count, "sparse_values");
    require(count <= outputs * static_cast<size_t>(inputs), "too many sparse entries");
    source.sparse_count = static_cast<int>(count);
    source.sparse_rows = sparse_indices->data();
    source.sparse_columns = sparse_indices->data() + count;
    source.sparse_values = sparse_values->data();
    for (size_t i = 0; i < count; i++)
      require(source.sparse_rows[i] >= 0 && source.sparse_rows[i] < source.outputs &&
                  source.sparse_columns[i] >= 0 && source.sparse_columns[i] < inputs,
              "a sparse entry lies outside of the layer");
  }
  require(low_rank_in.has_value() == low_rank_out.has_value(),
          "a low-rank branch has two matrices");
  if (low_rank_in) {
    const size_t rank = low_rank_in->shape(0);
    require(rank > 0 && rank <= kMostChannels &&
                low_rank_in->shape(1) == static_cast<size_t>(inputs) &&
                low_rank_out->shape(0) == outputs && low_rank_out->shape(1) == rank,
            "the matrices of the low-rank branch do not fit the layer");
    source.rank = static_cast<int>(rank);
    source.low_rank_in = low_rank_in->data();
    source.low_rank_out = low_rank_out->data();
  }
  return std::make_shared<BinaryLayer>(select_kernels(isa, inputs, source.taps, pixels), source);
}

std::shared_ptr<FloatConv> make_float_conv(const std::string& isa,
                                           Array<float, nb::shape<-1, -1, 3, 3>> weights,
                                           std::optional<Floats> bias) {
  require(weights.shape(0) > 0 && weights.shape(0) <= kMostChannels && weights.shape(1) > 0 &&
              weights.shape(1) <= kMostChannels,
          "a layer has 1 to 65536 channels");
  if (bias) require_size(*bias, weights.shape(0), "bias");
  return std::make_shared<FloatConv>(select_kernels(isa), static_cast<int>(weights.shape(0)),
                                     static_cast<int>(weights.shape(1)), weights.data(),
                                     bias ? bias->data() : nullptr);
}

void fill(Map& map, const Planes& planes) {
  const int height = static_cast<int>(planes.shape(1)), width = static_cast<int>(planes.shape(2));
  map.reshape(static_cast<int>(planes.shape(0)), Shape::of(height, width));
  for (int c = 0; c < map.channels(); c++)
    for (int y = 0; y < height; y++)
      for (int x = 0; x < width; x++)
        map.data()[map.index(y, x) + c * kTile] =
            planes.data()[(static_cast<size_t>(c) * height + y) * width + x];
}

Result read(const Map& map) {
  const size_t height = map.shape().height, width = map.shape().width;
  Result result = make_result({static_cast<size_t>(map.channels()), height, width});
  float* to = result.data();
  for (int c = 0; c < map.channels(); c++)
    for (size_t y = 0; y < height; y++)
      for (size_t x = 0; x < width; x++)
        *to++ = map.data()[map.index(static_cast<int>(y), static_cast<int>(x)) + c * kTile];
  return result;
}

void require_map(const Planes& planes, int channels) {
  require(planes.shape(0) == static_cast<size_t>(channels),
          "the map has " + std::to_string(planes.shape(0)) + " channels, the layer takes " +
              std::to_string(channels));
  require(planes.shape(1) > 0 && planes.shape(2) > 0 &&
              planes.shape(1) * (planes.shape(2) + 16) <= kMostPixels,
          "the map is empty or too large");
}

template <typename Layer, typename Run>
Result run_layer(const Layer& layer, const Planes& planes, int threads, Run run) {
  require_map(planes, layer.inputs());
  require(threads >= 1 && threads <= 1024, "threads must be from 1 to 1024");
  Map in, out;
  {
    nb::gil_scoped_release unlocked;
    fill(in, planes);
    out.reshape(layer.outputs(), in.shape());
    ThreadPool pool(threads);
    Workspace space(pool);
    run(in, out, space);
  }
  return read(out);
}

Result run_binary_layer(const BinaryLayer& layer, Planes planes, int threads, bool silu,
                        bool gelu) {
  BinaryCall call;
  call.silu = silu;
  call.gelu = gelu;
  return run_layer(layer, planes, threads, [&](Map& in, Map& out, Workspace& space) {
    call.inputs[0] = in.view();
    layer.run(call, out, space);
  });
}

Result run_float_conv(const FloatConv& layer, Planes planes, int threads) {
  return run_layer(layer, planes, threads,
                   [&](Map& in, Map& out, Workspace& space) { layer.run(in.view(), out, space); });
}

EdgeBlock make_edge_block(std::shared_ptr<BinaryLayer> conv, Floats shift, Floats prelu,
                          Floats gain) {
  require(conv->inputs() == conv->outputs(), "a block's layer has as many outputs as inputs");
  const size_t channels = conv->inputs();
  require_size(shift, channels, "shift");
  require_size(prelu, channels, "prelu");
  require_size(gain, channels, "gain");
  return {conv, to_vector(shift), to_vector(prelu), to_vector(gain)};
}

EdgeModel make_edge_model(int scale, std::shared_ptr<FloatConv> first, std::vector<EdgeBlock> body,
                          std::shared_ptr<FloatConv> last, float noise_scale, float input_scale,
                          bool residual) {
  require(scale >= 1 && scale <= 16, "scale must be from 1 to 16");
  const int latents = 3 * scale * scale, channels = first->outputs();
  require(
      first->inputs() == latents + 3 && last->inputs() == channels && last->outputs() == latents,
      "the first or the last layer does not fit the scale");
  for (const EdgeBlock& block : body)
    require(block.conv->inputs() == channels, "a block does not fit the first layer");
  require(std::isfinite(noise_scale) && std::isfinite(input_scale), "a scale is not finite");
  return EdgeModel({scale, first, last, std::move(body), noise_scale, input_scale, residual});
}

Result restore_edge(const EdgeModel& model, EdgeModel::Memory& memory,
                    Array<float, nb::shape<-1, -1, 3>> lq,
                    std::optional<Array<float, nb::ndim<3>>> noise) {
  const size_t height = lq.shape(0), width = lq.shape(1), scale = model.scale();
  require(height > 0 && width > 0 && height * (width + 16) <= kMostPixels / (scale * scale),
          "the picture is empty or too large");
  if (noise)
    require(noise->shape(0) == 3 * scale * scale && noise->shape(1) == height &&
                noise->shape(2) == width,
            "the noise does not fit the picture");
  Result result = make_result({height * scale, width * scale, 3});
  {
    nb::gil_scoped_release unlocked;
    model.restore(lq.data(), static_cast<int>(height), static_cast<int>(width),
                  noise ? noise->data() : nullptr, result.data(), memory);
  }
  return result;
}

}  // namespace

namespace bimacosr {
void bind_timing(nb::module_& m);
void bind_unet(nb::module_& m);
void bind_vq(nb::module_& m);
}  // namespace bimacosr

NB_MODULE(_native, m) {
  m.doc() = "The 1-bit engine. Use bimacosr.engine, which checks and explains.";
  m.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const Kernels* kernels : available_kernels()) names.emplace_back(kernels->name);
    return names;
  });
  nb::class_<BinaryLayer>(m, "BinaryLayer")
      .def_prop_ro("inputs", &BinaryLayer::inputs)
      .def_prop_ro("outputs", &BinaryLayer::outputs)
      .def_prop_ro("isa", [](const BinaryLayer& layer) { return layer.kernels().name; })
      .def("run", &run_binary_layer, "planes"_a, "threads"_a = 1, "silu"_a = false,
           "gelu"_a = false);
  m.def("binary_layer", &make_binary_layer, "isa"_a, "signs"_a, "inputs"_a, "scale"_a,
        "bias"_a = nb::none(), "rprelu"_a = nb::none(), "sparse_indices"_a = nb::none(),
        "sparse_values"_a = nb::none(), "low_rank_in"_a = nb::none(), "low_rank_out"_a = nb::none(),
        "zero_is_positive"_a = false, "pixels"_a = kManyPixels);
  nb::class_<FloatConv>(m, "FloatConv")
      .def_prop_ro("inputs", &FloatConv::inputs)
      .def_prop_ro("outputs", &FloatConv::outputs)
      .def("run", &run_float_conv, "planes"_a, "threads"_a = 1);
  m.def("float_conv", &make_float_conv, "isa"_a, "weights"_a, "bias"_a = nb::none());
  nb::class_<EdgeBlock>(m, "EdgeBlock");
  m.def("edge_block", &make_edge_block, "conv"_a, "shift"_a, "prelu"_a, "gain"_a);
  nb::class_<EdgeModel::Memory>(m, "EdgeMemory").def(nb::init<int>(), "threads"_a);
  nb::class_<EdgeModel>(m, "EdgeModel")
      .def("restore", &restore_edge, "memory"_a, "lq"_a, "noise"_a = nb::none());
  m.def("edge_model", &make_edge_model, "scale"_a, "first"_a, "body"_a, "last"_a, "noise_scale"_a,
        "input_scale"_a, "residual"_a);
  bind_timing(m);
  bind_unet(m);
  bind_vq(m);
}
