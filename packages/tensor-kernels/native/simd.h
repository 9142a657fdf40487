// Vectors of the width of this translation unit, in the compiler's vector extension, and functions on them. In an unnamed
// namespace, so that the linker does not merge the code of different instruction sets.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>
#include "kernels.h"
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#if defined(__AVX512F__)
#define MEAP_VECTOR_BYTES 64
#elif defined(__AVX2__)
#define MEAP_VECTOR_BYTES 32
#else
#define MEAP_VECTOR_BYTES 16
#endif
#define MEAP_INLINE inline __attribute__((always_inline))

namespace {

constexpr int W = MEAP_VECTOR_BYTES / 4;  // floats in a vector
typedef float vf __attribute__((vector_size(MEAP_VECTOR_BYTES)));
typedef int32_t vi __attribute__((vector_size(MEAP_VECTOR_BYTES)));
typedef float vfu __attribute__((vector_size(MEAP_VECTOR_BYTES), aligned(4), may_alias));

MEAP_INLINE vf load(const float *p) { return *(const vfu *)p; }
MEAP_INLINE void store(float *p, vf x) { *(vfu *)p = x; }
MEAP_INLINE vf splat(float x) { return x - vf{}; }
// a * b + c, rounded once where the instruction set has FMA. -ffp-contract=off keeps compilers from fusing other products,
// so that the source alone determines the bits of a result.
MEAP_INLINE vf multiplyAdd(vf a, vf b, vf c) {
#if defined(__AVX512F__)
  return (vf)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (vf)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (vf)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
// bfloat16: the upper 16 bits of a float32, rounded to nearest even.
MEAP_INLINE uint32_t bfloat16Bits(float x) {
  uint32_t bits;
  memcpy(&bits, &x, 4);
  return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}
MEAP_INLINE float fromBfloat16(uint16_t upper) {
  const uint32_t bits = (uint32_t)upper << 16;
  float x;
  memcpy(&x, &bits, 4);
  return x;
}
MEAP_INLINE vf load(const uint16_t *p) {
  typedef uint16_t vh __attribute__((vector_size(W * 2), aligned(2), may_alias));
  typedef uint32_t vu __attribute__((vector_size(MEAP_VECTOR_BYTES)));
  return (vf)(__builtin_convertvector(*(const vh *)p, vu) << 16);
}
MEAP_INLINE vf loadPart(const uint16_t *p, int64_t n) {
  uint16_t buffer[W] = {};
  memcpy(buffer, p, n * 2);
  return load(buffer);
}
MEAP_INLINE vf loadPart(const float *p, int64_t n) {
  float buffer[W] = {};
  memcpy(buffer, p, n * sizeof(float));
  return load(buffer);
}
MEAP_INLINE void storePart(float *p, vf x, int64_t n) {
  float buffer[W];
  store(buffer, x);
  memcpy(p, buffer, n * sizeof(float));
}
MEAP_INLINE vf max(vf a, vf b) { return a > b ? a : b; }
MEAP_INLINE vf min(vf a, vf b) { return a < b ? a : b; }
// Reduces a vector to its first lane in log2(W) steps, each of which combines its two halves.
template <int H = W / 2, int... J, class F>
MEAP_INLINE vf fold(vf x, F &&combine, std::integer_sequence<int, J...> lanes) {
  x = combine(x, __builtin_shufflevector(x, x, ((J + H) % W)...));
  if constexpr (H > 1) return fold<H / 2>(x, combine, lanes);
  return x;
}
MEAP_INLINE float sum(vf x) {
  return fold(x, [](vf a, vf b) { return a + b; }, std::make_integer_sequence<int, W>())[0];
}
MEAP_INLINE float maxOf(vf x) {
  return fold(x, [](vf a, vf b) { return max(a, b); }, std::make_integer_sequence<int, W>())[0];
}

// e^x to 2 ulp over [-87.3, 88.7]; 0 below, e^88.7 above, NaN for NaN. Cody-Waite reduction, degree-6 minimax polynomial.
MEAP_INLINE vf exp(vf x) {
  vf clamped = min(max(x, splat(-87.33654f)), splat(88.72283f));
  vf shifted = multiplyAdd(clamped, splat(1.44269504f), splat(12582912.0f));  // 1.5·2^23: the low bits of the sum are the rounded integer
  vf n = shifted - 12582912.0f;
  vf r = multiplyAdd(n, splat(-0.693359375f), clamped);
  r = multiplyAdd(n, splat(2.12194440e-4f), r);
  vf p = multiplyAdd(r, splat(1.9875691500e-4f), splat(1.3981999507e-3f));
  p = multiplyAdd(p, r, splat(8.3334519073e-3f));
  p = multiplyAdd(p, r, splat(4.1665795894e-2f));
  p = multiplyAdd(p, r, splat(1.6666665459e-1f));
  p = multiplyAdd(p, r, splat(5.0000001201e-1f));
  p = multiplyAdd(p * r, r, r) + 1.0f;
  vi bits = (vi)shifted << 23;  // keeps the integer modulo 2^9, the offset of the exponent
  vf y = (vf)((vi)p + bits);
  y = x < -87.33654f ? vf{} : y;
  return x == x ? y : x;
}

// The natural logarithm, correctly rounded except for rare ties: 2·atanh((m - 1)/(m + 1)) in double precision. Not that of
// the C library, whose last bit differs between systems.
float naturalLog(float x) {
  if (!(x > 0 && x < __builtin_inff())) return x == 0 ? -__builtin_inff() : x < 0 ? __builtin_nanf("") : x;
  constexpr double coefficients[] = {1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1};
  const double wide = x;
  uint64_t bits;
  memcpy(&bits, &wide, 8);
  // The mantissa in [sqrt(1/2), sqrt(2)) and its exponent.
  const int64_t exponent = (int64_t)(bits - 0x3fe6a09e667f3bcd) >> 52;
  bits -= (uint64_t)exponent << 52;
  double mantissa;
  memcpy(&mantissa, &bits, 8);
  const double s = (mantissa - 1) / (mantissa + 1), square = s * s;
  double series = 0;
  for (double coefficient : coefficients) series = series * square + coefficient;
  return (float)((double)exponent * 0.6931471805599453 + 2 * s * series);
}

// Exchanges the off-diagonal blocks of size H of the rows i and i + H: one stage of a transposition.
template <int H, int... J, class V>
MEAP_INLINE void exchange(V &a, V &b, std::integer_sequence<int, J...>) {
  const V low = __builtin_shufflevector(a, b, (J & H ? W + J - H : J)...);
  b = __builtin_shufflevector(a, b, (J & H ? W + J : J + H)...);
  a = low;
}
// Transposes W vectors of W 32-bit lanes in log2(W) stages (Eklundh 1972).
template <int H = W / 2, class V>
MEAP_INLINE void transpose(V *rows) {
#pragma GCC unroll 16
  for (int i = 0; i < W; i++) {
    if (!(i & H)) exchange<H>(rows[i], rows[i + H], std::make_integer_sequence<int, W>());
  }
  if constexpr (H > 1) transpose<H / 2>(rows);
}

// The sum of vector i in lane i, for W vectors: adds halves, two vectors at a time.
template <int H = W / 2>
MEAP_INLINE vf sums(vf *rows) {
#pragma GCC unroll 16
  for (int i = 0; i < H; i++) {
    exchange<H>(rows[i], rows[i + H], std::make_integer_sequence<int, W>());
    rows[i] += rows[i + H];
  }
  if constexpr (H > 1) return sums<H / 2>(rows);
  return rows[0];
}

MEAP_INLINE int64_t min(int64_t a, int64_t b) { return a < b ? a : b; }
MEAP_INLINE int64_t max(int64_t a, int64_t b) { return a > b ? a : b; }
MEAP_INLINE int64_t roundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

float dotRow(const float *a, const float *b, int64_t n) {
  vf acc[2] = {};
  int64_t i = 0;
  for (; i + 2 * W <= n; i += 2 * W) {
    acc[0] = multiplyAdd(load(a + i), load(b + i), acc[0]);
    acc[1] = multiplyAdd(load(a + i + W), load(b + i + W), acc[1]);
  }
  for (; i < n; i += W) {
    acc[0] = multiplyAdd(loadPart(a + i, min(W, n - i)), loadPart(b + i, min(W, n - i)), acc[0]);
  }
  return sum(acc[0] + acc[1]);
}

template <class F>
void parallel(int64_t n, F &&body) {
  if (n == 1) return body(0);
  meap::parallelFor(
      n, [](void *context, int64_t i) { (*(F *)context)(i); }, (void *)&body);
}

// Elementwise work in chunks that are large enough for a task.
template <class F>
void parallelChunks(int64_t n, F &&body) {
  constexpr int64_t chunk = 16384;
  parallel((n + chunk - 1) / chunk, [&](int64_t i) {
    int64_t from = i * chunk, to = from + chunk < n ? from + chunk : n;
    body(from, to);
  });
}

}  // namespace
