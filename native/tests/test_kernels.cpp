// Checks every operator of every instruction set of this machine against plain loops.
//
//   test_kernels [NAME...]   only these instruction sets; one the machine lacks is a failure
#include <cstdio>
#include <stdexcept>

#include "bimacosr/cpu.h"
#include "kernels/suites.h"

namespace {

using namespace bimacosr;

bool passes(const Kernels& kernels) {
  tests::Report report(kernels.name);
  tests::test_prepare(kernels, &report);
  tests::test_shift_signs(kernels, &report);
  tests::test_binary_gemm(kernels, &report);
  tests::test_epilogue(kernels, &report);
  tests::test_float_conv(kernels, &report);
  tests::test_attention(kernels, &report);
  tests::test_bfloat16(kernels, &report);
  std::printf("%s: %d checks, %d failed\n", kernels.name, report.checks(), report.failures());
  return report.failures() == 0;
}

}  // namespace

int main(int argc, char** argv) {
  bool good = true;
  try {
    for (int i = 1; i < argc; i++) good &= passes(select_kernels(argv[i]));
    if (argc == 1)
      for (const Kernels* kernels : available_kernels()) good &= passes(*kernels);
  } catch (const std::invalid_argument& error) {
    std::printf("%s\n", error.what());
    good = false;
  }
  return good ? 0 : 1;
}
