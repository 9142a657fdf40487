// Muon (Jordan et al. 2024): the momentum of a matrix, orthogonalised by Newton–Schulz iterations of matrix products.
#pragma once
#include "gemm.h"
#include "layers.h"

namespace {

// c[m,m] = op(a) · op(b), known to be symmetric: strips of rows up to the diagonal, mirrored.
void symmetricProduct(meap::Gemm g) {
  const int64_t m = g.M, strip = max(4 * MC, (m + 3) / 4);
  const float *a = g.a;
  float *c = g.c;
  for (int64_t i0 = 0; i0 < m; i0 += strip) {
    g.M = min(strip, m - i0);
    g.N = i0 + g.M;
    g.a = a + (g.transposeA ? i0 : i0 * g.lda);
    g.c = c + i0 * m;
    gemm(g);
  }
  constexpr int64_t tile = 16;
  parallel((m + tile - 1) / tile, [&](int64_t task) {
    const int64_t i0 = task * tile, i1 = min(m, i0 + tile);
    for (int64_t j0 = i0; j0 < m; j0 += tile) {
      for (int64_t j = max(j0, i0 + 1); j < min(m, j0 + tile); j++) {
        for (int64_t i = i0; i < min(i1, j); i++) c[i * m + j] = c[j * m + i];
      }
    }
  });
}

void muon(const meap::Muon &o) {
  const int64_t n = o.M * o.N, m = min(o.M, o.N);
  const bool isTall = o.M > o.N;
  float *x = o.work, *next = x + n, *gram = next + n, *factor = gram + m * m;
  parallelChunks(n, [&](int64_t from, int64_t to) {
    const float momentum = o.momentum, rest = 1 - o.momentum, gradientScale = o.gradientScale;
    const float *__restrict gradient = o.gradient;
    float *__restrict buffer = o.momentumBuffer, *__restrict update = x;
    for (int64_t i = from; i < to; i++) {
      const float g = gradient[i] * gradientScale;
      const float average = momentum * buffer[i] + rest * g;
      buffer[i] = average;
      update[i] = momentum * average + rest * g;
    }
  });
  // The Frobenius norm bounds the largest singular value.
  const float norm = (float)__builtin_sqrt(sumOfSquares(x, n));
  scale(x, 1 / (norm > 1e-7f ? norm : 1e-7f), x, n);
  constexpr float A = 3.4445f, B = -4.7750f, C = 2.0315f;
  for (int step = 0; step < 5; step++) {
    // x ← A·x + B·(x·xᵀ)·x + C·(x·xᵀ)²·x = (A + B·gram + C·gram²)·x, on the side of the smaller gram.
    symmetricProduct({x, {x, nullptr}, gram, nullptr, m, m, isTall ? o.M : o.N, o.N, o.N, m, isTall, !isTall, o.bfloat16});
    symmetricProduct({gram, {gram, nullptr}, factor, nullptr, m, m, m, m, m, m, false, false, o.bfloat16});
    parallelChunks(m * m, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; i++) factor[i] = B * gram[i] + C * factor[i];
      for (int64_t i = (from + m) / (m + 1); i * (m + 1) < to; i++) factor[i * (m + 1)] += A;
    });
    const float *left = isTall ? x : factor, *right = isTall ? factor : x;
    gemm({left, {right, nullptr}, next, nullptr, o.M, o.N, m, isTall ? o.N : m, isTall ? m : o.N, o.N, false, false,
          o.bfloat16});
    float *const last = x;
    x = next;
    next = last;
  }
  parallelChunks(n, [&](int64_t from, int64_t to) {
    const float decay = o.decay, stepSize = o.stepSize;
    const float *__restrict update = x;
    float *__restrict p = o.parameter;
    for (int64_t i = from; i < to; i++) p[i] = p[i] * decay - stepSize * update[i];
  });
}

}  // namespace
