// The parts of the UNet, as unet.cpp calls them.
#pragma once

#include "bimacosr/unet.h"

namespace bimacosr {

using Inputs = std::span<const Feature* const>;  // one feature, or two to be concatenated

// Fills inputs, gain and shift of a call whose layer reads norm(inputs).
void read_normed(BinaryCall& call, const GroupNorm& norm, Inputs inputs, UnetMemory& memory);

void run_swin(const SwinLayer& layer, const Feature& in, Feature& out, UnetMemory& memory);

}  // namespace bimacosr
