// Weights in 8 or 4 bits: blocks of 64 numbers in row-major order, each with the largest magnitude as its scale, absmax.
//
// int8: round(x / absmax * 127), ties to even (Dettmers et al. 2022, LLM.int8()).
// NF4: the nearest of 16 quantiles of the normal distribution, times absmax; the absmax, less their mean, are quantised to 8
// bits in blocks of 256 (QLoRA, Dettmers et al. 2023, §3, "double quantization").
//
// Operations and their order are those of bitsandbytes 0.50, so that codes and values are equal to the bit.
#pragma once
#include <algorithm>
#include "simd.h"

namespace {

constexpr int64_t BLOCK = 64, ABSMAX_BLOCK = 256;
constexpr int64_t blocksOf(int64_t n) { return (n + BLOCK - 1) / BLOCK; }

alignas(64) constexpr float NF4[16] = {
    -1.0f,         -0.69619280f,  -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f, -0.091050036f, 0.0f,
    0.0795802996f, 0.1609302014f, 0.246112302f, 0.337915242f, 0.44070983f,  0.5626170f,   0.72295684f,   1.0f};

// 256 ascending numbers from -0.993 to 1 whose density falls with the magnitude (Dettmers 2015): in each decade 10^-6 to
// 10^0, the means of 2^i neighbours of an even division of [0.1, 1], with both signs; 0 and 1.
struct DynamicCode {
  float values[256] = {};
  constexpr DynamicCode() {
    constexpr float decades[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
    int n = 127;
    values[n] = 0;
    for (int i = 0; i < 7; i++) {
      for (int j = 0; j < 1 << i; j++) {
        const float value = decades[i] * ((division(j, 1 << i) + division(j + 1, 1 << i)) / 2);
        n++;
        values[n] = value;
        values[254 - n] = -value;
      }
    }
    values[255] = 1;
  }
  // Element i of PyTorch's linspace(0.1, 1, steps + 1), which counts from the nearer end, with fused multiply-adds.
  static constexpr float division(int i, int steps) {
    const float step = (1.0f - 0.1f) / steps;
    return i < (steps + 1) / 2 ? (float)((double)step * i + (double)0.1f) : (float)(1.0 - (double)step * (steps - i));
  }
};
constexpr DynamicCode DYNAMIC;

float absmaxOf(const meap::Quantized &q, int64_t block) {
  if (!q.isNf4) return q.absmax[block];
  return DYNAMIC.values[q.absmaxCodes[block]] * q.absmax[block / ABSMAX_BLOCK] + *q.offset;
}

// A block of either format in vectors of float32.
struct Int8Block {
  const int8_t *codes;
  float absmax;
  MEAP_INLINE Int8Block(const meap::Quantized &q, int64_t block)
      : codes((const int8_t *)q.codes + block * BLOCK), absmax(q.absmax[block]) {}
  MEAP_INLINE vf values(int64_t i) const { return units(i) * absmax * (1 / 127.0f); }
  // Whether a sum of products is formed with units and scaled once.
  static constexpr bool SCALES_SUMS = true;
  MEAP_INLINE float scale() const { return absmax * (1 / 127.0f); }
  // The codes from i, a multiple of W.
  MEAP_INLINE vf units(int64_t i) const {
    // GCC 12 converts bytes one by one.
#if defined(__AVX512F__)
    const vi numbers = (vi)_mm512_maskz_cvtepi8_epi32(0xffff, _mm_loadu_si128((const __m128i *)(codes + i)));
#elif defined(__AVX2__)
    const vi numbers = (vi)_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(codes + i)));
#else
    typedef int8_t vb __attribute__((vector_size(W), aligned(1), may_alias));
    const vi numbers = __builtin_convertvector(*(const vb *)(codes + i), vi);
#endif
    return __builtin_convertvector(numbers, vf);
  }
};
struct Nf4Block {
  static constexpr int TABLES = 16 / W;
  const uint8_t *codes;
  vf table[TABLES];  // the 16 numbers that the block may have
  MEAP_INLINE Nf4Block(const meap::Quantized &q, int64_t block) : codes(q.codes + block * BLOCK / 2) {
    const float absmax = absmaxOf(q, block);
    for (int i = 0; i < TABLES; i++) table[i] = load(NF4 + i * W) * absmax;
  }
  static constexpr bool SCALES_SUMS = false;
  // The numbers from i, a multiple of W: each byte is the code of two lanes, shifted in the first of them. Permutations read
  // the low bits only.
  MEAP_INLINE vf values(int64_t i) const {
    const uint8_t *from = codes + i / 2;
#if defined(__AVX512F__)
    int64_t bytes;
    memcpy(&bytes, from, 8);
    const __m512i lanes = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
    const __m512i pairs = _mm512_shuffle_epi8(_mm512_set1_epi64(bytes), lanes);
    const __m512i shifts = _mm512_set1_epi64(4);
    return (vf)_mm512_maskz_permutexvar_ps(0xffff, _mm512_srlv_epi32(pairs, shifts), (__m512)table[0]);
#elif defined(__AVX2__)
    int32_t bytes;
    memcpy(&bytes, from, 4);
    const __m256i code = _mm256_srlv_epi32(_mm256_set1_epi32(bytes), _mm256_set_epi32(24, 28, 16, 20, 8, 12, 0, 4));
    const __m256 low = _mm256_permutevar8x32_ps((__m256)table[0], code);
    const __m256 high = _mm256_permutevar8x32_ps((__m256)table[1], code);
    return (vf)_mm256_blendv_ps(low, high, (__m256)_mm256_slli_epi32(code, 28));
#else
    vf values;
    for (int lane = 0; lane < W; lane++) {
      const int code = lane % 2 ? from[lane / 2] & 15 : from[lane / 2] >> 4;
      values[lane] = table[code / W][code % W];
    }
    return values;
#endif
  }
};

