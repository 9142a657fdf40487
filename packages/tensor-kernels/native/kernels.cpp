// Compiled once for each instruction set, whose name is MEAP_ISA; see compile.mjs.
#include "attention.h"
#include "layers.h"
#include "loss.h"
#include "muon.h"

namespace {

// The maximum rate of the multiply-add units: a dense loop without memory accesses.
void fmaPeak(int64_t iterations, bool bfloat16, double *flopPerCall) {
#if !defined(__AVX512BF16__)
  bfloat16 = false;  // computed in float32 here
#endif
  *flopPerCall = 12.0 * W * (bfloat16 ? 4 : 2) * iterations;
  parallel(meap::threadCount(), [&](int64_t) {
    vf x[12];
    // Unknown to the compiler, which would remove an accumulator that starts at the fixed point, 1.
    volatile float start = 0.1f;
    for (int i = 0; i < 12; i++) x[i] = splat(start * i);
#if defined(__AVX512BF16__)
    if (bfloat16) {
      __m512bh a = (__m512bh)_mm512_set1_epi16(0x3f00);
      for (int64_t k = 0; k < iterations; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) x[i] = (vf)_mm512_dpbf16_ps((__m512)x[i], a, a);
      }
    } else
#endif
    {
      const vf a = splat(0.99f), b = splat(0.01f);
      for (int64_t k = 0; k < iterations; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) x[i] = multiplyAdd(x[i], a, b);
      }
    }
    vf s{};
    for (int i = 0; i < 12; i++) s += x[i];
    *(volatile float *)meap::scratch(1, 64) = sum(s);
  });
}

}  // namespace

#define MEAP_STRING_OF(x) #x
#define MEAP_STRING(x) MEAP_STRING_OF(x)

namespace meap {
extern const Kernels MEAP_ISA;
const Kernels MEAP_ISA = {
    MEAP_STRING(MEAP_ISA), gemm, attention, attentionGrad, cachedAttention, crossEntropy, rmsNorm, rmsNormGrad, rotary,
    swiGlu, swiGluGrad, dropout, embedding, embeddingGrad, adamW, muon, sumOfSquares, toBfloat16, fromBfloat16, quantize, dequantize, add, multiply, scale, fmaPeak};
}  // namespace meap
