// GELU from tables that one instruction looks up, in half the time of float_body.h's formula.
// Included by float_body.h where simd_avx512.h is the instruction set.

// Phi(-z) for z from 0 to 16 kGeluPiece, which is -kGeluZero: in each sixteenth a
// polynomial of degree 4 around its middle, whose largest relative error is as small as may be.
// Row k belongs to the kth power. Error: 1.3e-7, and 3e-4 of what is near 0 at the end.
constexpr float kGeluPiece = 0.346412122f;
alignas(64) constexpr float kGeluTables[5][16] = {
    {0.431244731f, 0.301664859f, 0.193236783f, 0.112671547f, 0.0595154203f, 0.0283727162f,
     0.012171289f, 0.00468717841f, 0.00161736296f, 0.000499305781f, 0.000137738447f,
     3.39185171e-05f, 7.44991894e-06f, 1.45847685e-06f, 2.54348578e-07f, 3.94937203e-08f},
    {-0.393000156f, -0.348560512f, -0.274188161f, -0.191294998f, -0.118370064f, -0.0649624169f,
     -0.0316200703f, -0.0136502981f, -0.0052263434f, -0.00177471305f, -0.000534478866f,
     -0.000142758785f, -3.38176069e-05f, -7.10474706e-06f, -1.32378739e-06f, -2.18751097e-07f},
    {0.0340379812f, 0.0905594081f, 0.1187241f, 0.115961127f, 0.092255339f, 0.0618825033f,
     0.0355991721f, 0.0177340917f, 0.00769649493f, 0.00292169745f, 0.000972873939f, 0.000284738519f,
     7.33623092e-05f, 1.66591708e-05f, 3.33730031e-06f, 5.90238017e-07f},
    {0.0631906688f, 0.0422504209f, 0.0115027241f, -0.0147692319f, -0.0280043874f, -0.0283628069f,
     -0.0214320458f, -0.0131150959f, -0.00672280695f, -0.00293758349f, -0.00110554998f,
     -0.000360753387f, -0.000102535298f, -2.54680253e-05f, -5.54165308e-06f, -1.05832692e-06f},
    {-0.00847646222f, -0.0205120035f, -0.0220768694f, -0.0145962257f, -0.0042616562f,
     0.00327948853f, 0.00610680366f, 0.00548376702f, 0.00358489295f, 0.00187254243f,
     0.000811605889f, 0.000297648832f, 9.34450145e-05f, 2.53038488e-05f, 5.94119274e-06f,
     1.21415042e-06f}};

// x Phi(x) = max(x, 0) - |x| Phi(-|x|), with an absolute error of 1.5e-7 |x|
inline V gelu(V x) {
  const V z = abs(x);
  const V place = mul(min(z, set(15.99f * kGeluPiece)), set(1.0f / kGeluPiece));
  const __m512i piece = _mm512_cvttps_epi32(place);
  const V middle = add(_mm512_cvtepi32_ps(piece), set(0.5f));
  const V d = fma(middle, set(-kGeluPiece), z);
  V tail = _mm512_permutexvar_ps(piece, load(kGeluTables[4]));
  for (int k = 3; k >= 0; k--)
    tail = fma(tail, d, _mm512_permutexvar_ps(piece, load(kGeluTables[k])));
  const __mmask16 seen = _mm512_cmp_ps_mask(z, set(-kGeluZero), _CMP_LE_OQ);
  return sub(max(set(0.0f), x), _mm512_maskz_mul_ps(seen, z, tail));
}
