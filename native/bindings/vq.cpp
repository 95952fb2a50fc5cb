// The autoencoder from Python: weights by their names in the state dict.
#include <nanobind/stl/map.h>
#include <nanobind/stl/tuple.h>

#include <map>
#include <set>
#include <tuple>

#include "arrays.h"
#include "bimacosr/cpu.h"
#include "bimacosr/vq.h"
#include "bimacosr/weight_file.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bimacosr {
namespace {

using State = std::map<std::string, Array<float>>;
using Shape = std::vector<size_t>;
using Places = std::map<std::string, std::tuple<uint64_t, Shape>>;  // first byte in a file, shape

std::string shape_text(const Shape& shape) {
  std::string text;
  for (size_t side : shape) text += (text.empty() ? "" : "x") + std::to_string(side);
  return text;
}

Shape shape_of(const Array<float>& array) {
  Shape shape;
  for (size_t i = 0; i < array.ndim(); i++) shape.push_back(array.shape(i));
  return shape;
}

Shape shape_of(const std::tuple<uint64_t, Shape>& place) { return std::get<1>(place); }

// Gives what the network asks for, each name once; `make` makes a source of an entry.
template <typename Entry, typename Make>
WeightSource take(const std::map<std::string, Entry>& state, std::set<std::string>& asked,
                  const std::string& name, const std::vector<int>& wanted, const Make& make) {
  const auto found = state.find(name);
  require(found != state.end(), "the autoencoder lacks " + name);
  const Shape shape(wanted.begin(), wanted.end()), given = shape_of(found->second);
  require(given == shape,
          name + " is " + shape_text(given) + "; the settings say " + shape_text(shape));
  asked.insert(name);
  return make(found->second);
}

VqSettings make_settings(int in_channels, int out_channels, int channels,
                         std::vector<int> channel_mult, int num_res_blocks, int z_channels,
                         int embed_dim, int n_embed) {
  const auto fits = [](int value, size_t most) {
    return value > 0 && static_cast<size_t>(value) <= most;
  };
  require(fits(in_channels, kMostChannels) && fits(out_channels, kMostChannels) &&
              fits(z_channels, kMostChannels) && fits(embed_dim, kMostChannels) &&
              fits(n_embed, 1 << 24) && fits(num_res_blocks, 1024),
          "a setting of the autoencoder is out of its range");
  require(!channel_mult.empty() && channel_mult.size() <= 16, "1 to 16 levels are needed");
  require(channels % 32 == 0, "channels must be a multiple of 32");
  for (int factor : channel_mult)
    require(fits(factor, 1024) && fits(channels, kMostChannels / factor),
            "a level has too many channels, or none");
  return {in_channels,    out_channels, channels,  std::move(channel_mult),
          num_res_blocks, z_channels,   embed_dim, n_embed};
}

template <typename Entry, typename Make>
std::shared_ptr<VqAutoencoder> make_autoencoder(const Arithmetic& arithmetic,
                                                const VqSettings& settings,
                                                const std::map<std::string, Entry>& state,
                                                const Make& make) {
  std::set<std::string> asked;
  auto made = std::make_shared<VqAutoencoder>(
      arithmetic, settings, [&](const std::string& name, const std::vector<int>& shape) {
        return take(state, asked, name, shape, make);
      });
  for (const auto& [name, entry] : state)
    require(asked.contains(name), "the autoencoder has no use for " + name);
  return made;
}

bool has_bfloat16(const std::string& isa) { return select_kernels(isa).bfloat16 != nullptr; }

Arithmetic make_arithmetic(const std::string& isa, bool bfloat16) {
  require(!bfloat16 || has_bfloat16(isa), "'" + isa + "' does not multiply bfloat16");
  return {select_kernels(isa), bfloat16 ? Precision::kBfloat16 : Precision::kFloat32};
}

std::shared_ptr<VqAutoencoder> autoencoder_of_arrays(const std::string& isa, bool bfloat16,
                                                     const VqSettings& settings,
                                                     const State& state) {
  return make_autoencoder(make_arithmetic(isa, bfloat16), settings, state,
                          [](const Array<float>& array) -> WeightSource {
                            return [array](Buffer<float>&) { return array.data(); };
                          });
}

std::shared_ptr<VqAutoencoder> autoencoder_of_file(const std::string& isa, bool bfloat16,
                                                   const VqSettings& settings,
                                                   const std::string& path, const Places& places) {
  const auto file = std::make_shared<const WeightFile>(path);
  return make_autoencoder(make_arithmetic(isa, bfloat16), settings, places,
                          [&](const std::tuple<uint64_t, Shape>& place) -> WeightSource {
                            size_t count = 1;
                            for (size_t side : std::get<1>(place)) count *= side;
                            return
                                [file, offset = std::get<0>(place), count](Buffer<float>& space) {
                                  space.reserve(count);
                                  file->read(offset, space.data(), count * sizeof(float));
                                  return static_cast<const float*>(space.data());
                                };
                          });
}

// Checks a map and gives its size; sides of the larger of picture and latent count.
std::pair<int, int> size_of(const Planes& planes, int channels, int multiple, int scale) {
  require(planes.shape(0) == static_cast<size_t>(channels),
          "the map has " + std::to_string(planes.shape(0)) + " channels, the autoencoder takes " +
              std::to_string(channels));
  const size_t height = planes.shape(1), width = planes.shape(2), most = kMostPixels / 16;
  require(height > 0 && width > 0 && height <= most && width <= most &&
              height * width <= most / (scale * scale),
          "the map is empty or too large");
  require(height % multiple == 0 && width % multiple == 0,
          "the map is " + std::to_string(height) + "x" + std::to_string(width) +
              "; both must be multiples of " + std::to_string(multiple));
  return {static_cast<int>(height), static_cast<int>(width)};
}

Result encode(const VqAutoencoder& model, VqMemory& memory, Planes planes) {
  const int scale = model.scale();
  const auto [height, width] = size_of(planes, model.settings().in_channels, scale, 1);
  Result result =
      make_result({static_cast<size_t>(model.settings().embed_dim),
                   static_cast<size_t>(height / scale), static_cast<size_t>(width / scale)});
  {
    nb::gil_scoped_release unlocked;
    model.encode(planes.data(), height, width, result.data(), memory);
  }
  return result;
}

Result decode(const VqAutoencoder& model, VqMemory& memory, Planes latent) {
  const int scale = model.scale();
  const auto [height, width] = size_of(latent, model.settings().embed_dim, 1, scale);
  Result result =
      make_result({static_cast<size_t>(model.settings().out_channels),
                   static_cast<size_t>(height) * scale, static_cast<size_t>(width) * scale});
  {
    nb::gil_scoped_release unlocked;
    model.decode(latent.data(), height, width, result.data(), memory);
  }
  return result;
}

nb::tuple quantize(const VqAutoencoder& model, VqMemory& memory, Planes latent) {
  const auto [height, width] = size_of(latent, model.settings().embed_dim, 1, model.scale());
  const size_t h = height, w = width;
  Result z = make_result({latent.shape(0), h, w});
  auto* indices = new int32_t[h * w];
  nb::capsule owner(indices, [](void* p) noexcept { delete[] static_cast<int32_t*>(p); });
  {
    nb::gil_scoped_release unlocked;
    std::copy_n(latent.data(), latent.size(), z.data());
    model.quantize(z.data(), height * width, indices, memory);
  }
  return nb::make_tuple(z, nb::ndarray<nb::numpy, int32_t>(indices, {h, w}, owner));
}

}  // namespace

