// Causal grouped-query attention in tiles, forward and backward, after FlashAttention-2 (Dao 2023): scores exist for one
// tile at a time, memory is linear in length. Keys and values are packed once per key-value head for all query heads and
// tiles.
#pragma once
#include "gemm.h"

namespace {

constexpr int64_t TILE = 96;  // queries and keys of a tile: whole panels for every MR and NR
static_assert(TILE % MR == 0 && TILE % NR == 0, "a tile holds whole panels");

struct AttentionShape {
  int64_t B, T, S, H, G, D, window, offset;  // offset: position of query 0
  int64_t headPanels, paddedD, keyPanels, paddedS;
  const int32_t *segmentIds, *prefixIds;
  explicit AttentionShape(const meap::Attention &a)
      : B(a.B), T(a.T), S(a.S), H(a.H), G(a.G), D(a.D), window(a.window), offset(a.S - a.T),
        headPanels((a.D + NR - 1) / NR), paddedD(headPanels * NR), keyPanels((a.S + NR - 1) / NR),
        paddedS(roundUp(a.S, TILE)), segmentIds(a.segmentIds), prefixIds(a.prefixIds) {}
  int64_t group(int64_t head) const { return head / (H / G); }
  // Keys [first, last) that the queries [q0, q1) attend to by position.
  int64_t firstKey(int64_t q0) const { return window ? max(0, q0 + offset - window + 1) : 0; }
  int64_t lastKey(int64_t q1) const { return min(S, q1 + offset); }
  // Whether all pairs of the tile are in different segments: ids rise along a packed row, so it compares ranges.
  bool isMasked(int64_t b, int64_t q0, int64_t q1, int64_t k0, int64_t k1) const {
    if (!segmentIds) return false;
    const Range keys(segmentIds + b * T, k0, k1);
    return !keys.overlaps({segmentIds + b * T, q0, q1}) && !(prefixIds && keys.overlaps({prefixIds + b * T, q0, q1}));
  }
  struct Range {
    int32_t low, high;
    Range(const int32_t *ids, int64_t from, int64_t to) : low(ids[from]), high(ids[from]) {
      for (int64_t i = from; i < to; i++) {
        low = ids[i] < low ? ids[i] : low;
        high = ids[i] > high ? ids[i] : high;
      }
    }
    bool overlaps(const Range &other) const { return low <= other.high && other.low <= high; }
  };
  // Columns to process, in whole vectors, of a row whose last visible column is `last`: products read panels of rows, so
  // the first row of a panel needs zeros up to the last visible column of its last row.
  int64_t rowEnd(int64_t last) const { return min(TILE, roundUp(last + MR, W)); }
  // Writes −inf (as −1e30) where query row i of the tile does not attend to key column j.
  void hide(float *scores, int64_t b, int64_t q0, int64_t rows, int64_t k0, int64_t cols) const {
    for (int64_t i = 0; i < rows; i++) {
      const int64_t position = q0 + i + offset;
      float *row = scores + i * TILE;
      for (int64_t j = max(0, position + 1 - k0); j < cols; j++) row[j] = -1e30f;
      if (window) {
        for (int64_t j = 0; j < min(cols, position - window + 1 - k0); j++) row[j] = -1e30f;
      }
      if (segmentIds) {
        const int32_t *keys = segmentIds + b * T + k0, own = segmentIds[b * T + q0 + i];
        const int32_t prefix = prefixIds ? prefixIds[b * T + q0 + i] : own;
        for (int64_t j = 0; j < cols; j++) row[j] = ((keys[j] == own) | (keys[j] == prefix)) ? row[j] : -1e30f;
      }
      for (int64_t j = cols; j < TILE; j++) row[j] = -1e30f;
    }
  }
};

// B operand panels over keys, contracted over the head: [keyPanel][D][NR].
void packKeysAcross(const AttentionShape &s, const float *head, float *packed) {
  pack<NR, false>(head, s.G * s.D, 1, s.S, s.D, packed, NR * s.D);
}
// B operand panels over the head, contracted over keys or queries: [headPanel][padded length][NR].
void packLengthwise(const AttentionShape &s, const float *head, int64_t stride, int64_t length, int64_t padded,
                    float scale, float *packed) {
  for (int64_t p = 0; p < s.headPanels; p++) {
    pack<NR, false>(head + p * NR, 1, stride, min(NR, s.D - p * NR), length, packed + p * padded * NR, NR * padded, scale);
  }
}
// A operand panels of one tile: [rowPanel][depth][MR].
void packTile(const float *source, int64_t laneStride, int64_t depthStride, int64_t lanes, int64_t depth,
              float *packed, float scale = 1.0f) {
  pack<MR, false>(source, laneStride, depthStride, lanes, depth, packed, MR * depth, scale);
}

// Scores of a tile: rows of a times columns of b, over the head. Skips panels without a visible pair.
template <class Visible>
void scoreTile(int64_t depth, const float *a, const float *b, float *scores, int64_t rows, int64_t cols, Visible visible) {
  for (int64_t j = 0; j < cols; j += NR) {
    for (int64_t i = 0; i < rows; i += MR) {
      if (!visible(i, j)) continue;
      registerKernel(depth, a + i * depth, b + j * depth, scores + i * TILE + j, nullptr, TILE, min(MR, rows - i),
                     min(NR, cols - j));
    }
  }
}

// sums += weights · b over the unmasked part of the depth for each panel of rows. Element (i, k) of weights is
// weights[i * ROW + k * STEP]: the tile of scores in place, or its transpose.
template <int ROW, int STEP, class Range>
void addWeighted(const float *weights, const float *b, int64_t strideB, float *sums, int64_t width, int64_t rows,
                 Range range) {
  for (int64_t j = 0; j < width; j += NR) {
    for (int64_t i = 0; i < rows; i += MR) {
      const auto [from, to] = range(i);
      if (from >= to) continue;
      float *c = sums + i * width + j;
      registerKernel<ROW, STEP>(to - from, weights + i * ROW + from * STEP, b + j / NR * strideB + from * NR, c, c,
                                width, min(MR, rows - i), NR);
    }
  }
}

void attention(const meap::Attention &a) {
  const AttentionShape s(a);
  const int64_t stride = s.G * s.D, keySize = s.keyPanels * NR * s.D, valueSize = s.headPanels * s.paddedS * NR;
  float *packed = (float *)meap::scratch(0, s.B * s.G * (keySize + valueSize) * 4);
  parallel(s.B * s.G, [&](int64_t i) {
    const int64_t base = (i / s.G) * s.S * stride + (i % s.G) * s.D;
    packKeysAcross(s, a.k + base, packed + i * (keySize + valueSize));
    packLengthwise(s, a.v + base, stride, s.S, s.paddedS, 1, packed + i * (keySize + valueSize) + keySize);
  });
  const int64_t tiles = (s.T + TILE - 1) / TILE;
  parallel(s.B * s.H * tiles, [&](int64_t task) {
    // Last tiles first: they have the most keys, so that short ones balance the threads at the end.
    const int64_t tile = tiles - 1 - task / (s.B * s.H), b = task % (s.B * s.H) / s.H, h = task % s.H;
    const int64_t q0 = tile * TILE, rows = min(TILE, s.T - q0), q1 = q0 + rows;
    const float *keys = packed + (b * s.G + s.group(h)) * (keySize + valueSize), *values = keys + keySize;
    float *work = (float *)meap::scratch(1, (TILE * s.D + TILE * TILE + TILE * s.paddedD + 2 * TILE) * 4);
    float *queries = work, *scores = queries + TILE * s.D, *acc = scores + TILE * TILE, *peak = acc + TILE * s.paddedD, *total = peak + TILE;
    packTile(a.q + ((b * s.T + q0) * s.H + h) * s.D, s.H * s.D, 1, rows, s.D, queries, a.scale);
    memset(acc, 0, TILE * s.paddedD * 4);
    for (int64_t i = 0; i < rows; i++) peak[i] = -1e30f, total[i] = 0;
    for (int64_t k0 = s.firstKey(q0) / TILE * TILE; k0 < s.lastKey(q1); k0 += TILE) {
      const int64_t cols = min(TILE, s.S - k0);
      if (s.isMasked(b, q0, q1, k0, k0 + cols)) continue;
      const int64_t diagonal = q0 + s.offset - k0;  // the last key of the tile that is visible to query row 0
      scoreTile(s.D, queries, keys + k0 * s.D, scores, rows, cols,
                [&](int64_t i, int64_t j) { return j <= diagonal + i + MR - 1; });
      const bool unmasked = cols == TILE && k0 + TILE - 1 <= q0 + s.offset && !s.segmentIds &&
                         (!s.window || k0 > q1 - 1 + s.offset - s.window);
      if (!unmasked) s.hide(scores, b, q0, rows, k0, cols);
      for (int64_t i = 0; i < rows; i++) {
        float *row = scores + i * TILE;
        const int64_t end = s.rowEnd(diagonal + i);
        vf m = load(row);
        for (int64_t j = W; j < end; j += W) m = max(m, load(row + j));
        const float before = peak[i], now = maxOf(m) > before ? maxOf(m) : before;
        // A row without a visible key so far would give e^0 for masked keys.
        const vf shift = splat(now <= -1e30f ? 0.0f : now);
        vf t{};
        for (int64_t j = 0; j < end; j += W) {
          vf e = exp(load(row + j) - shift);
          store(row + j, e);
          t += e;
        }
        const float correction = exp(splat(before - now))[0];
        total[i] = total[i] * correction + sum(t);
        peak[i] = now;
        if (correction != 1.0f) {
          for (int64_t d = 0; d < s.paddedD; d += W) store(acc + i * s.paddedD + d, load(acc + i * s.paddedD + d) * correction);
        }
      }
      addWeighted<TILE, 1>(scores, values + k0 * NR, s.paddedS * NR, acc, s.paddedD, rows, [&](int64_t i) {
        return std::pair<int64_t, int64_t>{0, min(cols, diagonal + i + MR)};
      });
    }
    for (int64_t i = 0; i < rows; i++) {
      float *out = a.out + ((b * s.T + q0 + i) * s.H + h) * s.D;
      const float inverse = 1 / total[i];
      for (int64_t d = 0; d < s.D; d++) out[d] = acc[i * s.paddedD + d] * inverse;
      if (a.logSumExp) a.logSumExp[(b * s.H + h) * s.T + q0 + i] = peak[i] + naturalLog(total[i]);
    }
  });
}

// Attention of one query over a run of keys, for the query heads that share a key-value head: reads keys and values once,
// packs nothing. Leaves sums undivided, as FlashDecoding does (Dao et al. 2023), so that many threads can process a long
// sequence; runs have a fixed length, so that no result depends on the number of threads.
struct KeyRun {
  static constexpr int64_t LENGTH = 512;
  const float *q, *k, *v;      // k, v: the first of the run
  int64_t n, stride, share, D;  // number of keys, at most LENGTH; elements between keys; query heads
  float scale;
  float *out, *peak, *total;  // [share,D], [share], [share]

