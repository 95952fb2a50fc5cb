#include "bimacosr/cpu.h"

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <string>

#ifdef BIMACOSR_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
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
// Asked here and not by __builtin_cpu_supports, for which Clang on Windows has no runtime library.
struct Processor {
  bool avx2 = false, avx512 = false, amx = false;
};

constexpr bool has(uint32_t word, std::initializer_list<int> bits) {
  for (int bit : bits)
    if (!(word >> bit & 1)) return false;
  return true;
}

Processor ask_processor() {
  Processor found;
  uint32_t a, b, c, d;
  constexpr int kFma = 12, kPopcnt = 23, kXgetbv = 27;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !has(c, {kFma, kPopcnt, kXgetbv})) return found;
  // the registers that the operating system saves when it changes threads
  uint32_t saved, upper;
  asm("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
  constexpr int kXmm = 1, kYmm = 2, kMasks = 5, kZmm = 6, kHighZmm = 7, kTileConfig = 17,
                kTiles = 18;
  if (!has(saved, {kXmm, kYmm}) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  constexpr int kAvx2 = 5, kAvx512F = 16, kAvx512Dq = 17, kAvx512Bw = 30, kAvx512Vl = 31;  // of b
  constexpr int kVbmi = 1, kVbmi2 = 6, kGfni = 8, kBitalg = 12;                            // of c
  constexpr int kAmxBf16 = 22, kAmxTile = 24, kAmxInt8 = 25;                               // of d
  constexpr int kAvx512Bf16 = 5;  // of a, leaf 1
  found.avx2 = has(b, {kAvx2});
  found.avx512 = found.avx2 && has(saved, {kMasks, kZmm, kHighZmm}) &&
                 has(b, {kAvx512F, kAvx512Dq, kAvx512Bw, kAvx512Vl}) &&
                 has(c, {kVbmi, kVbmi2, kGfni, kBitalg});
  found.amx = found.avx512 && has(saved, {kTileConfig, kTiles}) &&
              has(d, {kAmxBf16, kAmxTile, kAmxInt8}) && __get_cpuid_count(7, 1, &a, &b, &c, &d) &&
              has(a, {kAvx512Bf16});
  return found;
}

// Linux gives the tile registers to processes that ask for them; elsewhere they are not used.
bool may_use_tiles() {
#ifdef __linux__
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

std::vector<const Kernels*> find_kernels() {
  std::vector<const Kernels*> found;
#ifdef BIMACOSR_X86
  const Processor processor = ask_processor();
  if (processor.amx && may_use_tiles()) found.push_back(&amx::kKernels);
  if (processor.avx512) found.push_back(&avx512::kKernels);
  if (processor.avx2) found.push_back(&avx2::kKernels);
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
  throw std::invalid_argument("this machine cannot run the instruction set '" + std::string(name) +
                              "'; it has " + names);
}

// Products of tiles have to be stored before they are scaled, which pays if they are sums of many;
// adders of bits are at their best with 512 pixels or 64. Measured, AMX is the faster for 3x3
// layers of many channels on maps of 16x16, and for no 1x1 layer.
const Kernels& select_kernels(std::string_view name, int inputs, int taps, int pixels) {
  constexpr int kLeastChannels = 256, kLeastPixels = 65, kMostPixels = 256;
  const Kernels& best = select_kernels(name);
  if (name != "auto" || best.sign_layout != SignLayout::kGroups) return best;
  const bool tiles =
      taps == 9 && inputs >= kLeastChannels && pixels >= kLeastPixels && pixels <= kMostPixels;
  return tiles ? best : *available_kernels()[1];
}

}  // namespace bimacosr
