#include "bimacosr/vq.h"

#include <algorithm>
#include <utility>

namespace bimacosr {

namespace {

// From planes to a map, and back.
void fill(PixelMap& map, const float* planes, int channels, int height, int width) {
  map.reshape(channels, height, width);
  const size_t stride = map.pixel_stride(), pixels = map.pixels();
  std::fill_n(map.at(0, 0), pixels * stride, 0.0f);
  for (int c = 0; c < channels; c++)
    for (size_t p = 0; p < pixels; p++) map.at(0, 0)[p * stride + c] = *planes++;
}

void read(const PixelMap& map, float* planes) {
  const size_t stride = map.pixel_stride(), pixels = map.pixels();
  for (int c = 0; c < map.channels(); c++)
    for (size_t p = 0; p < pixels; p++) *planes++ = map.at(0, 0)[p * stride + c];
}

VqLevel make_level(const Arithmetic& arithmetic, const VqWeights& weights, const std::string& name,
                   int inputs, int outputs, int blocks) {
  VqLevel level;
  for (int i = 0; i < blocks; i++)
    level.blocks.emplace_back(arithmetic, weights, name + ".block." + std::to_string(i),
                              i ? outputs : inputs, outputs);
  return level;
}

// `first`: channels after the first layer; `bottom`: of the middle; `last`: before the last layer.
VqWay make_way(const Arithmetic& arithmetic, const VqWeights& weights, const std::string& name,
               int inputs, int first, int bottom, int last, int outputs,
               std::vector<VqLevel> levels) {
  return {
      load_convolution(arithmetic, weights, name + ".conv_in", Sampling::kSame, 3, first, inputs),
      std::move(levels),
      {arithmetic, weights, name + ".mid.block_1", bottom, bottom},
      {arithmetic, weights, name + ".mid.attn_1", bottom},
      {arithmetic, weights, name + ".mid.block_2", bottom, bottom},
      {weights, name + ".norm_out", last},
      load_convolution(arithmetic, weights, name + ".conv_out", Sampling::kSame, 3, outputs, last)};
}

VqWay make_encoder(const Arithmetic& arithmetic, const VqWeights& weights,
                   const VqSettings& settings) {
  std::vector<VqLevel> levels;
  int channels = settings.channels;
  for (size_t i = 0; i < settings.channel_mult.size(); i++) {
    const std::string name = "encoder.down." + std::to_string(i);
    const int width = settings.channels * settings.channel_mult[i];
    levels.push_back(
        make_level(arithmetic, weights, name, channels, width, settings.num_res_blocks));
    channels = width;
    if (i + 1 < settings.channel_mult.size())
      levels.back().resample.emplace(load_convolution(
          arithmetic, weights, name + ".downsample.conv", Sampling::kHalf, 3, width, width));
  }
  return make_way(arithmetic, weights, "encoder", settings.in_channels,
                  settings.channels * settings.channel_mult[0], channels, channels,
                  settings.z_channels, std::move(levels));
}

VqWay make_decoder(const Arithmetic& arithmetic, const VqWeights& weights,
                   const VqSettings& settings) {
  std::vector<VqLevel> levels;
  const int bottom = settings.channels * settings.channel_mult.back();
  int channels = bottom;
  for (int i = static_cast<int>(settings.channel_mult.size()) - 1; i >= 0; i--) {
    const std::string name = "decoder.up." + std::to_string(i);
    const int width = settings.channels * settings.channel_mult[i];
    levels.push_back(
        make_level(arithmetic, weights, name, channels, width, settings.num_res_blocks + 1));
    channels = width;
    if (i > 0)
      levels.back().resample.emplace(load_convolution(arithmetic, weights, name + ".upsample.conv",
                                                      Sampling::kDoubled, 3, width, width));
  }
  return make_way(arithmetic, weights, "decoder", settings.z_channels, bottom, bottom, channels,
                  settings.out_channels, std::move(levels));
}

}  // namespace

VqAutoencoder::VqAutoencoder(const Arithmetic& arithmetic, const VqSettings& settings,
                             const VqWeights& weights)
    : kernels_(*arithmetic.kernels.conv),
      settings_(settings),
      encoder_(make_encoder(arithmetic, weights, settings)),
      decoder_(make_decoder(arithmetic, weights, settings)),
      quant_(load_convolution(arithmetic, weights, "quant_conv", Sampling::kSame, 1,
                              settings.embed_dim, settings.z_channels)),
      post_quant_(load_convolution(arithmetic, weights, "post_quant_conv", Sampling::kSame, 1,
                                   settings.z_channels, settings.embed_dim)),
      codes_(filled_up(settings.n_embed)) {
  const int dims = settings.embed_dim;
  const Buffer<float> codes =
      load_array(weights, "quantize.embedding.weight", {settings.n_embed, dims});
  codebook_.reserve(static_cast<size_t>(codes_) * dims);
  squares_.reserve(codes_);
  for (int k = 0; k < codes_; k++) {
    squares_[k] = k < settings.n_embed ? 0.0f : 1e38f;
    for (int c = 0; c < dims && k < settings.n_embed; c++) {
      const float x = codes[static_cast<size_t>(k) * dims + c];
      codebook_[static_cast<size_t>(c) * codes_ + k] = x;
      squares_[k] += x * x;
    }
  }
}

void VqAutoencoder::run_middle(const VqWay& way, VqMemory& memory) const {
  way.block_1.run(memory);
  way.attention.run(memory);
  way.block_2.run(memory);
}

void VqAutoencoder::run_levels(const VqWay& way, VqMemory& memory) const {
  for (const VqLevel& level : way.levels) {
    for (const VqResBlock& block : level.blocks) block.run(memory);
    if (!level.resample) continue;
    memory.h.clear();
    {
      Convolution::Run runs[] = {{*level.resample,
                                  {&memory.x, nullptr, &memory.h, nullptr, &memory.of_x},
                                  memory.pool,
                                  memory.scratch}};
      run_and_release(runs, memory.x);
    }
    std::swap(memory.x, memory.h);
    memory.h.clear();
    memory.scratch = {};  // the next level's layers need less in the decoder, more in the encoder
  }
}

// The last layer, from memory.x to memory.h.
void VqAutoencoder::finish(const VqWay& way, VqMemory& memory) const {
  const Normalization norm = way.norm.fold(memory.of_x, true);
  way.last.run({&memory.x, &norm, &memory.h, nullptr, nullptr}, memory.pool, memory.scratch);
}

void VqAutoencoder::encode(const float* planes, int height, int width, float* latent,
                           VqMemory& memory) const {
  fill(memory.other, planes, settings_.in_channels, height, width);
  encoder_.first.run({&memory.other, nullptr, &memory.x, nullptr, &memory.of_x}, memory.pool,
                     memory.scratch);
  memory.other.clear();
  run_levels(encoder_, memory);
  run_middle(encoder_, memory);
  finish(encoder_, memory);
  quant_.run({&memory.h, nullptr, &memory.other, nullptr, nullptr}, memory.pool, memory.scratch);
  read(memory.other, latent);
  memory.clear();
}

void VqAutoencoder::quantize(float* z, int pixels, int32_t* indices, VqMemory& memory) const {
  const int dims = settings_.embed_dim;
  fill(memory.other, z, dims, 1, pixels);
  constexpr int kPixels = 256;
  memory.pool.run((pixels + kPixels - 1) / kPixels, [&](int job, int) {
    const int first = job * kPixels;
    kernels_.nearest({memory.other.at(0, first), memory.other.pixel_stride(),
                      std::min(kPixels, pixels - first), dims, codebook_.data(), squares_.data(),
                      codes_, indices + first});
  });
  for (int c = 0; c < dims; c++)
    for (int p = 0; p < pixels; p++, z++)
      *z += codebook_[static_cast<size_t>(c) * codes_ + indices[p]] - *z;
}

void VqAutoencoder::decode(const float* latent, int height, int width, float* planes,
                           VqMemory& memory) const {
  fill(memory.x, latent, settings_.embed_dim, height, width);
  post_quant_.run({&memory.x, nullptr, &memory.other, nullptr, nullptr}, memory.pool,
                  memory.scratch);
  decoder_.first.run({&memory.other, nullptr, &memory.x, nullptr, &memory.of_x}, memory.pool,
                     memory.scratch);
  memory.other.clear();
  run_middle(decoder_, memory);
  run_levels(decoder_, memory);
  finish(decoder_, memory);
  read(memory.h, planes);
  memory.clear();
}

}  // namespace bimacosr