  // Scores of W keys, from j on: dot products along the head, reduced into the lanes of one vector.
  vf scores(const float *query, int64_t j) const {
    const float *key[W];
    for (int i = 0; i < W; i++) key[i] = k + min(j + i, n - 1) * stride;
    vf acc[W] = {};
    int64_t d = 0;
    for (; d + W <= D; d += W) {
      const vf x = load(query + d);
#pragma GCC unroll 16
      for (int i = 0; i < W; i++) acc[i] = multiplyAdd(x, load(key[i] + d), acc[i]);
    }
    if (d < D) {
      const vf x = loadPart(query + d, D - d);
      for (int i = 0; i < W; i++) acc[i] = multiplyAdd(x, loadPart(key[i] + d, D - d), acc[i]);
    }
    return sums(acc) * scale;
  }
  // Adds weighted values to C vectors of R heads, from column d on.
  template <int R, int C>
  void addValues(const float *weights, int64_t from, int64_t to, int64_t d, float *sum) const {
    vf acc[R][C];
    for (int r = 0; r < R; r++) {
      for (int c = 0; c < C; c++) acc[r][c] = load(sum + r * D + d + c * W);
    }
    const float *value = v + from * stride + d;
    for (int64_t j = from; j < to; j++, value += stride) {
#pragma GCC unroll 4
      for (int c = 0; c < C; c++) {
        const vf x = load(value + c * W);
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) acc[r][c] = multiplyAdd(splat(weights[r * LENGTH + j]), x, acc[r][c]);
      }
    }
    for (int r = 0; r < R; r++) {
      for (int c = 0; c < C; c++) store(sum + r * D + d + c * W, acc[r][c]);
    }
  }
  template <int R>
  void addValues(const float *weights, int64_t from, int64_t to, float *sum) const {
    int64_t d = 0;
    for (; d + 4 * W <= D; d += 4 * W) addValues<R, 4>(weights, from, to, d, sum);
    for (; d + W <= D; d += W) addValues<R, 1>(weights, from, to, d, sum);
    for (; d < D; d++) {
      for (int r = 0; r < R; r++) {
        for (int64_t j = from; j < to; j++) sum[r * D + d] += weights[r * LENGTH + j] * v[j * stride + d];
      }
    }
  }
  void attend() const {
    float *weights = (float *)meap::scratch(2, share * LENGTH * 4);
    for (int64_t j = 0; j < n; j += W) {
      for (int64_t r = 0; r < share; r++) store(weights + r * LENGTH + j, scores(q + r * D, j));
    }
    for (int64_t r = 0; r < share; r++) {
      float *row = weights + r * LENGTH;
      for (int64_t j = n; j < roundUp(n, W); j++) row[j] = -1e30f;
      vf m = load(row), t{};
      for (int64_t j = W; j < n; j += W) m = max(m, load(row + j));
      peak[r] = maxOf(m);
      for (int64_t j = 0; j < n; j += W) {
        const vf e = exp(load(row + j) - peak[r]);
        store(row + j, e);
        t += e;
      }
      total[r] = sum(t);
    }
    memset(out, 0, share * D * 4);
    constexpr int64_t block = 64;  // values that fit the first-level cache for all heads
    for (int64_t j = 0; j < n; j += block) {
      const int64_t end = min(n, j + block);
      int64_t r = 0;
      for (; r + 2 <= share; r += 2) addValues<2>(weights + r * LENGTH, j, end, out + r * D);
      if (r < share) addValues<1>(weights + r * LENGTH, j, end, out + r * D);
    }
  }
};

