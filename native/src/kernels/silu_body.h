// Included after simd_*.h, in the namespace of the instruction set.

// 2^t with a relative error of 2e-7; t is clamped to [-126, 126], so that the result and its
// reciprocal are normal numbers
inline V power_of_two(V t) {
  t = min(max(t, set(-126.0f)), set(126.0f));
  const V k = round_even(t), f = sub(t, k);
  V p = set(1.32647180e-3f);
  p = fma(p, f, set(9.67151579e-3f));
  p = fma(p, f, set(5.55073395e-2f));
  p = fma(p, f, set(2.40222424e-1f));
  p = fma(p, f, set(6.93147004e-1f));
  return times_exp2(fma(p, f, set(1.0f)), k);
}

constexpr float kLog2E = 1.44269504f;

// e^x with a relative error of 2e-7 + 8e-8 |x|, down to e^-87
inline V exponential(V x) { return power_of_two(mul(x, set(kLog2E))); }

inline V silu(V x) {
  return mul(x, reciprocal(add(set(1.0f), power_of_two(mul(x, set(-kLog2E))))));
}
