// Whether the parts of a UNet fit each other.
#include <stdexcept>
#include <string>

#include "bimacosr/unet.h"

namespace bimacosr {

namespace {

void require(bool condition, const char* message) {
  if (!condition) throw std::invalid_argument(message);
}

void require_layer(const BinaryLayerPtr& layer, int inputs, int outputs, int taps,
                   const char* message) {
  require(
      layer && layer->inputs() == inputs && layer->outputs() == outputs && layer->taps() == taps,
      message);
}

// Follows the channels and the level through the network.
struct Walk {
  int multiple, channels, level = 0;

  void operator()(const std::shared_ptr<const ResBlock>& block) {
    require(block != nullptr, "a residual block is missing");
    const int outputs = block->conv_in->outputs();
    require_layer(block->conv_in, channels, outputs, 9, "a residual block does not fit its input");
    require_layer(block->conv_out, outputs, outputs, 9, "a residual block does not fit itself");
    require(block->skip || channels == outputs, "a residual block lacks its skip_connection");
    if (block->skip)
      require_layer(block->skip, channels, outputs, 1, "a skip_connection does not fit its block");
    require_norm(block->norm_in, channels);
    require_norm(block->norm_out, outputs);
    channels = outputs;
  }
  void operator()(const std::shared_ptr<const SwinLayer>& layer) {
    require(layer != nullptr, "a Swin layer is missing");
    const int inner = layer->embed->outputs();
    require_layer(layer->embed, channels, inner, 1, "a patch_embed does not fit its input");
    require_layer(layer->unembed, inner, channels, 1, "a patch_unembed does not fit its output");
    require(multiple % (layer->window << level) == 0, "sizes are no multiples of the windows");
    for (const SwinBlock& block : layer->blocks) {
      require_layer(block.qkv, inner, 3 * inner, 1, "a qkv does not fit its block");
      require_layer(block.proj, inner, inner, 1, "a proj does not fit its block");
      require(inner % block.heads == 0, "channels are no multiple of the heads");
      require(block.shift < layer->window, "the shift is as large as the window");
      const int side = 2 * layer->window - 1;
      require(block.bias.size() == static_cast<size_t>(block.heads) * side * side,
              "a table of position biases does not fit its window");
      require_layer(block.fc1, inner, block.fc1->outputs(), 1, "a fc1 does not fit its block");
      require_layer(block.fc2, block.fc1->outputs(), inner, 1, "a fc2 does not fit its block");
      require_norm(block.norm_attention, inner);
      require_norm(block.norm_mlp, inner);
    }
  }
  void operator()(const Downsample& down) {
    require_layer(down.op, channels, channels, 9, "a downsampling does not fit its input");
    require(!down.op->has_branches(), "a downsampling has no branches");
    require(multiple % (2 << level) == 0, "sizes cannot be halved so often");
    level++;
  }
  void operator()(const Upsample& up) {
    require_layer(up.conv, channels, channels, 9, "an upsampling does not fit its input");
    require(level > 0, "there is more upsampling than downsampling");
    level--;
  }
  void operator()(const Stage& stage) {
    for (const Module& module : stage) std::visit(*this, module);
  }
  static void require_norm(const GroupNorm& norm, int channels) {
    require(norm.channels() == channels, "a norm does not fit its input");
  }
};

}  // namespace

Unet::Unet(UnetSource source) : source_(std::move(source)) {
  require(source_.multiple > 0, "the multiple of sizes must be positive");
  Walk walk{source_.multiple, source_.first->outputs()};
  std::vector<Walk> skips{walk};
  for (const Stage& stage : source_.down) {
    require(!stage.empty(), "a stage is empty");
    walk(stage);
    skips.push_back(walk);
  }
  require(!source_.middle.empty(), "a stage is empty");
  walk(source_.middle);
  require(source_.up.size() == skips.size(), "there is not one stage up for each stage down");
  for (const Stage& stage : source_.up) {
    require(!stage.empty() && stage[0].index() == 0, "a stage up begins with a residual block");
    require(skips.back().level == walk.level, "a skip has another size");
    walk.channels += skips.back().channels;
    skips.pop_back();
    walk(stage);
  }
  require(walk.level == 0, "there is less upsampling than downsampling");
  Walk::require_norm(source_.norm, walk.channels);
  require(source_.last->inputs() == walk.channels, "the last layer does not fit its input");
}

}  // namespace bimacosr