// One number.
MEAP_INLINE float valueAt(const meap::Quantized &q, int64_t i) {
  const float absmax = absmaxOf(q, i / BLOCK);
  if (!q.isNf4) return (float)(int8_t)q.codes[i] * absmax * (1 / 127.0f);
  return NF4[i % 2 ? q.codes[i / 2] & 15 : q.codes[i / 2] >> 4] * absmax;
}

// The numbers [from, from + n) in float32.
template <class Block>
void expandAs(const meap::Quantized &q, int64_t from, int64_t n, float *to) {
  for (int64_t i = from, end = from + n; i < end;) {
    const int64_t start = i / BLOCK * BLOCK, stop = min(end, start + BLOCK);
    const Block block(q, i / BLOCK);
    if (stop - i == BLOCK) {
#pragma GCC unroll 16
      for (int64_t j = 0; j < BLOCK; j += W) store(to + j, block.values(j));
      to += BLOCK;
      i = stop;
    }
    for (; i < stop && i % W; i++) *to++ = valueAt(q, i);
    for (; i + W <= stop; i += W, to += W) store(to, block.values(i - start));
    for (; i < stop; i++) *to++ = valueAt(q, i);
  }
}
void expand(const meap::Quantized &q, int64_t from, int64_t n, float *to) {
  q.isNf4 ? expandAs<Nf4Block>(q, from, n, to) : expandAs<Int8Block>(q, from, n, to);
}
void expand(const meap::Matrix &m, int64_t from, int64_t n, float *to) { expand(*m.quantized, m.offset + from, n, to); }

void dequantize(const meap::Quantized &q, float *y, int64_t n) {
  parallelChunks(n, [&](int64_t from, int64_t to) { expand(q, from, to - from, y + from); });
}

