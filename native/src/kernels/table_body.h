// What the tables of all instruction sets take from the same names. Included last by each, in its
// namespace; what only some have is added there.
constexpr Kernels table_of(const char* name) {
  return {
      .name = name,
      .sign_layout = SignLayout::kPlanes,
      .unit_channels = SignUnit::kChannels,
      .unit_multiple = 1,
      .zero_is_exact = SignUnit::kZeroIsExact,
      .gemm_channels = kChannels,
      .gemm_pixels = kPixels,
      .conv_channels = kConvChannels,
      .weight_bytes = weight_bytes,
      .scratch_bytes = scratch_bytes,
      .pack_weights = pack_weights,
      .prepare = prepare,
      .binary_gemm = binary_gemm,
      .epilogue = epilogue,
      .map_moments = map_moments,
      .float_conv = float_conv,
      .attention = attention,
      .combine_phases = combine_phases,
      .conv = &kConvKernels,
  };
}
