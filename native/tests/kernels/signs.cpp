#include "signs.h"

namespace bimacosr::tests {
namespace {

int count_units(const Kernels& kernels, int channels) {
  const int units = (channels + kernels.unit_channels - 1) / kernels.unit_channels;
  return round_up(units, kernels.unit_multiple);
}

}  // namespace

Signs::Signs(const Kernels& kernels, int channels, int row, int pixels)
    : kernels_(kernels),
      row_(row),
      pixels_(round_up(pixels, kTile)),
      margin_(round_up(row + 1, kTile)),
      units_(count_units(kernels, channels)),
      bytes_(static_cast<size_t>(units_) * (pixels_ + 2 * margin_) *
             (kernels.sign_layout == SignLayout::kGroups ? 4 : 1)) {
  if (kernels.sign_layout == SignLayout::kGroups) {
    stride_ = static_cast<size_t>(units_) * 64;
    origin_ = margin_ / 16 * stride_;
  } else {
    stride_ = static_cast<size_t>(pixels_ + 2 * margin_);
    origin_ = static_cast<size_t>(margin_);
  }
}

size_t Signs::offset(int unit, int pixel) const {
  const size_t from_start = static_cast<size_t>(pixel + margin_);
  if (kernels_.sign_layout == SignLayout::kPlanes) return unit * stride_ + from_start;
  return from_start / 16 * stride_ + static_cast<size_t>(unit) * 64 + from_start % 16 * 4;
}

int Signs::at(int channel, int pixel) const {
  const int unit = channel / kernels_.unit_channels, within = channel % kernels_.unit_channels;
  const uint8_t* byte = bytes_.data() + offset(unit, pixel);
  if (kernels_.sign_layout == SignLayout::kGroups) return static_cast<int8_t>(byte[within]);
  return (*byte >> within & 1) ? 1 : -1;
}

const uint8_t* Signs::tap(int dy, int dx) {
  if (kernels_.sign_layout == SignLayout::kPlanes) return origin() + dy * row_ + dx;
  return shifted(dx) + dy * row_ / 16 * static_cast<ptrdiff_t>(stride_);
}

// The origin of a copy whose pixel p is pixel p + dx.
const uint8_t* Signs::shifted(int dx) {
  if (dx == 0) return origin();
  auto& copy = copies_[dx + 1];
  if (!copy) {
    copy = std::make_unique<Array<uint8_t>>(bytes_.size());
    kernels_.shift_signs(origin(), copy->data() + origin_, stride_, units_, dx, 16 - margin_,
                         pixels_ + margin_ - 16);
  }
  return copy->data() + origin_;
}

}  // namespace bimacosr::tests
