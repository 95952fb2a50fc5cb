// The loops are assembly: a compiler that sees that nothing comes of them leaves them out.
#include "ceiling.h"

#include <algorithm>
#include <cstdint>
#include <ctime>

namespace bimacosr {

// Each loop repeats its block `count` times and returns the products of signs of one block. They
// stand in the namespaces of the instruction sets, where alone such instructions may be, so they
// must not be inlined.
#if defined(__x86_64__) && defined(__GNUC__)

// An adder of three bits takes one more listed channel. Of four, two rows of weights list three,
// one of them both: three adders stand for the products of four channels and two rows.
constexpr double kProductsOfAdder = 8.0 / 3;

namespace avx2 {
// An adder: 256 pixels.
__attribute__((noinline)) double repeat(uint64_t count) {
  // clang-format off
#define STEP(sum, both, differ)                         \
  "vpxor %%ymm14, %%ymm15, %%ymm" differ "\n"           \
  "vpand %%ymm14, %%ymm15, %%ymm" both "\n"             \
  "vpand %%ymm" differ ", %%ymm" sum ", %%ymm13\n"      \
  "vpxor %%ymm" differ ", %%ymm" sum ", %%ymm" sum "\n" \
  "vpor %%ymm13, %%ymm" both ", %%ymm" both "\n"
#define STEPS STEP("0", "4", "8") STEP("1", "5", "9") STEP("2", "6", "10") STEP("3", "7", "11")
  // clang-format on
  asm volatile("1:\n" STEPS STEPS STEPS STEPS "dec %0\n jnz 1b\n vzeroupper\n"
               : "+r"(count)
               :
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                 "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#undef STEPS
#undef STEP
  return 4 * 4 * 256 * kProductsOfAdder;
}
}  // namespace avx2

namespace avx512 {
// An adder: 512 pixels.
__attribute__((noinline)) double repeat(uint64_t count) {
  // clang-format off
#define STEP(sum, carry)                                                                    \
  "vpternlogq $0x96, %%zmm14, %%zmm15, %%zmm" sum "\n vpternlogq $0xb2, %%zmm14, %%zmm" sum \
  ", %%zmm" carry "\n"
#define STEPS                                                  \
  STEP("0", "7") STEP("1", "8") STEP("2", "9") STEP("3", "10") \
  STEP("4", "11") STEP("5", "12") STEP("6", "13")
  // clang-format on
  asm volatile("1:\n" STEPS STEPS STEPS STEPS "dec %0\n jnz 1b\n vzeroupper\n"
               : "+r"(count)
               :
               : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                 "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
#undef STEPS
#undef STEP
  return 4 * 7 * 512 * kProductsOfAdder;
}
}  // namespace avx512

namespace amx {
// Four products of tiles: 16 x 16 sums of 64 channels each.
__attribute__((noinline)) double repeat(uint64_t count) {
  alignas(64) uint8_t config[64] = {1};
  for (int tile = 0; tile < 8; tile++) config[16 + 2 * tile] = 64, config[48 + tile] = 16;
  asm volatile(
      "ldtilecfg %1\n"
      "1:\n"
      "tdpbssd %%tmm6, %%tmm4, %%tmm0\n tdpbssd %%tmm6, %%tmm5, %%tmm2\n"
      "tdpbssd %%tmm7, %%tmm4, %%tmm1\n tdpbssd %%tmm7, %%tmm5, %%tmm3\n"
      "dec %0\n jnz 1b\n tilerelease\n"
      : "+r"(count)
      : "m"(config)
      : "cc");
  return 4 * 16 * 16 * 64;
}
}  // namespace amx

#elif defined(__aarch64__) && defined(__GNUC__)

namespace neon {
// An exclusive or, a count and an addition: 16 pixels of 8 channels.
__attribute__((noinline)) double repeat(uint64_t count) {
  // clang-format off
#define STEP(sum, bits)                                                                \
  "eor v" bits ".16b, v30.16b, v31.16b\n cnt v" bits ".16b, v" bits ".16b\n add v" sum \
  ".16b, v" sum ".16b, v" bits ".16b\n"
#define STEPS                                                     \
  STEP("0", "16") STEP("1", "17") STEP("2", "18") STEP("3", "19") \
  STEP("4", "20") STEP("5", "21") STEP("6", "22") STEP("7", "23")
  // clang-format on
  asm volatile("1:\n" STEPS STEPS STEPS STEPS "subs %0, %0, #1\n b.ne 1b\n"
               : "+r"(count)
               :
               : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19",
                 "v20", "v21", "v22", "v23", "v30", "v31");
#undef STEPS
#undef STEP
  return 4 * 8 * 16 * 8;
}
}  // namespace neon

#endif

namespace bench {
namespace {

using Repeat = double (*)(uint64_t count);

Repeat loop_of(std::string_view isa) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (isa == "avx2") return avx2::repeat;
  if (isa == "avx512") return avx512::repeat;
  if (isa == "amx") return amx::repeat;
#elif defined(__aarch64__) && defined(__GNUC__)
  if (isa == "neon") return neon::repeat;
#endif
  (void)isa;
  return nullptr;
}

double now() {
#ifdef CLOCK_THREAD_CPUTIME_ID
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
#else
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
#endif
}

#if defined(__GNUC__)
// Each addition waits for the one before, which takes a cycle.
double cycles_in(uint64_t count) {
  uint64_t sum = 1;
  for (uint64_t i = 0; i < count; i++) {
#define ADD()   \
  sum += count; \
  asm volatile("" : "+r"(sum))
    ADD();
    ADD();
    ADD();
    ADD();
    ADD();
    ADD();
    ADD();
    ADD();
#undef ADD
  }
  return 8.0 * static_cast<double>(count);
}
#endif

}  // namespace

Ceiling measure_ceiling(std::string_view isa) {
  Ceiling best{};
#if defined(__GNUC__)
  const Repeat repeat = loop_of(isa);
  if (!repeat) return best;
  constexpr int kRounds = 50;
  constexpr uint64_t kAdditions = 200'000, kBlocks = 20'000;
  for (int round = 0; round < kRounds; round++) {
    double began = now();
    const double cycles = cycles_in(kAdditions);
    best.cycles_per_second = std::max(best.cycles_per_second, cycles / (now() - began));
    began = now();
    const double macs = static_cast<double>(kBlocks) * repeat(kBlocks);
    best.macs_per_second = std::max(best.macs_per_second, macs / (now() - began));
  }
#else
  (void)isa;
#endif
  return best;
}

}  // namespace bench
}  // namespace bimacosr
