// Memory-bound kernels: normalisation, rotary embedding, SwiGLU, dropout, embedding, AdamW and elementwise ops.
#pragma once
#include "quantized.h"

namespace {

constexpr int64_t ROWS = 32;  // rows of a task; fixed, so that sums over rows do not depend on threads

float inverseRms(const float *x, int64_t C, float epsilon) {
  return 1 / __builtin_sqrtf(dotRow(x, x, C) / C + epsilon);
}

void rmsNorm(const float *x, const float *w, float *y, int64_t rows, int64_t C, float epsilon) {
  parallel((rows + ROWS - 1) / ROWS, [&](int64_t task) {
    for (int64_t r = task * ROWS; r < min(rows, (task + 1) * ROWS); r++) {
      const float *from = x + r * C;
      float *to = y + r * C;
      const float inverse = inverseRms(from, C, epsilon);
      for (int64_t c = 0; c < C; c++) to[c] = from[c] * inverse * w[c];
    }
  });
}

void rmsNormGrad(const float *dy, const float *x, const float *w, const float *plus, float *dx, float *dw,
                 int64_t rows, int64_t C, float epsilon) {
  const int64_t tasks = (rows + ROWS - 1) / ROWS;
  float *partial = (float *)meap::scratch(0, (tasks * C + 1) * 4);
  parallel(tasks, [&](int64_t task) {
    float *sums = partial + task * C, *weighted = (float *)meap::scratch(1, C * 4);
    memset(sums, 0, C * 4);
    for (int64_t r = task * ROWS; r < min(rows, (task + 1) * ROWS); r++) {
      const float *row = x + r * C, *d = dy + r * C;
      const float inverse = inverseRms(row, C, epsilon);
      for (int64_t c = 0; c < C; c++) {
        weighted[c] = d[c] * w[c];
        sums[c] += d[c] * row[c] * inverse;
      }
      const float projection = dotRow(weighted, row, C) * inverse * inverse / C;
      for (int64_t c = 0; c < C; c++) {
        const float gradient = inverse * (weighted[c] - row[c] * projection);
        dx[r * C + c] = plus ? plus[r * C + c] + gradient : gradient;
      }
    }
  });
  memset(dw, 0, C * 4);
  for (int64_t t = 0; t < tasks; t++) {
    for (int64_t c = 0; c < C; c++) dw[c] += partial[t * C + c];
  }
}

void rotary(const float *x, const float *cos, const float *sin, float *y, int64_t B, int64_t T, int64_t H, int64_t D,
            int64_t tableBatch, float sign) {
  const int64_t half = D / 2;
  parallel((B * T + ROWS - 1) / ROWS, [&](int64_t task) {
    for (int64_t r = task * ROWS; r < min(B * T, (task + 1) * ROWS); r++) {
      const int64_t table = (tableBatch == 1 ? r % T : r) * half;
      const float *__restrict c = cos + table, *__restrict s = sin + table;
      for (int64_t h = 0; h < H; h++) {
        const float *__restrict a = x + (r * H + h) * D;
        float *__restrict o = y + (r * H + h) * D;
        for (int64_t i = 0; i < half; i++) {
          const float low = a[i], high = a[i + half], turn = s[i] * sign;
          o[i] = low * c[i] - high * turn;
          o[i + half] = high * c[i] + low * turn;
        }
      }
    }
  });
}

// Calls body(loadAt, storeAt) for whole vectors and a padded rest.
template <class F>
void vectorsOf(int64_t n, F &&body) {
  parallelChunks(n, [&](int64_t from, int64_t to) {
    int64_t i = from;
    for (; i + W <= to; i += W) {
      body([&](const float *p) { return load(p + i); }, [&](float *p, vf v) { store(p + i, v); });
    }
    if (i < to) {
      body([&](const float *p) { return loadPart(p + i, to - i); },
           [&](float *p, vf v) { storePart(p + i, v, to - i); });
    }
  });
}

MEAP_INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exp(-x)); }

