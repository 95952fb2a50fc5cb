// Included after simd_*.h, in the namespace of the instruction set.

// e^x with a relative error of 2e-7: degree 6 on [-ln2/2, ln2/2]; x is clamped to [-87, 87], so that
// the reciprocal of the result is a normal number too
inline V exponential(V x) {
  x = min(max(x, set(-87.0f)), set(87.0f));
  const V k = round_even(mul(x, set(1.44269504f)));
  V r = fma(k, set(-0.693359375f), x);
  r = fma(k, set(2.12194440e-4f), r);
  V p = set(1.38888889e-3f);
  p = fma(p, r, set(8.33333333e-3f));
  p = fma(p, r, set(4.16666667e-2f));
  p = fma(p, r, set(1.66666667e-1f));
  p = fma(p, r, set(0.5f));
  p = fma(p, r, set(1.0f));
  p = fma(p, r, set(1.0f));
  return times_exp2(p, k);
}

inline V silu(V x) {
  return mul(x, reciprocal(add(set(1.0f), exponential(sub(set(0.0f), x)))));
}
