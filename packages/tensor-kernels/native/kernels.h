// The kernels of one instruction set. Arrays are row-major float32 unless stated otherwise.
// No result depends on the number of threads: work is split over outputs, never over a sum.
#pragma once
#include <cstdint>

namespace meap {

// Numbers in 8 or 4 bits; quantized.h has the formats.
struct Quantized {
  bool isNf4;
  // int8: one number in a byte; NF4: two, the first in the high half.
  uint8_t *codes;
  // int8: of each 64 numbers; NF4: of the absmax of 256 such blocks.
  float *absmax;
  // NF4: the absmax of each 64 numbers, and the mean of all, which was subtracted.
  uint8_t *absmaxCodes;
  float *offset;
};

// A matrix in float32, in bfloat16 or quantised: one of the three pointers is set.
struct Matrix {
  const float *floats;
  const uint16_t *bfloat16s;
  const Quantized *quantized = nullptr;
  int64_t offset = 0;  // of a quantised one
  Matrix from(int64_t by) const {
    return {floats ? floats + by : nullptr, bfloat16s ? bfloat16s + by : nullptr, quantized, offset + by};
  }
};

struct Gemm {
  // c[M,N] = plus + op(a)[M,K] · op(b)[K,N]; leading dimensions in elements. plus: in the layout of c, c itself to
  // accumulate, or null.
  const float *a;
  Matrix b;
  float *c;
  const float *plus;
  int64_t M, N, K, lda, ldb, ldc;
  bool transposeA, transposeB, bfloat16;
};

struct Attention {
  // q, out, dOut: [B,T,H,D]; k, v: [B,S,G,D]; logSumExp: [B,H,T] or null; segmentIds, prefixIds: int32 [B,T] or
  // null.
  const float *q, *k, *v;
  const int32_t *segmentIds, *prefixIds;
  float *out, *logSumExp;
  const float *dOut;
  float *dq, *dk, *dv;
  int64_t B, T, S, H, G, D, window;  // window 0: unlimited
  float scale;
};

// Attention of new tokens over themselves and the cache of each sequence.
struct CachedAttention {
  // q, out: [B,T,H,D]; k, v: [B,T,G,D], written behind the lengths[b] tokens in keys[b], values[b]: [>= lengths[b] +
  // T,G,D].
  const float *q, *k, *v;
  float *const *keys, *const *values;
  const int64_t *lengths;
  float *out;
  int64_t B, T, H, G, D, window;  // window 0: unlimited
  float scale;
};

struct CrossEntropy {
  // x: [N,C], weight: [V,C], targets: int32 [N], mask: [N] or null, losses: [N]; greedyIds: int32 [N] or null, the most
  // probable tokens; dx null: no gradients; dWeight null: no gradient of the weight. squares: [N] or null, the squares of
  // log Σ exp of the logits, which the gradients minimise too with the factor zLoss.
  const float *x;
  Matrix weight;
  const int32_t *targets;
  const float *mask;
  float *losses, *dx, *dWeight;
  int32_t *greedyIds;
  int64_t N, V, C;
  bool bfloat16;
  float zLoss = 0;
  float *squares = nullptr;
};

struct AdamW {
  float *parameter, *firstMoment, *secondMoment;
  const float *gradient;
  int64_t n;
  float learningRate, beta1, beta2, epsilon, weightDecay, gradientScale, correction1, correction2;
};

struct Muon {
  // parameter, gradient, momentumBuffer: [M,N]; work: 2·M·N + 2·min(M,N)² numbers.
  float *parameter, *momentumBuffer, *work;
  const float *gradient;
  int64_t M, N;
  float momentum, decay, stepSize, gradientScale;
  bool bfloat16;
};

struct Kernels {
  const char *name;
  void (*gemm)(const Gemm &);
  void (*attention)(const Attention &);
  void (*attentionGrad)(const Attention &);
  void (*cachedAttention)(const CachedAttention &);
  void (*crossEntropy)(const CrossEntropy &);
  void (*rmsNorm)(const float *x, const float *w, float *y, int64_t rows, int64_t C, float epsilon);
  // plus: added to dx, or null; the gradient of the residual connection.
  void (*rmsNormGrad)(const float *dy, const float *x, const float *w, const float *plus, float *dx, float *dw,
                      int64_t rows, int64_t C, float epsilon);
  // x: [B,T,H,D]; tables: [T,D/2] (tableBatch 1) or [B,T,D/2]; sign −1: the inverse rotation.
  void (*rotary)(const float *x, const float *cos, const float *sin, float *y, int64_t B, int64_t T, int64_t H,
                 int64_t D, int64_t tableBatch, float sign);
  void (*swiGlu)(const float *gate, const float *up, float *y, int64_t n);
  void (*swiGluGrad)(const float *dy, const float *gate, const float *up, float *dGate, float *dUp, int64_t n);
  // x, y: [rows,n]; keys: two words for each row; an element whose 16 bits are below dropBelow becomes 0, others are
  // scaled.
  void (*dropout)(const float *x, const int32_t *keys, float *y, int64_t rows, int64_t n, int32_t dropBelow);
  void (*embedding)(const int32_t *ids, Matrix table, float *y, int64_t n, int64_t C);
  void (*embeddingGrad)(const float *dy, const int32_t *ids, float *dTable, int64_t n, int64_t V, int64_t C);
  void (*adamW)(const AdamW &);
  void (*muon)(const Muon &);
  double (*sumOfSquares)(const float *x, int64_t n);
  void (*toBfloat16)(const float *x, uint16_t *y, int64_t n);
  void (*fromBfloat16)(const uint16_t *x, float *y, int64_t n);
  void (*quantize)(const float *x, const Quantized &q, int64_t n);
  void (*dequantize)(const Quantized &q, float *y, int64_t n);
  void (*add)(const float *a, const float *b, float *y, int64_t n);
  void (*multiply)(const float *a, const float *b, float *y, int64_t n);
  void (*scale)(const float *a, float factor, float *y, int64_t n);
  void (*fmaPeak)(int64_t iterations, bool bfloat16, double *flopPerCall);
};

// Runs body(context, i) for i in [0, n) on all threads, the calling thread among them. Nested calls run inline.
void parallelFor(int64_t n, void (*body)(void *context, int64_t i), void *context);
// Scratch memory of the calling thread, 64-byte aligned; it only grows. Content is valid until the next use of the slot.
void *scratch(int slot, int64_t bytes);
int64_t scratchBytes();
// Frees the scratch memory of the calling thread.
void releaseScratch();
// Uninitialised memory aligned to a cache line, or to a huge page if it is at least as large.
void *allocateBuffer(int64_t bytes);
void freeBuffer(void *data);
// Returns the memory of a buffer to the system, which leaves its content unspecified; the buffer stays valid.
void discardBuffer(void *data, int64_t bytes);
int threadCount();
// With 1 the library has no threads and can be unloaded.
void setThreadCount(int threads);

}  // namespace meap
