// The Swin part: 1x1 layers and attention, window after window.
//
// A window is a row of its own tiles, so that its pixels lie in lanes and 1x1 layers need not know:
// the map has a row of `window`^2 pixels, rounded up to whole tiles, for each window.
#include <algorithm>
#include <cmath>

#include "unet_parts.h"

namespace bimacosr {

namespace {

constexpr int kNatural = UnetMemory::kNatural;
constexpr float kApart = -100.0f;  // added to the logits of two tokens that must not see each other

int window_tiles(int window) { return (window * window + kTile - 1) / kTile; }

Shape shape_of_windows(const Shape& shape, int window) {
  return {shape.height / window * (shape.width / window), window * window,
          window_tiles(window) * kTile};
}

// Which pixel of the natural order each pixel is, or -1.
std::vector<int32_t> pixels_in_order(const Shape& shape, int window, int shift) {
  if (shift == kNatural) {
    std::vector<int32_t> all(shape.tiles() * kTile, -1);
    for (int y = 0; y < shape.height; y++)
      for (int x = 0; x < shape.width; x++) all[y * shape.row + x] = y * shape.row + x;
    return all;
  }
  const Shape windows = shape_of_windows(shape, window);
  const int columns = shape.width / window;
  std::vector<int32_t> all(windows.pixels(), -1);
  for (int i = 0; i < windows.height; i++)
    for (int t = 0; t < windows.width; t++) {
      const int y = (i / columns * window + t / window + shift) % shape.height;
      const int x = (i % columns * window + t % window + shift) % shape.width;
      all[i * windows.row + t] = y * shape.row + x;
    }
  return all;
}

const Order& order_between(const Shape& shape, int window, int from, int to, UnetMemory& memory) {
  for (const UnetMemory::NamedOrder& known : memory.orders)
    if (known.shape == shape && known.window == window && known.from == from && known.to == to)
      return known.order;
  const std::vector<int32_t> old = pixels_in_order(shape, window, from);
  std::vector<int32_t> place(shape.tiles() * kTile, -1);
  for (size_t p = 0; p < old.size(); p++)
    if (old[p] >= 0) place[old[p]] = static_cast<int32_t>(p);
  std::vector<int32_t> source = pixels_in_order(shape, window, to);
  for (int32_t& p : source) p = p < 0 ? -1 : place[p];
  constexpr size_t kMostOrders = 64;
  if (memory.orders.size() == kMostOrders) memory.orders.clear();
  memory.orders.push_back({shape, window, from, to, Order(source)});
  return memory.orders.back().order;
}

// heads x keys x queries; the last `shift` columns and the others are kept apart, if asked
void expand_bias(const SwinBlock& block, int window, bool apart, std::vector<float>& to) {
  const int tokens = window * window, row = window_tiles(window) * kTile, side = 2 * window - 1;
  to.assign(static_cast<size_t>(block.heads) * tokens * row, 0.0f);
  for (int h = 0; h < block.heads; h++)
    for (int key = 0; key < tokens; key++)
      for (int query = 0; query < tokens; query++) {
        const int dy = query / window - key / window + window - 1;
        const int dx = query % window - key % window + window - 1;
        float bias = block.bias[static_cast<size_t>(h) * side * side + dy * side + dx];
        const int border = window - block.shift;
        if (apart && (query % window >= border) != (key % window >= border)) bias += kApart;
        to[(static_cast<size_t>(h) * tokens + key) * row + query] = bias;
      }
}

class SwinRun {
 public:
  SwinRun(const SwinLayer& layer, const Feature& in, UnetMemory& memory)
      : layer_(layer),
        memory_(memory),
        shape_(in.map.shape()),
        windows_(shape_of_windows(shape_, layer.window)),
        window_tiles_(window_tiles(layer.window)),
        columns_(shape_.width / layer.window) {
    channels_ = layer.embed->outputs();
    for (Feature& tokens : memory.tokens) {
      tokens.reshape(channels_, windows_);  // so that both have room for either order
      tokens.reshape(channels_, shape_);
    }
    BinaryCall call;
    call.inputs[0] = in.map.view();
    call.moments = now().moments.data();
    layer.embed->run(call, now().map, memory.space);
  }