// Attention of few queries over their sequences.
void attendFew(const meap::CachedAttention &a) {
  const int64_t share = a.H / a.G, stride = a.G * a.D, queries = a.B * a.T;
  // Visible keys of a query, and their runs.
  auto firstKey = [&](int64_t b, int64_t t) { return a.window ? max(0, a.lengths[b] + t + 1 - a.window) : 0; };
  auto numKeys = [&](int64_t b, int64_t t) { return a.lengths[b] + t + 1 - firstKey(b, t); };
  int64_t runs = 0;
  for (int64_t b = 0; b < a.B; b++) runs = max(runs, (numKeys(b, a.T - 1) + KeyRun::LENGTH - 1) / KeyRun::LENGTH);
  const int64_t size = share * (a.D + 2);
  float *partial = (float *)meap::scratch(0, queries * a.G * runs * size * 4);
  parallel(queries * a.G * runs, [&](int64_t task) {
    const int64_t run = task % runs, g = task / runs % a.G, query = task / runs / a.G, b = query / a.T, t = query % a.T;
    const int64_t from = run * KeyRun::LENGTH, n = min(KeyRun::LENGTH, numKeys(b, t) - from);
    if (n <= 0) return;
    const int64_t at = (firstKey(b, t) + from) * stride + g * a.D;
    float *out = partial + task * size;
    const float *q = a.q + (query * a.H + g * share) * a.D;
    KeyRun{q, a.keys[b] + at, a.values[b] + at, n, stride, share, a.D, a.scale, out, out + share * a.D,
           out + share * (a.D + 1)}.attend();
  });
  parallel(queries * a.G, [&](int64_t task) {
    const int64_t query = task / a.G, b = query / a.T, t = query % a.T;
    const int64_t seen = (numKeys(b, t) + KeyRun::LENGTH - 1) / KeyRun::LENGTH;
    for (int64_t r = 0; r < share; r++) {
      const float *first = partial + task * runs * size;
      float peak = -1e30f, total = 0;
      for (int64_t i = 0; i < seen; i++) {
        const float own = first[i * size + share * a.D + r];
        peak = own > peak ? own : peak;
      }
      float *out = a.out + (query * a.H + task % a.G * share + r) * a.D;
      memset(out, 0, a.D * 4);
      for (int64_t i = 0; i < seen; i++) {
        const float *part = first + i * size;
        const float factor = exp(splat(part[share * a.D + r] - peak))[0];
        total += part[share * (a.D + 1) + r] * factor;
        for (int64_t d = 0; d < a.D; d++) out[d] += part[r * a.D + d] * factor;
      }
      for (int64_t d = 0; d < a.D; d++) out[d] /= total;
    }
  });
}

