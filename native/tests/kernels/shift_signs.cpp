#include "maps.h"
#include "suites.h"

namespace bimacosr::tests {

void test_shift_signs(const Kernels& kernels, Report* report) {
  if (kernels.sign_layout != SignLayout::kGroups) return;
  constexpr int kUnits = 3, kGroups = 6, kGroupBytes = 64, kSignBytes = 4;
  constexpr size_t kStride = (kUnits + 1) * kGroupBytes;
  Random random(5);
  Array<uint8_t> from(kGroups * kStride);
  for (size_t i = 0; i < from.size(); i++) from[i] = static_cast<uint8_t>(random.below(256));
  const auto place = [](int unit, int pixel) {
    return pixel / 16 * kStride + static_cast<size_t>(unit) * kGroupBytes +
           static_cast<size_t>(pixel) % 16 * kSignBytes;
  };
  for (int shift = -15; shift <= 15; shift++) {
    Array<uint8_t> to(from.size());
    const std::string test = "shift_signs by " + std::to_string(shift);
    // pixels count from the second group, so that there is something before and after
    kernels.shift_signs(from.data() + kStride, to.data() + kStride, kStride, kUnits, shift, 0,
                        16 * (kGroups - 2));
    for (int p = 0; p < 16 * kGroups; p++)
      for (int u = 0; u < kUnits; u++)
        for (int i = 0; i < kSignBytes; i++) {
          const bool moved = p >= 16 && p < 16 * (kGroups - 1);
          const int expected = moved ? from[place(u, p + shift) + i] : 0;
          report->check(to[place(u, p) + i] == expected, test, "pixel " + std::to_string(p - 16));
        }
  }
}

}  // namespace bimacosr::tests
