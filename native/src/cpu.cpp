#include "bimacosr/cpu.h"

#include <stdexcept>
#include <string>

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bimacosr {

namespace scalar {
extern const Kernels kKernels;
}
#ifdef BIMACOSR_X86
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}
namespace amx {
extern const Kernels kKernels;
}
#endif
#ifdef BIMACOSR_NEON
namespace neon {
extern const Kernels kKernels;
}
#endif

namespace {

#ifdef BIMACOSR_X86
// The compiler's runtime asks the processor and, for the wide registers, the operating system.
bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

bool has_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bitalg");
}

#ifdef __linux__
// Linux gives the tile registers to processes that ask for them.
bool has_amx() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return has_avx512() && __builtin_cpu_supports("amx-int8") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}
#else
bool has_amx() { return false; }
#endif
#endif

std::vector<const Kernels*> find_kernels() {
  std::vector<const Kernels*> found;
#ifdef BIMACOSR_X86
  __builtin_cpu_init();
  if (has_amx()) found.push_back(&amx::kKernels);
  if (has_avx512()) found.push_back(&avx512::kKernels);
  if (has_avx2()) found.push_back(&avx2::kKernels);
#endif
#ifdef BIMACOSR_NEON
  found.push_back(&neon::kKernels);
#endif
  found.push_back(&scalar::kKernels);
  return found;
}

}  // namespace

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> kernels = find_kernels();
  return kernels;
}

const Kernels& select_kernels(std::string_view name) {
  std::string names;
  for (const Kernels* kernels : available_kernels()) {
    if (name == "auto" || name == kernels->name) return *kernels;
    names += names.empty() ? "" : ", ";
    names += kernels->name;
  }
  throw std::invalid_argument("this machine cannot run the instruction set '" +
                              std::string(name) + "'; it has " + names);
}

}  // namespace bimacosr