void cachedAttention(const meap::CachedAttention &a) {
  const int64_t row = a.G * a.D;
  for (int64_t b = 0; b < a.B; b++) {
    memcpy(a.keys[b] + a.lengths[b] * row, a.k + b * a.T * row, a.T * row * 4);
    memcpy(a.values[b] + a.lengths[b] * row, a.v + b * a.T * row, a.T * row * 4);
  }
  constexpr int64_t few = 4;  // for so few queries packing the keys would cost more than it saves
  if (a.T <= few) return attendFew(a);
  for (int64_t b = 0; b < a.B; b++) {
    meap::Attention one{};
    const int64_t first = b * a.T * a.H * a.D;
    one.q = a.q + first, one.out = a.out + first, one.k = a.keys[b], one.v = a.values[b];
    one.B = 1, one.T = a.T, one.S = a.lengths[b] + a.T, one.H = a.H, one.G = a.G, one.D = a.D;
    one.window = a.window, one.scale = a.scale;
    attention(one);
  }
}

// Gradients of one (batch, query head) pair; the caller sums dk and dv of the heads of a group.
void attentionGradHead(const meap::Attention &a, const AttentionShape &s, int64_t b, int64_t h, const float *keys,
                       float *dk, float *dv, int64_t dStride) {
  const int64_t tiles = (s.T + TILE - 1) / TILE, paddedT = tiles * TILE, keySize = s.keyPanels * NR * s.D;
  const float *values = keys + keySize, *keysLengthwise = values + keySize;
  const int64_t sideSize = paddedT * s.D, lengthSize = s.headPanels * paddedT * NR;
  float *work = (float *)meap::scratch(
      1, (2 * sideSize + 2 * lengthSize + paddedT * s.paddedD + 2 * paddedT + 2 * TILE * TILE +
          2 * TILE * s.paddedD) * 4);
  float *queries = work, *douts = queries + sideSize;                       // A operands by tile
  float *queriesLengthwise = douts + sideSize, *doutsLengthwise = queriesLengthwise + lengthSize;
  float *dq = doutsLengthwise + lengthSize, *dots = dq + paddedT * s.paddedD, *shift = dots + paddedT;
  float *p = shift + paddedT, *dp = p + TILE * TILE;
  float *dkTile = dp + TILE * TILE, *dvTile = dkTile + TILE * s.paddedD;
  const int64_t stride = s.H * s.D, base = (b * s.T * s.H + h) * s.D;
  const float *q = a.q + base, *dOut = a.dOut + base, *out = a.out + base;
  for (int64_t t = 0; t < s.T; t += TILE) {
    packTile(q + t * stride, stride, 1, min(TILE, s.T - t), s.D, queries + t * s.D, a.scale);
    packTile(dOut + t * stride, stride, 1, min(TILE, s.T - t), s.D, douts + t * s.D);
  }
  packLengthwise(s, q, stride, s.T, paddedT, a.scale, queriesLengthwise);
  packLengthwise(s, dOut, stride, s.T, paddedT, 1, doutsLengthwise);
  memset(dq, 0, paddedT * s.paddedD * 4);
  for (int64_t t = 0; t < s.T; t++) {
    dots[t] = dotRow(dOut + t * stride, out + t * stride, s.D);
    shift[t] = a.logSumExp[(b * s.H + h) * s.T + t];
  }
  for (int64_t k0 = 0; k0 < s.S; k0 += TILE) {
    const int64_t cols = min(TILE, s.S - k0);
    memset(dkTile, 0, 2 * TILE * s.paddedD * 4);
    for (int64_t q0 = max(0, k0 - s.offset) / TILE * TILE; q0 < s.T; q0 += TILE) {
      const int64_t rows = min(TILE, s.T - q0), q1 = q0 + rows;
      if (s.lastKey(q1) <= k0) continue;
      if (s.firstKey(q0) >= k0 + cols) break;
      if (s.isMasked(b, q0, q1, k0, k0 + cols)) continue;
      const int64_t diagonal = q0 + s.offset - k0;
      auto visible = [&](int64_t i, int64_t j) { return j <= diagonal + i + MR - 1; };
      scoreTile(s.D, queries + q0 * s.D, keys + k0 * s.D, p, rows, cols, visible);
      scoreTile(s.D, douts + q0 * s.D, values + k0 * s.D, dp, rows, cols, visible);
      const bool unmasked = cols == TILE && k0 + TILE - 1 <= q0 + s.offset && !s.segmentIds &&
                         (!s.window || k0 > q1 - 1 + s.offset - s.window);
      if (!unmasked) s.hide(p, b, q0, rows, k0, cols);
      for (int64_t i = 0; i < rows; i++) {
        const vf lse = splat(shift[q0 + i]), dot = splat(dots[q0 + i]);
        const int64_t end = s.rowEnd(diagonal + i);
        for (int64_t j = 0; j < end; j += W) {
          vf e = exp(load(p + i * TILE + j) - lse);
          store(p + i * TILE + j, e);
          // Skipped panels hold stale numbers, perhaps NaN: a zero weight must give zero.
          vf d = e * (load(dp + i * TILE + j) - dot);
          store(dp + i * TILE + j, e == 0.0f ? vf{} : d);
        }
      }
      // Queries from that of a panel's first key on attend to it; a panel of queries attends to keys up to its last one's.
      auto queriesOf = [&](int64_t j) { return std::pair<int64_t, int64_t>{max(0, j - diagonal), rows}; };
      auto keysOf = [&](int64_t i) { return std::pair<int64_t, int64_t>{0, min(cols, diagonal + i + MR)}; };
      addWeighted<1, TILE>(p, doutsLengthwise + q0 * NR, paddedT * NR, dvTile, s.paddedD, cols, queriesOf);
      addWeighted<1, TILE>(dp, queriesLengthwise + q0 * NR, paddedT * NR, dkTile, s.paddedD, cols, queriesOf);
      addWeighted<TILE, 1>(dp, keysLengthwise + k0 * NR, s.paddedS * NR, dq + q0 * s.paddedD, s.paddedD, rows, keysOf);
    }
    for (int64_t j = 0; j < cols; j++) {
      memcpy(dk + (k0 + j) * dStride, dkTile + j * s.paddedD, s.D * 4);
      memcpy(dv + (k0 + j) * dStride, dvTile + j * s.paddedD, s.D * 4);
    }
  }
  for (int64_t t = 0; t < s.T; t++) {
    for (int64_t d = 0; d < s.D; d++) a.dq[base + t * stride + d] = dq[t * s.paddedD + d] * a.scale;
  }
}

