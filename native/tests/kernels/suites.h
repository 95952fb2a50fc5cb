// What the kernels of every instruction set must do. Each part checks one operator.
#pragma once

#include "bimacosr/kernels.h"
#include "report.h"

namespace bimacosr::tests {

void test_prepare(const Kernels& kernels, Report* report);
void test_shift_signs(const Kernels& kernels, Report* report);
void test_binary_gemm(const Kernels& kernels, Report* report);
void test_epilogue(const Kernels& kernels, Report* report);
void test_float_conv(const Kernels& kernels, Report* report);
void test_attention(const Kernels& kernels, Report* report);
void test_bfloat16(const Kernels& kernels, Report* report);

}  // namespace bimacosr::tests