void swiGlu(const float *gate, const float *up, float *y, int64_t n) {
  vectorsOf(n, [=](auto at, auto put) {
    vf g = at(gate);
    put(y, g * sigmoid(g) * at(up));
  });
}

void swiGluGrad(const float *dy, const float *gate, const float *up, float *dGate, float *dUp, int64_t n) {
  vectorsOf(n, [=](auto at, auto put) {
    vf g = at(gate), d = at(dy), s = sigmoid(g), silu = g * s;
    put(dUp, d * silu);
    put(dGate, d * at(up) * (s + silu * (1.0f - s)));
  });
}

// Threefry-2x32 with 20 rounds: a keyed permutation (Salmon et al., SC11) of W counters at once; the bits equal those of
// src/threefry.ts.
typedef uint32_t vw __attribute__((vector_size(MEAP_VECTOR_BYTES)));
MEAP_INLINE void threefry(uint32_t key0, uint32_t key1, vw &a, vw &b) {
  constexpr int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t keys[3] = {key0, key1, key0 ^ key1 ^ 0x1bd11bda};
  a += key0;
  b += key1;
#pragma GCC unroll 5
  for (int group = 1; group <= 5; group++) {
#pragma GCC unroll 4
    for (int r : rotations[(group - 1) % 2]) {
      a += b;
      b = ((b << r) | (b >> (32 - r))) ^ a;
    }
    a += keys[group % 3];
    b += keys[(group + 1) % 3] + group;
  }
}

void dropout(const float *x, const int32_t *keys, float *y, int64_t rows, int64_t n, int32_t dropBelow) {
  constexpr int64_t chunk = 16384;  // elements of a task, a multiple of 4·W
  const int64_t chunks = (n + chunk - 1) / chunk;
  const float kept = 65536.0f / (65536 - dropBelow);
  vw lanes;
  for (int i = 0; i < W; i++) lanes[i] = i;
  parallel(rows * chunks, [&](int64_t task) {
    const int64_t row = task / chunks, from = task % chunks * chunk, to = min(n, from + chunk);
    for (int64_t i = from; i < to; i += 4 * W) {
      vw a = lanes + (uint32_t)(i / 4), b{};
      threefry(keys[2 * row], keys[2 * row + 1], a, b);
      // 16 bits decide on an element: the low and high bits of the first word, then of the second.
      uint32_t words[2 * W];
      for (int j = 0; j < W; j++) words[2 * j] = a[j], words[2 * j + 1] = b[j];
      uint16_t draws[4 * W];
      memcpy(draws, words, sizeof draws);
      const float *in = x + row * n + i;
      float *out = y + row * n + i;
      // A product, so that non-finite numbers stay non-finite.
      const auto apply = [&](int64_t j) { out[j] = in[j] * (draws[j] < dropBelow ? 0 : kept); };
      if (i + 4 * W <= to) for (int64_t j = 0; j < 4 * W; j++) apply(j);
      else for (int64_t j = 0; j < to - i; j++) apply(j);
    }
  });
}

void embedding(const int32_t *ids, meap::Matrix table, float *y, int64_t n, int64_t C) {
  parallel((n + ROWS - 1) / ROWS, [&](int64_t task) {
    for (int64_t i = task * ROWS; i < min(n, (task + 1) * ROWS); i++) {
      const meap::Matrix row = table.from(ids[i] * C);
      if (row.floats) memcpy(y + i * C, row.floats, C * 4);
      else if (row.quantized) expand(row, 0, C, y + i * C);
      else for (int64_t c = 0; c < C; c++) y[i * C + c] = fromBfloat16(row.bfloat16s[c]);
    }
  });
}

void toBfloat16(const float *x, uint16_t *y, int64_t n) {
  parallelChunks(n, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) y[i] = x[i] == x[i] ? (uint16_t)bfloat16Bits(x[i]) : (uint16_t)0x7fc0;
  });
}
void fromBfloat16(const uint16_t *x, float *y, int64_t n) {
  parallelChunks(n, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; i++) y[i] = fromBfloat16(x[i]);
  });
}

