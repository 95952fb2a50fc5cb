// What a core can do at best, measured in loops that touch no memory.
#pragma once

#include <string_view>

namespace bimacosr::bench {

struct Ceiling {
  double cycles_per_second;  // from a chain of additions that wait for each other
  double macs_per_second;    // products of signs, in the instructions of the set's kernel alone
};

// For an instruction set that the machine has; both are 0 where no loop is written for it. The
// fastest of many short runs in this thread's processor time.
Ceiling measure_ceiling(std::string_view isa);

}  // namespace bimacosr::bench
