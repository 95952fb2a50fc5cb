// The signs of a map in the layout of an instruction set, as a 3x3 convolution reads them.
#pragma once

#include <memory>

#include "maps.h"

namespace bimacosr::tests {

class Signs {
 public:
  // `row` is a multiple of 16.
  Signs(const Kernels& kernels, int channels, int row, int pixels);

  uint8_t* origin() { return bytes_.data() + origin_; }
  size_t stride() const { return stride_; }
  // The sign of one channel of one pixel: -1, 0 or 1, or in layouts of bits -1 or 1.
  int at(int channel, int pixel) const;
  // What a tap reads that looks dy rows and dx pixels on; call it when the signs are there.
  const uint8_t* tap(int dy, int dx);

 private:
  size_t offset(int unit, int pixel) const;  // from bytes_
  const uint8_t* shifted(int dx);

  const Kernels& kernels_;
  int row_, pixels_, margin_, units_;
  size_t stride_ = 0, origin_ = 0;
  Array<uint8_t> bytes_;
  std::unique_ptr<Array<uint8_t>> copies_[3];  // of dx -1, 0, 1
};

}  // namespace bimacosr::tests