// Divides a block by its absmax; a last, shorter block in another way, and its absmax is not 0.
struct Scaling {
  float absmax, inverse;
  bool isWhole;
  Scaling(float largest, bool isWhole)
      : absmax(isWhole || largest > SMALLEST ? largest : SMALLEST),
        inverse(1 / (largest > SMALLEST ? largest : SMALLEST)), isWhole(isWhole) {}
  MEAP_INLINE float operator()(float x) const {
    const float y = isWhole ? x * inverse : x / absmax;
    return y < -1 ? -1 : y > 1 ? 1 : y;
  }
  static constexpr float SMALLEST = 1e-38f;
};

// The nearest number of an ascending code; of two the lower.
template <int N>
int nearest(const float *code, float x) {
  int low = 0;
  for (int step = N / 2; step > 0; step /= 2) {
    const int next = low + step;
    if (x > (code[next - 1] + code[next]) / 2) low = next;
  }
  return low;
}

float largestMagnitude(const float *x, int64_t n) {
  float largest = 0;
  for (int64_t i = 0; i < n; i++) {
    const float magnitude = x[i] < 0 ? -x[i] : x[i];
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

// Returns absmax.
float quantizeInt8(const float *x, int8_t *codes, int64_t n) {
  const float absmax = largestMagnitude(x, n);
  const float factor = absmax > 0 ? 1 / absmax * 127 : 0;
  for (int64_t i = 0; i < n; i++) {
    const float y = x[i] * factor;
    const float bounded = y > -127 ? y < 127 ? y : 127 : -127;
    codes[i] = (int8_t)(bounded + 12582912.0f - 12582912.0f);  // rounds to even
  }
  return absmax;
}

// Returns absmax.
float quantizeNf4(const float *x, uint8_t *codes, int64_t n) {
  const Scaling scale(largestMagnitude(x, n), n == BLOCK);
  int32_t code[BLOCK + 1] = {};
  code[n] = 7;
  float y[BLOCK];
  for (int64_t i = 0; i < n; i++) y[i] = scale(x[i]);
  for (int j = 0; j < 15; j++) {
    const float bound = (NF4[j] + NF4[j + 1]) / 2;
    for (int64_t i = 0; i < n; i++) code[i] += y[i] > bound;
  }
  for (int64_t i = 0; i < n; i += 2) codes[i / 2] = (uint8_t)(code[i] << 4 | code[i + 1]);
  return scale.absmax;
}

void quantize(const float *x, const meap::Quantized &q, int64_t n) {
  const int64_t blocks = blocksOf(n), chunk = 256;
  float *absmax = q.isNf4 ? (float *)meap::scratch(0, blocks * 4 + 4) : q.absmax;
  parallel((blocks + chunk - 1) / chunk, [&](int64_t task) {
    for (int64_t block = task * chunk; block < min(blocks, (task + 1) * chunk); block++) {
      const int64_t from = block * BLOCK, count = min(BLOCK, n - from);
      absmax[block] = q.isNf4 ? quantizeNf4(x + from, q.codes + from / 2, count)
                              : quantizeInt8(x + from, (int8_t *)q.codes + from, count);
    }
  });
  if (!q.isNf4) return;
  double total = 0;
  for (int64_t i = 0; i < blocks; i++) total += absmax[i];
  const float mean = *q.offset = blocks ? (float)(total / blocks) : 0;
  parallel((blocks + ABSMAX_BLOCK - 1) / ABSMAX_BLOCK, [&](int64_t task) {
    float *from = absmax + task * ABSMAX_BLOCK;
    const int64_t count = min(ABSMAX_BLOCK, blocks - task * ABSMAX_BLOCK);
    for (int64_t i = 0; i < count; i++) from[i] -= mean;
    const Scaling scale(largestMagnitude(from, count), count == ABSMAX_BLOCK);
    q.absmax[task] = scale.absmax;
    for (int64_t i = 0; i < count; i++) {
      q.absmaxCodes[task * ABSMAX_BLOCK + i] = (uint8_t)nearest<256>(DYNAMIC.values, scale(from[i]));
    }
  });
}

}  // namespace