void embeddingGrad(const float *dy, const int32_t *ids, float *dTable, int64_t n, int64_t V, int64_t C) {
  // Counting sort by id: each row of the table sums its tokens in order, on any thread.
  int32_t *start = (int32_t *)meap::scratch(0, (V + 1 + n) * 4), *order = start + V + 1;
  memset(start, 0, (V + 1) * 4);
  for (int64_t i = 0; i < n; i++) start[ids[i] + 1]++;
  for (int64_t v = 0; v < V; v++) start[v + 1] += start[v];
  for (int64_t i = 0; i < n; i++) order[start[ids[i]]++] = (int32_t)i;  // start[v] is now v's end
  constexpr int64_t block = 256;
  parallel((V + block - 1) / block, [&](int64_t task) {
    for (int64_t v = task * block; v < min(V, (task + 1) * block); v++) {
      float *row = dTable + v * C;
      memset(row, 0, C * 4);
      for (int64_t i = v ? start[v - 1] : 0; i < start[v]; i++) {
        const float *from = dy + order[i] * C;
        for (int64_t c = 0; c < C; c++) row[c] += from[c];
      }
    }
  });
}

void adamW(const meap::AdamW &o) {
  parallelChunks(o.n, [&](int64_t from, int64_t to) {
    // Locals, so that the compiler knows that stores do not change them, and vectorises.
    const float beta1 = o.beta1, beta2 = o.beta2, epsilon = o.epsilon, gradientScale = o.gradientScale;
    const float decay = 1 - o.learningRate * o.weightDecay, size = o.learningRate / o.correction1;
    const float root = 1 / __builtin_sqrtf(o.correction2);
    float *__restrict p = o.parameter, *__restrict m = o.firstMoment, *__restrict v = o.secondMoment;
    const float *__restrict gradient = o.gradient;
    for (int64_t i = from; i < to; i++) {
      const float g = gradient[i] * gradientScale;
      const float first = beta1 * m[i] + (1 - beta1) * g;
      const float second = beta2 * v[i] + (1 - beta2) * g * g;
      m[i] = first;
      v[i] = second;
      p[i] = p[i] * decay - size * first / (__builtin_sqrtf(second) * root + epsilon);
    }
  });
}

double sumOfSquares(const float *x, int64_t n) {
  constexpr int64_t block = 16384;
  const int64_t blocks = (n + block - 1) / block;
  double *partial = (double *)meap::scratch(0, (blocks + 1) * 8);
  parallel(blocks, [&](int64_t b) {
    typedef double vd __attribute__((vector_size(MEAP_VECTOR_BYTES)));
    typedef float vh __attribute__((vector_size(MEAP_VECTOR_BYTES / 2), aligned(4), may_alias));
    // Independent sums hide the latency of additions; prefetching hides that of memory.
    constexpr int half = W / 2, chains = 4, ahead = 1024;
    vd sums[chains] = {};
    int64_t i = b * block, end = min(n, i + block);
    for (; i + chains * half <= end; i += chains * half) {
#pragma GCC unroll 4
      for (int c = 0; c < chains; c++) {
        __builtin_prefetch(x + i + c * half + ahead);
        const vd v = __builtin_convertvector(*(const vh *)(x + i + c * half), vd);
        sums[c] += v * v;
      }
    }
    double s = 0;
    for (; i < end; i++) s += (double)x[i] * x[i];
    const vd all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int u = 0; u < half; u++) s += all[u];
    partial[b] = s;
  });
  double total = 0;
  for (int64_t b = 0; b < blocks; b++) total += partial[b];
  return total;
}

void add(const float *a, const float *b, float *y, int64_t n) {
  vectorsOf(n, [=](auto at, auto put) { put(y, at(a) + at(b)); });
}
void multiply(const float *a, const float *b, float *y, int64_t n) {
  vectorsOf(n, [=](auto at, auto put) { put(y, at(a) * at(b)); });
}
void scale(const float *a, float factor, float *y, int64_t n) {
  vectorsOf(n, [=](auto at, auto put) { put(y, at(a) * factor); });
}

}  // namespace