  void block(int index) {
    const SwinBlock& block = layer_.blocks[index];
    to_order(block.shift);
    attend(block, layer_.biases[index]);
    mix_channels(block);
  }

  void finish(Feature& out) {
    to_order(kNatural);
    out.reshape(layer_.unembed->outputs(), shape_);
    BinaryCall call;
    call.inputs[0] = now().map.view();
    call.moments = out.moments.data();
    layer_.unembed->run(call, out.map, memory_.space);
  }

 private:
  Feature& now() { return memory_.tokens[now_]; }

  void to_order(int order) {
    if (order == order_) return;
    Timer timer(memory_.space, Work::kRearrange);
    const Order& change = order_between(shape_, layer_.window, order_, order, memory_);
    order_ = order;
    const Shape& target = order == kNatural ? shape_ : windows_;
    if (change.identity()) {
      now().map.reshape(channels_, target);
      return;
    }
    Feature& before = now();
    now_ = 1 - now_;
    now().reshape(channels_, target);
    // the sums of a norm do not depend on the order of the pixels
    std::swap(now().moments, before.moments);
    now().moment_shape = before.moment_shape;
    change.apply(before.map.view(), now().map.target(), memory_.pool);
  }

  // Calls work(first window, windows, worker) for all windows, some at a time.
  template <typename Function>
  void for_strips(const Function& work) {
    const int threads = memory_.pool.threads();
    const int tiles = strip_tiles(layer_.embed->kernels(), windows_.tiles(), threads);
    const int each = std::max(1, tiles / window_tiles_);
    const int strips = (windows_.height + each - 1) / each;
    const auto strip = [&](int i, UnetMemory::Worker& worker) {
      work(i * each, std::min(each, windows_.height - i * each), worker);
    };
    // too few strips for the threads: all threads share each of them
    if (strips < threads)
      for (int i = 0; i < strips; i++) strip(i, memory_.all);
    else
      memory_.pool.run(strips, [&](int i, int thread) { strip(i, *memory_.workers[thread]); });
  }

  Target part(float* data, int channels, int first, int count) const {
    const size_t stride = static_cast<size_t>(channels) * kTile;
    return {data + first * window_tiles_ * stride, stride, {count, windows_.width, windows_.row}};
  }
  static MapView view(const Target& target, int channels) {
    return {target.data, target.tile_stride, channels};
  }
  // Of one of two layers that all strips go through.
  const uint8_t* list(const BinaryLayer& layer, int which) {
    return layer.list_weights(windows_.pixels(), memory_.space, memory_.lists[which]);
  }
  float* moments(int first) {
    return now().moments.data() + static_cast<size_t>(first) * window_tiles_ * channels_ * 2;
  }

  void attend(const SwinBlock& block, const SwinLayer::Bias& bias) {
    fold(block.norm_attention);
    now().moment_shape = windows_;
    const uint8_t* lists[] = {list(*block.qkv, 0), list(*block.proj, 1)};
    for_strips([&](int first, int count, UnetMemory::Worker& worker) {
      const size_t floats = static_cast<size_t>(count) * window_tiles_ * channels_ * kTile;
      worker.qkv.reserve(3 * floats);
      const size_t scratch = static_cast<size_t>(windows_.width) * kTile;
      worker.scratch.reserve(worker.pool.threads() * scratch);
      const Target tokens = part(now().map.data(), channels_, first, count);
      const Target qkv = part(worker.qkv.data(), 3 * channels_, 0, count);
      BinaryCall in;
      in.inputs[0] = view(tokens, channels_);
      in.gain = memory_.affine.gain.data();
      in.shift = memory_.affine.shift.data();
      in.lists = lists[0];
      block.qkv->run(in, qkv, worker.space);
      {
        Timer timer(worker.space, Work::kAttention);
        worker.pool.run(count, [&](int i, int thread) {
          const bool last_row = first + i >= windows_.height - columns_;
          attend_window(block, last_row && block.shift ? bias.last_row : bias.normal, qkv, i,
                        worker.scratch.data() + thread * scratch);
        });
      }
      BinaryCall out;
      out.inputs[0] = view(qkv, channels_);
      out.residual = view(tokens, channels_);
      out.moments = moments(first);
      out.lists = lists[1];
      block.proj->run(out, tokens, worker.space);
    });
  }

