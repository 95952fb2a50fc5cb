// Which instruction sets this build has and this machine can run.
#pragma once

#include <string_view>
#include <vector>

#include "bimacosr/kernels.h"

namespace bimacosr {

// Best first; never empty, since the scalar reference runs everywhere.
const std::vector<const Kernels*>& available_kernels();

// "auto" is the best one. Throws std::invalid_argument with the names that can be had.
const Kernels& select_kernels(std::string_view name);

// The same for a 1-bit layer, of which some are faster by another set than the best one. `pixels`:
// of the maps that it mostly sees.
const Kernels& select_kernels(std::string_view name, int inputs, int taps, int pixels);

}  // namespace bimacosr
