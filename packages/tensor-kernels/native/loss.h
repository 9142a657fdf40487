// Head and cross-entropy over chunks of tokens: logits exist for one chunk at a time, and the same pass computes the
// gradients of both operands.
#pragma once
#include "gemm.h"

namespace {

float largest(const float *row, int64_t n) {
  vf peaks = splat(-__builtin_inff());
  int64_t i = 0;
  for (; i + W <= n; i += W) peaks = max(peaks, load(row + i));
  float peak = maxOf(peaks);
  for (; i < n; i++) peak = row[i] > peak ? row[i] : peak;
  return peak;
}

// The loss of a row of logits and log Σ exp of them.
struct RowLoss {
  float loss, logSumExp;
};

// If withGradient, replaces the row by mask · ((1 + 2 · zLoss · logSumExp) · softmax − one-hot).
RowLoss lossOfRow(float *row, int64_t V, int32_t target, float mask, float zLoss, bool withGradient) {
  const float peak = largest(row, V);
  const float targetLogit = row[target];
  vf totals{};
  int64_t i = 0;
  for (; i + W <= V; i += W) {
    vf e = exp(load(row + i) - peak);
    if (withGradient) store(row + i, e);
    totals += e;
  }
  float total = sum(totals);
  for (; i < V; i++) {
    float e = exp(splat(row[i] - peak))[0];
    if (withGradient) row[i] = e;
    total += e;
  }
  const float logSumExp = naturalLog(total) + peak;
  if (withGradient) {
    const float factor = zLoss == 0 ? mask / total : mask * (1 + 2 * zLoss * logSumExp) / total;
    for (i = 0; i + W <= V; i += W) store(row + i, load(row + i) * factor);
    for (; i < V; i++) row[i] *= factor;
    row[target] -= mask;
  }
  return {logSumExp - targetLogit, logSumExp};
}

// Index of the largest value, the lowest among equals.
int32_t firstMaximum(const float *row, int64_t n) {
  const float peak = largest(row, n);
  for (int64_t i = 0; i < n; i++) {
    if (row[i] == peak) return (int32_t)i;
  }
  return 0;  // all NaN
}

void crossEntropy(const meap::CrossEntropy &o) {
  if (o.N == 0 || o.V == 0) return;
  constexpr int64_t logitBytes = 64 << 20;
  const int64_t chunk = min(o.N, max(MC, logitBytes / 4 / o.V / MC * MC));
  float *logits = (float *)meap::scratch(4, chunk * o.V * 4 + 64);
  const bool withGradients = o.dx != nullptr;
  for (int64_t n0 = 0; n0 < o.N; n0 += chunk) {
    const int64_t rows = min(chunk, o.N - n0);
    const float *x = o.x + n0 * o.C;
    gemm({x, o.weight, logits, nullptr, rows, o.V, o.C, o.C, o.C, o.V, false, true, o.bfloat16});
    parallel((rows + 3) / 4, [&](int64_t task) {
      for (int64_t r = task * 4; r < min(rows, task * 4 + 4); r++) {
        const float mask = o.mask ? o.mask[n0 + r] : 1.0f;
        if (o.greedyIds) o.greedyIds[n0 + r] = firstMaximum(logits + r * o.V, o.V);
        const RowLoss row = lossOfRow(logits + r * o.V, o.V, o.targets[n0 + r], mask, o.zLoss, withGradients);
        o.losses[n0 + r] = row.loss;
        if (o.squares) o.squares[n0 + r] = row.logSumExp * row.logSumExp;
      }
    });
    if (!withGradients) continue;
    gemm({logits, o.weight, o.dx + n0 * o.C, nullptr, rows, o.C, o.V, o.V, o.C, o.C, false, false, o.bfloat16});
    if (!o.dWeight) continue;
    const float *plus = n0 > 0 ? o.dWeight : nullptr;
    gemm({logits, {x, nullptr}, o.dWeight, plus, o.V, o.C, rows, o.V, o.C, o.C, true, false, o.bfloat16});
  }
  if (o.mask) multiply(o.losses, o.mask, o.losses, o.N);
  if (o.mask && o.squares) multiply(o.squares, o.mask, o.squares, o.N);
}

}  // namespace