  // What comes out takes the place of the queries.
  void attend_window(const SwinBlock& block, const std::vector<float>& bias, const Target& qkv,
                     int window, float* scratch) const {
    AttentionTask task{};
    float* const at = qkv.data + window * window_tiles_ * qkv.tile_stride;
    task.qkv = at;
    task.tile_stride = qkv.tile_stride;
    task.tokens = windows_.width;
    task.tiles = window_tiles_;
    task.heads = block.heads;
    task.head_channels = channels_ / block.heads;
    task.scale = 1 / std::sqrt(static_cast<float>(task.head_channels));
    task.bias = bias.data();
    task.out = at;
    task.out_tile_stride = qkv.tile_stride;
    task.scratch = scratch;
    layer_.embed->kernels().attention(task);
  }

  void mix_channels(const SwinBlock& block) {
    fold(block.norm_mlp);
    const int hidden_channels = block.fc1->outputs();
    const uint8_t* lists[] = {list(*block.fc1, 0), list(*block.fc2, 1)};
    for_strips([&](int first, int count, UnetMemory::Worker& worker) {
      worker.hidden.reserve(static_cast<size_t>(count) * window_tiles_ * hidden_channels * kTile);
      const Target tokens = part(now().map.data(), channels_, first, count);
      const Target hidden = part(worker.hidden.data(), hidden_channels, 0, count);
      BinaryCall in;
      in.inputs[0] = view(tokens, channels_);
      in.gain = memory_.affine.gain.data();
      in.shift = memory_.affine.shift.data();
      in.gelu = true;
      in.lists = lists[0];
      block.fc1->run(in, hidden, worker.space);
      BinaryCall out;
      out.inputs[0] = view(hidden, hidden_channels);
      out.residual = view(tokens, channels_);
      out.moments = moments(first);
      out.lists = lists[1];
      block.fc2->run(out, tokens, worker.space);
    });
  }

  void fold(const GroupNorm& norm) {
    Timer timer(memory_.space, Work::kNorm);
    const Feature* inputs[] = {&now()};
    norm.fold(inputs, memory_.affine);
  }

  const SwinLayer& layer_;
  UnetMemory& memory_;
  const Shape shape_, windows_;
  const int window_tiles_, columns_;
  int channels_, now_ = 0, order_ = kNatural;
};

}  // namespace

int strip_tiles(const Kernels& kernels, int tiles, int threads) {
  constexpr int kLeast = 4;
  const int share = (tiles + threads - 1) / threads;
  return std::max(kLeast, std::min(share, kernels.gemm_pixels / kTile));
}

SwinLayer::SwinLayer(BinaryLayerPtr embed, BinaryLayerPtr unembed, int window,
                     std::vector<SwinBlock> blocks)
    : embed(embed), unembed(unembed), window(window), blocks(std::move(blocks)) {
  for (const SwinBlock& block : this->blocks) {
    Bias& bias = biases.emplace_back();
    expand_bias(block, window, false, bias.normal);
    if (block.shift) expand_bias(block, window, true, bias.last_row);
  }
}

void run_swin(const SwinLayer& layer, const Feature& in, Feature& out, UnetMemory& memory) {
  SwinRun run(layer, in, memory);
  for (size_t i = 0; i < layer.blocks.size(); i++) run.block(static_cast<int>(i));
  run.finish(out);
}

}  // namespace bimacosr
