#include "bimacosr/edge.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace bimacosr {

namespace {

// Bicubic enlargement by a whole factor (a = -0.75, no antialiasing, edges repeated): output pixel
// scale * i + phase is a weighted sum of inputs i + first .. i + first + 3.
struct Phase {
  int first;
  std::array<float, 4> weights;
};

float cubic(float distance) {
  constexpr float a = -0.75f;
  const float d = std::fabs(distance);
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
  return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

std::vector<Phase> bicubic_phases(int scale) {
  std::vector<Phase> phases(scale);
  for (int i = 0; i < scale; i++) {
    const float position = (static_cast<float>(i) + 0.5f) / static_cast<float>(scale) - 0.5f;
    const float whole = std::floor(position), part = position - whole;
    phases[i].first = static_cast<int>(whole) - 1;
    for (int k = 0; k < 4; k++) phases[i].weights[k] = cubic(static_cast<float>(k - 1) - part);
  }
  return phases;
}

int clamp(int value, int last) { return std::clamp(value, 0, last); }

}  // namespace

void EdgeModel::restore(const float* lq, int height, int width, const float* noise, float* sr,
                        Memory& memory) const {
  const int scale = source_.scale, latents = 3 * scale * scale;
  const Shape shape = Shape::of(height, width);
  const std::vector<Phase> phases = bicubic_phases(scale);
  Workspace& space = memory.space;
  memory.input.reshape(latents + 3, shape);
  memory.latent.reshape(latents, shape);
  memory.features.reshape(source_.first->outputs(), shape);

  // z_y by rows: columns first for each colour, then rows; all in [-1, 1]
  const size_t padded = width + 8;  // four repeated pixels at either end
  memory.rows.reserve(static_cast<size_t>(memory.pool.threads()) * 3 * (padded + width));
  memory.pool.run(height, [&](int y, int thread) {
    float* line = memory.rows.data() + static_cast<size_t>(thread) * 3 * (padded + width);
    float* wide = line + 3 * padded;
    for (int dy = 0; dy < scale; dy++) {
      const Phase& vertical = phases[dy];
      std::array<const float*, 4> from;
      for (int k = 0; k < 4; k++)
        from[k] = lq + static_cast<size_t>(clamp(y + vertical.first + k, height - 1)) * width * 3;
      for (int c = 0; c < 3; c++) {
        float* to = line + c * padded;
        for (int x = 0; x < width; x++) {
          float sum = 0;
          for (int k = 0; k < 4; k++) sum += vertical.weights[k] * (from[k][3 * x + c] * 2 - 1);
          to[x + 4] = sum;
        }
        for (int i = 0; i < 4; i++) to[i] = to[4], to[width + 4 + i] = to[width + 3];
      }
      for (int c = 0; c < 3; c++)
        for (int dx = 0; dx < scale; dx++) {
          const Phase& horizontal = phases[dx];
          const float* in = line + c * padded + 4 + horizontal.first;
          for (int x = 0; x < width; x++)
            wide[x] = horizontal.weights[0] * in[x] + horizontal.weights[1] * in[x + 1] +
                      horizontal.weights[2] * in[x + 2] + horizontal.weights[3] * in[x + 3];
          const int channel = (c * scale + dy) * scale + dx;
          for (int x = 0; x < width; x += 16) {
            const int count = std::min(16, width - x);
            float* latent = memory.latent.data() + memory.latent.index(y, x) + channel * kTile;
            float* input = memory.input.data() + memory.input.index(y, x) + channel * kTile;
            const float* drawn =
                noise ? noise + (static_cast<size_t>(channel) * height + y) * width + x : nullptr;
            for (int i = 0; i < count; i++) {
              const float x_T = wide[x + i] + (drawn ? source_.noise_scale * drawn[i] : 0.0f);
              latent[i] = wide[x + i];
              input[i] = source_.input_scale * x_T;
            }
          }
        }
    }
    for (int x = 0; x < width; x++) {
      float* input = memory.input.data() + memory.input.index(y, x) + latents * kTile;
      for (int c = 0; c < 3; c++)
        input[c * kTile] = lq[(static_cast<size_t>(y) * width + x) * 3 + c] * 2 - 1;
    }
  });

  source_.first->run(memory.input.view(), memory.features, space);
  for (const EdgeBlock& block : source_.body) {
    BinaryCall call;
    call.inputs[0] = memory.features.view();
    call.shift = block.shift.data();
    call.prelu = block.prelu.data();
    call.output_gain = block.gain.data();
    call.residual = memory.features.view();
    block.conv->run(call, memory.features, space);
  }
  memory.input.reshape(latents, shape);
  source_.last->run(memory.features.view(), memory.input, space);

  const float of_latent = source_.residual ? 1.0f : 0.0f, sign = source_.residual ? -1.0f : 1.0f;
  memory.pool.run(height, [&](int y, int) {
    for (int dy = 0; dy < scale; dy++) {
      float* to = sr + (static_cast<size_t>(y) * scale + dy) * width * scale * 3;
      for (int x = 0; x < width; x++) {
        const size_t at = memory.latent.index(y, x);
        for (int dx = 0; dx < scale; dx++)
          for (int c = 0; c < 3; c++) {
            const size_t channel = at + static_cast<size_t>((c * scale + dy) * scale + dx) * kTile;
            const float z_0 =
                of_latent * memory.latent.data()[channel] + sign * memory.input.data()[channel];
            *to++ = z_0 * 0.5f + 0.5f;
          }
      }
    }
  });
}

}  // namespace bimacosr