void attentionGrad(const meap::Attention &a) {
  const AttentionShape s(a);
  const int64_t stride = s.G * s.D, keySize = s.keyPanels * NR * s.D, lengthSize = s.headPanels * s.paddedS * NR;
  const int64_t packedSize = 2 * keySize + lengthSize, share = s.H / s.G;
  float *packed = (float *)meap::scratch(0, s.B * s.G * packedSize * 4);
  parallel(s.B * s.G, [&](int64_t i) {
    const int64_t base = (i / s.G) * s.S * stride + (i % s.G) * s.D;
    float *to = packed + i * packedSize;
    packKeysAcross(s, a.k + base, to);
    packKeysAcross(s, a.v + base, to + keySize);
    packLengthwise(s, a.k + base, stride, s.S, s.paddedS, 1, to + 2 * keySize);
  });
  // With shared key-value heads each query head writes its own gradients, which are then summed in order.
  float *partial = share > 1 ? (float *)meap::scratch(3, 2 * s.B * s.H * s.S * s.D * 4) : nullptr;
  parallel(s.B * s.H, [&](int64_t i) {
    const int64_t b = i / s.H, h = i % s.H, kv = b * s.G + s.group(h);
    float *dk = partial ? partial + 2 * i * s.S * s.D : a.dk + b * s.S * stride + h * s.D;
    float *dv = partial ? dk + s.S * s.D : a.dv + b * s.S * stride + h * s.D;
    attentionGradHead(a, s, b, h, packed + kv * packedSize, dk, dv, partial ? s.D : stride);
  });
  if (!partial) return;
  parallel(s.B * s.S, [&](int64_t i) {
    const int64_t b = i / s.S, t = i % s.S;
    for (int64_t g = 0; g < s.G; g++) {
      float *dk = a.dk + (i * s.G + g) * s.D, *dv = a.dv + (i * s.G + g) * s.D;
      for (int64_t r = 0; r < share; r++) {
        const float *from = partial + 2 * (b * s.H + g * share + r) * s.S * s.D + t * s.D;
        for (int64_t d = 0; d < s.D; d++) {
          dk[d] = r ? dk[d] + from[d] : from[d];
          dv[d] = r ? dv[d] + from[s.S * s.D + d] : from[s.S * s.D + d];
        }
      }
    }
  });
}

}  // namespace
