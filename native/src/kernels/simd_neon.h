// Four floats. Included by neon.cpp only, inside its namespace, after <arm_neon.h>.
#define BIMACOSR_SIMD_NEON  // for what is not written on V

using V = float32x4_t;
constexpr int kLanes = 4;

inline V load(const float* p) { return vld1q_f32(p); }
inline void store(float* p, V v) { vst1q_f32(p, v); }
inline V set(float x) { return vdupq_n_f32(x); }
inline V add(V a, V b) { return vaddq_f32(a, b); }
inline V sub(V a, V b) { return vsubq_f32(a, b); }
inline V mul(V a, V b) { return vmulq_f32(a, b); }
inline V divide(V a, V b) { return vdivq_f32(a, b); }
inline V reciprocal(V a) { return divide(set(1.0f), a); }
inline V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
inline V max(V a, V b) { return vmaxq_f32(a, b); }
inline V min(V a, V b) { return vminq_f32(a, b); }
inline V abs(V a) { return vabsq_f32(a); }
// p 2^k for an integer-valued k from -126 to 127
inline V times_exp2(V p, V k) {
  const int32x4_t i = vaddq_s32(vcvtq_s32_f32(k), vdupq_n_s32(127));
  return mul(p, vreinterpretq_f32_s32(vshlq_n_s32(i, 23)));
}
inline V round_even(V a) { return vrndnq_f32(a); }
// a where x < 0, else b
inline V where_negative(V x, V a, V b) { return vbslq_f32(vcltzq_f32(x), a, b); }
inline bool any_zero(V x) { return vmaxvq_u32(vceqzq_f32(x)) != 0; }
// the first n lanes of v, 0 in the others
inline V first_lanes(V v, int n) {
  const int32x4_t lane = {0, 1, 2, 3};
  const uint32x4_t kept = vcltq_s32(lane, vdupq_n_s32(n));
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), kept));
}
inline V from_int16(int16x4_t i) { return vcvtq_f32_s32(vmovl_s16(i)); }
inline float total(V v) { return vaddvq_f32(v); }
inline void totals(V a, V b, V c, V d, float* to) {
  to[0] = total(a), to[1] = total(b), to[2] = total(c), to[3] = total(d);
}
