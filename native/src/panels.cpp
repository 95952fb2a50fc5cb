#include "bimacosr/panels.h"

#include <algorithm>
#include <utility>

namespace bimacosr {

Panels::Panels(int panel, int outputs, int inputs, int taps, const float* bias)
    : panel_(panel), outputs_(outputs), inputs_(inputs), taps_(taps) {
  bias_.reserve(filled_up(outputs));
  if (bias) std::copy_n(bias, outputs, bias_.data());
}

Panels::Panels(int panel, int outputs, int inputs, int taps, const float* weights,
               const float* bias)
    : Panels(panel, outputs, inputs, taps, bias) {
  kept_.reserve(static_cast<size_t>(taps) * inputs * filled_up(outputs));
  for (int p = 0; p < count(); p++) pack(p, weights, kept_.data());
}

Panels::Panels(int panel, int outputs, int inputs, int taps, WeightSource weights,
               const float* bias)
    : Panels(panel, outputs, inputs, taps, bias) {
  source_ = std::move(weights);
}

int Panels::width(int panel) const { return std::min(panel_, filled_up(outputs_) - first(panel)); }

const float* Panels::ready(ThreadPool& pool, ConvScratch& scratch) const {
  if (!source_) return kept_.data();
  const float* weights = source_(scratch.read);
  scratch.panels.reserve(static_cast<size_t>(taps_) * inputs_ * filled_up(outputs_));
  pool.run(count(), [&](int p, int) { pack(p, weights, scratch.panels.data()); });
  return scratch.panels.data();
}

void Panels::pack(int panel, const float* weights, float* all) const {
  const int wide = width(panel), used = std::min(outputs_ - first(panel), wide);
  const size_t row = static_cast<size_t>(inputs_) * taps_;
  const float* from = weights + first(panel) * row;
  float* to = all + offset(panel);
  for (int c = 0; c < inputs_; c++)
    for (int t = 0; t < taps_; t++) {
      float* line = to + (static_cast<size_t>(t) * inputs_ + c) * wide;
      for (int n = 0; n < used; n++) line[n] = from[n * row + c * taps_ + t];
      std::fill(line + used, line + wide, 0.0f);
    }
}

}  // namespace bimacosr