void bind_vq(nb::module_& m) {
  nb::class_<VqMemory>(m, "VqMemory")
      .def(
          "__init__",
          [](VqMemory* self, int threads) {
            require(threads >= 1 && threads <= 1024, "threads must be from 1 to 1024");
            new (self) VqMemory(threads);
          },
          "threads"_a);
  nb::class_<VqAutoencoder>(m, "VqAutoencoder")
      .def("encode", &encode, "memory"_a, "planes"_a)
      .def("quantize", &quantize, "memory"_a, "latent"_a)
      .def("decode", &decode, "memory"_a, "latent"_a);
  nb::class_<VqSettings>(m, "VqSettings");
  m.def("vq_settings", &make_settings, "in_channels"_a, "out_channels"_a, "channels"_a,
        "channel_mult"_a, "num_res_blocks"_a, "z_channels"_a, "embed_dim"_a, "n_embed"_a);
  m.def("has_bfloat16", &has_bfloat16, "isa"_a);
  m.def("vq_autoencoder", &autoencoder_of_arrays, "isa"_a, "bfloat16"_a, "settings"_a, "state"_a);
  m.def("vq_autoencoder_of_file", &autoencoder_of_file, "isa"_a, "bfloat16"_a, "settings"_a,
        "path"_a, "places"_a);
}

}  // namespace bimacosr
