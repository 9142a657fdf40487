// Causal grouped-query attention in tiles, forward and backward, after FlashAttention-2 (Dao 2023): scores live one
// tile at a time, memory is linear in length. Keys and values are packed once per key-value head and read by all
// query heads and tiles.
#pragma once
#include "gemm.h"

namespace {

constexpr int64_t TILE = 96;  // queries and keys a tile: whole panels for every MR and NR
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
  // Keys [first, last) that some query of [q0, q1) can see by position.
  int64_t firstKey(int64_t q0) const { return window ? most(0, q0 + offset - window + 1) : 0; }
  int64_t lastKey(int64_t q1) const { return least(S, q1 + offset); }
  // Whether segments part the whole tile: ids rise along a row in packed data, so their ranges tell.
  bool apart(int64_t b, int64_t q0, int64_t q1, int64_t k0, int64_t k1) const {
    if (!segmentIds) return false;
    const Range keys(segmentIds + b * T, k0, k1);
    return !keys.meets({segmentIds + b * T, q0, q1}) && !(prefixIds && keys.meets({prefixIds + b * T, q0, q1}));
  }
  struct Range {
    int32_t low, high;
    Range(const int32_t *ids, int64_t from, int64_t to) : low(ids[from]), high(ids[from]) {
      for (int64_t i = from; i < to; i++) {
        low = ids[i] < low ? ids[i] : low;
        high = ids[i] > high ? ids[i] : high;
      }
    }
    bool meets(const Range &other) const { return low <= other.high && other.low <= high; }
  };
  // Columns of a tile that are looked at in a row whose last seen column is `last`, whole vectors: the products go by
  // panels of rows, so that a panel's first row needs zeros as far as its last row sees.
  int64_t rowEnd(int64_t last) const { return least(TILE, roundUp(last + MR, W)); }
  // Writes −inf (as −1e30) where query row i of the tile may not see key column j.
  void hide(float *scores, int64_t b, int64_t q0, int64_t rows, int64_t k0, int64_t cols) const {
    for (int64_t i = 0; i < rows; i++) {
      const int64_t position = q0 + i + offset;
      float *row = scores + i * TILE;
      for (int64_t j = most(0, position + 1 - k0); j < cols; j++) row[j] = -1e30f;
      if (window) {
        for (int64_t j = 0; j < least(cols, position - window + 1 - k0); j++) row[j] = -1e30f;
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
    pack<NR, false>(head + p * NR, 1, stride, least(NR, s.D - p * NR), length, packed + p * padded * NR, NR * padded, scale);
  }
}
// A operand panels of one tile: [rowPanel][depth][MR].
void packTile(const float *source, int64_t laneStride, int64_t depthStride, int64_t lanes, int64_t depth,
              float *packed, float scale = 1.0f) {
  pack<MR, false>(source, laneStride, depthStride, lanes, depth, packed, MR * depth, scale);
}

// Scores of a tile: rows of a against columns of b, over the head. Panels that no query sees are left untouched.
template <class Seen>
void scoreTile(int64_t depth, const float *a, const float *b, float *scores, int64_t rows, int64_t cols, Seen seen) {
  for (int64_t j = 0; j < cols; j += NR) {
    for (int64_t i = 0; i < rows; i += MR) {
      if (!seen(i, j)) continue;
      registerKernel(depth, a + i * depth, b + j * depth, scores + i * TILE + j, nullptr, TILE, least(MR, rows - i),
                     least(NR, cols - j));
    }
  }
}

// sums += weights · b over the part of the depth that is not masked for a panel of rows. Element (i, k) of weights is
// weights[i * ROW + k * STEP]: the tile of scores as it lies, or its transpose.
template <int ROW, int STEP, class Range>
void addWeighted(const float *weights, const float *b, int64_t strideB, float *sums, int64_t width, int64_t rows,
                 Range range) {
  for (int64_t j = 0; j < width; j += NR) {
    for (int64_t i = 0; i < rows; i += MR) {
      const auto [from, to] = range(i);
      if (from >= to) continue;
      float *c = sums + i * width + j;
      registerKernel<ROW, STEP>(to - from, weights + i * ROW + from * STEP, b + j / NR * strideB + from * NR, c, c,
                                width, least(MR, rows - i), NR);
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
    // Latest tiles first: they see the most keys, so the short ones fill the gaps at the end.
    const int64_t tile = tiles - 1 - task / (s.B * s.H), b = task % (s.B * s.H) / s.H, h = task % s.H;
    const int64_t q0 = tile * TILE, rows = least(TILE, s.T - q0), q1 = q0 + rows;
    const float *keys = packed + (b * s.G + s.group(h)) * (keySize + valueSize), *values = keys + keySize;
    float *work = (float *)meap::scratch(1, (TILE * s.D + TILE * TILE + TILE * s.paddedD + 2 * TILE) * 4);
    float *queries = work, *scores = queries + TILE * s.D, *acc = scores + TILE * TILE, *peak = acc + TILE * s.paddedD, *total = peak + TILE;
    packTile(a.q + ((b * s.T + q0) * s.H + h) * s.D, s.H * s.D, 1, rows, s.D, queries, a.scale);
    memset(acc, 0, TILE * s.paddedD * 4);
    for (int64_t i = 0; i < rows; i++) peak[i] = -1e30f, total[i] = 0;
    for (int64_t k0 = s.firstKey(q0) / TILE * TILE; k0 < s.lastKey(q1); k0 += TILE) {
      const int64_t cols = least(TILE, s.S - k0);
      if (s.apart(b, q0, q1, k0, k0 + cols)) continue;
      const int64_t diagonal = q0 + s.offset - k0;  // the last key of the tile that query row 0 sees
      scoreTile(s.D, queries, keys + k0 * s.D, scores, rows, cols,
                [&](int64_t i, int64_t j) { return j <= diagonal + i + MR - 1; });
      const bool whole = cols == TILE && k0 + TILE - 1 <= q0 + s.offset && !s.segmentIds &&
                         (!s.window || k0 > q1 - 1 + s.offset - s.window);
      if (!whole) s.hide(scores, b, q0, rows, k0, cols);
      for (int64_t i = 0; i < rows; i++) {
        float *row = scores + i * TILE;
        const int64_t end = s.rowEnd(diagonal + i);
        vf m = load(row);
        for (int64_t j = W; j < end; j += W) m = max(m, load(row + j));
        const float before = peak[i], now = maxOf(m) > before ? maxOf(m) : before;
        // A row that has seen nothing yet would give e^0 for hidden keys.
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
        return std::pair<int64_t, int64_t>{0, least(cols, diagonal + i + MR)};
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

// One query against a run of a sequence's keys, for the query heads that share key-value head g: reads keys and values
// once, packs nothing. Leaves sums that are not divided yet, as FlashDecoding does (Dao et al. 2023), so that a long
// sequence is work for many threads; runs have one length, so that no result depends on how many there are.
struct KeyRun {
  static constexpr int64_t LENGTH = 512;
  const float *q, *k, *v;      // k, v: the run's first
  int64_t n, stride, share, D;  // keys of the run, at most LENGTH; from one to the next; query heads
  float scale;
  float *out, *peak, *total;  // [share,D], [share], [share]

  // Scores of W keys, from j on: dot products along the head, folded together into the lanes of one vector.
  vf scores(const float *query, int64_t j) const {
    const float *key[W];
    for (int i = 0; i < W; i++) key[i] = k + least(j + i, n - 1) * stride;
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
    constexpr int64_t block = 64;  // values that stay in the first-level cache for all heads
    for (int64_t j = 0; j < n; j += block) {
      const int64_t end = least(n, j + block);
      int64_t r = 0;
      for (; r + 2 <= share; r += 2) addValues<2>(weights + r * LENGTH, j, end, out + r * D);
      if (r < share) addValues<1>(weights + r * LENGTH, j, end, out + r * D);
    }
  }
};

// Few queries against their sequences.
void attendFew(const meap::CachedAttention &a) {
  const int64_t share = a.H / a.G, stride = a.G * a.D, queries = a.B * a.T;
  // Keys that a query sees, and the runs they make.
  auto firstKey = [&](int64_t b, int64_t t) { return a.window ? most(0, a.lengths[b] + t + 1 - a.window) : 0; };
  auto numKeys = [&](int64_t b, int64_t t) { return a.lengths[b] + t + 1 - firstKey(b, t); };
  int64_t runs = 0;
  for (int64_t b = 0; b < a.B; b++) runs = most(runs, (numKeys(b, a.T - 1) + KeyRun::LENGTH - 1) / KeyRun::LENGTH);
  const int64_t size = share * (a.D + 2);
  float *partial = (float *)meap::scratch(0, queries * a.G * runs * size * 4);
  parallel(queries * a.G * runs, [&](int64_t task) {
    const int64_t run = task % runs, g = task / runs % a.G, query = task / runs / a.G, b = query / a.T, t = query % a.T;
    const int64_t from = run * KeyRun::LENGTH, n = least(KeyRun::LENGTH, numKeys(b, t) - from);
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
  constexpr int64_t few = 4;  // queries up to which packing the keys would cost more than it saves
  if (a.T <= few) return attendFew(a);
  for (int64_t b = 0; b < a.B; b++) {
    meap::Attention one{};
    one.q = a.q + b * a.T * a.H * a.D;
    one.out = a.out + b * a.T * a.H * a.D;
    one.k = a.keys[b];
    one.v = a.values[b];
    one.B = 1;
    one.T = a.T;
    one.S = a.lengths[b] + a.T;
    one.H = a.H;
    one.G = a.G;
    one.D = a.D;
    one.window = a.window;
    one.scale = a.scale;
    attention(one);
  }
}

// Gradients of one (batch, query head) pair; dk and dv of a group's heads are summed by the caller.
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
    packTile(q + t * stride, stride, 1, least(TILE, s.T - t), s.D, queries + t * s.D, a.scale);
    packTile(dOut + t * stride, stride, 1, least(TILE, s.T - t), s.D, douts + t * s.D);
  }
  packLengthwise(s, q, stride, s.T, paddedT, a.scale, queriesLengthwise);
  packLengthwise(s, dOut, stride, s.T, paddedT, 1, doutsLengthwise);
  memset(dq, 0, paddedT * s.paddedD * 4);
  for (int64_t t = 0; t < s.T; t++) {
    dots[t] = dotRow(dOut + t * stride, out + t * stride, s.D);
    shift[t] = a.logSumExp[(b * s.H + h) * s.T + t];
  }
  for (int64_t k0 = 0; k0 < s.S; k0 += TILE) {
    const int64_t cols = least(TILE, s.S - k0);
    memset(dkTile, 0, 2 * TILE * s.paddedD * 4);
    for (int64_t q0 = most(0, k0 - s.offset) / TILE * TILE; q0 < s.T; q0 += TILE) {
      const int64_t rows = least(TILE, s.T - q0), q1 = q0 + rows;
      if (s.lastKey(q1) <= k0) continue;
      if (s.firstKey(q0) >= k0 + cols) break;
      if (s.apart(b, q0, q1, k0, k0 + cols)) continue;
      const int64_t diagonal = q0 + s.offset - k0;
      auto seen = [&](int64_t i, int64_t j) { return j <= diagonal + i + MR - 1; };
      scoreTile(s.D, queries + q0 * s.D, keys + k0 * s.D, p, rows, cols, seen);
      scoreTile(s.D, douts + q0 * s.D, values + k0 * s.D, dp, rows, cols, seen);
      const bool whole = cols == TILE && k0 + TILE - 1 <= q0 + s.offset && !s.segmentIds &&
                         (!s.window || k0 > q1 - 1 + s.offset - s.window);
      if (!whole) s.hide(p, b, q0, rows, k0, cols);
      for (int64_t i = 0; i < rows; i++) {
        const vf lse = splat(shift[q0 + i]), dot = splat(dots[q0 + i]);
        const int64_t end = s.rowEnd(diagonal + i);
        for (int64_t j = 0; j < end; j += W) {
          vf e = exp(load(p + i * TILE + j) - lse);
          store(p + i * TILE + j, e);
          // Skipped panels hold stale numbers: zero weight must win over whatever they are.
          vf d = e * (load(dp + i * TILE + j) - dot);
          store(dp + i * TILE + j, e == 0.0f ? vf{} : d);
        }
      }
      // A panel of keys is seen from its first key's query on, a panel of queries sees up to its last query's key.
      auto queriesOf = [&](int64_t j) { return std::pair<int64_t, int64_t>{most(0, j - diagonal), rows}; };
      auto keysOf = [&](int64_t i) { return std::pair<int64_t, int64_t>{0, least(cols, diagonal + i + MR)}; };
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
  // With shared key-value heads each query head writes its own gradients; they are summed in head order.
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
