// The autoencoder from Python: weights by their names in the state dict.
#include <nanobind/stl/map.h>

#include <map>
#include <set>

#include "arrays.h"
#include "bimacosr/cpu.h"
#include "bimacosr/vq.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace bimacosr {
namespace {

using State = std::map<std::string, Array<float>>;

std::string shape_text(const std::vector<int>& shape) {
  std::string text;
  for (int side : shape) text += (text.empty() ? "" : "x") + std::to_string(side);
  return text;
}

// What the network asks for, checked; each name once.
const float* find(const State& state, std::set<std::string>& asked, const std::string& name,
                  const std::vector<int>& shape) {
  const auto found = state.find(name);
  require(found != state.end(), "the autoencoder lacks " + name);
  std::vector<int> sides;
  for (size_t i = 0; i < found->second.ndim(); i++)
    sides.push_back(static_cast<int>(found->second.shape(i)));
  require(sides == shape,
          name + " is " + shape_text(sides) + "; the settings say " + shape_text(shape));
  asked.insert(name);
  return found->second.data();
}

std::shared_ptr<VqAutoencoder> make_autoencoder(const std::string& isa, int in_channels,
                                                int out_channels, int channels,
                                                std::vector<int> channel_mult, int num_res_blocks,
                                                int z_channels, int embed_dim, int n_embed,
                                                const State& state) {
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
  std::set<std::string> asked;
  auto made = std::make_shared<VqAutoencoder>(
      select_kernels(isa),
      VqSettings{in_channels, out_channels, channels, std::move(channel_mult), num_res_blocks,
                 z_channels, embed_dim, n_embed},
      [&](const std::string& name, const std::vector<int>& shape) {
        return find(state, asked, name, shape);
      });
  for (const auto& [name, array] : state)
    require(asked.contains(name), "the autoencoder has no use for " + name);
  return made;
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
  Result result = make_result({static_cast<size_t>(model.settings().embed_dim),
                               static_cast<size_t>(height / scale),
                               static_cast<size_t>(width / scale)});
  {
    nb::gil_scoped_release unlocked;
    model.encode(planes.data(), height, width, result.data(), memory);
  }
  return result;
}

Result decode(const VqAutoencoder& model, VqMemory& memory, Planes latent) {
  const int scale = model.scale();
  const auto [height, width] = size_of(latent, model.settings().embed_dim, 1, scale);
  Result result = make_result({static_cast<size_t>(model.settings().out_channels),
                               static_cast<size_t>(height) * scale,
                               static_cast<size_t>(width) * scale});
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
  m.def("vq_autoencoder", &make_autoencoder, "isa"_a, "in_channels"_a, "out_channels"_a,
        "channels"_a, "channel_mult"_a, "num_res_blocks"_a, "z_channels"_a, "embed_dim"_a,
        "n_embed"_a, "state"_a);
}

}  // namespace bimacosr
