// Matrix products after BLIS (Van Zee & van de Geijn 2015): both operands are packed into panels, which a register kernel
// multiplies. Panels of A are [k][MR], of B [k][NR].
#pragma once
#include <numeric>
#include "quantized.h"

namespace {

#if MEAP_VECTOR_BYTES == 64
constexpr int MR = 12, NV = 2;
#elif MEAP_VECTOR_BYTES == 32
constexpr int MR = 6, NV = 2;
#else
constexpr int MR = 6, NV = 2;
#endif
constexpr int NR = NV * W;
// Depth, rows and columns of a block: that of A fits the second-level cache, that of B the third. Blocks are deep, since
// each reads and writes all of C.
constexpr int64_t KC = 768, MC = 48, NC = 1536;

MEAP_INLINE float roundToBfloat16(float x) { return fromBfloat16((uint16_t)bfloat16Bits(x)); }
MEAP_INLINE vf roundToBfloat16(vf x) {
  const vi bits = (vi)x;
  return (vf)((bits + 0x7fff + ((bits >> 16) & 1)) & (int32_t)0xffff0000);
}
// Stores a vector at lane i0, up to LANES lanes.
template <int LANES, class V>
MEAP_INLINE void storeLanes(float *to, int i0, V x) {
  constexpr int part = LANES % W;
  if (i0 + W <= LANES) memcpy(to + i0, &x, sizeof x);
  else memcpy(to + i0, &x, part * 4);
}

MEAP_INLINE float toFloat(float x) { return x; }
MEAP_INLINE float toFloat(uint16_t bits) { return fromBfloat16(bits); }

// The first FIRST lanes of a and the others of b.
template <int FIRST, int... J>
MEAP_INLINE vf joined(vf a, vf b, std::integer_sequence<int, J...>) {
  return __builtin_shufflevector(a, b, (J < FIRST ? J : W + J)...);
}
// Packs as many rows of LANES numbers as fill whole vectors. A vector may hold the end of one row and the start of the
// next, which is loaded from before its start so that its lanes match.
template <int LANES, bool ROUND, int V = 0, class T>
MEAP_INLINE void packRows(const T *from, int64_t depthStride, float *to, float scale) {
  constexpr int row = V * W / LANES, offset = V * W % LANES, first = LANES - offset < W ? LANES - offset : W;
  vf x = load(from + row * depthStride + offset);
  if constexpr (first < W) {
    x = joined<first>(x, load(from + (row + 1) * depthStride - first), std::make_integer_sequence<int, W>());
  }
  x *= scale;
  store(to + V * W, ROUND ? roundToBfloat16(x) : x);
  if constexpr ((V + 1) * W % LANES != 0) packRows<LANES, ROUND, V + 1>(from, depthStride, to, scale);
}

// Packs rows along the lanes: all panels for each step, so that memory is read in whole rows.
template <int LANES, bool ROUND, class T>
void packAlongLanes(const T *source, int64_t depthStride, int64_t lanes, int64_t depth, float *panels,
                    int64_t panelStride, float scale) {
  auto value = [&](T x) { return ROUND ? roundToBfloat16(toFloat(x) * scale) : toFloat(x) * scale; };
  constexpr int64_t lineOf = 64 / sizeof(T), ahead = 8;
  constexpr int64_t rows = W / std::gcd(LANES, W);
  for (int64_t k = 0; k < depth; k += rows) {
    const T *__restrict from = source + k * depthStride;
    const int64_t here = min(rows, depth - k);
    for (int64_t row = ahead; row < ahead + here; row++) {
      for (int64_t i = 0; i < lanes; i += lineOf) __builtin_prefetch(from + row * depthStride + i);
    }
    for (int64_t i0 = 0; i0 < lanes; i0 += LANES) {
      float *__restrict to = panels + i0 / LANES * panelStride + k * LANES;
      if (here == rows && i0 + LANES <= lanes) {
        packRows<LANES, ROUND>(from + i0, depthStride, to, scale);
        continue;
      }
      for (int64_t row = 0; row < here; row++) {
        for (int i = 0; i < LANES; i++) {
          to[row * LANES + i] = i0 + i < lanes ? value(from[row * depthStride + i0 + i]) : 0.0f;
        }
      }
    }
  }
}

// Transposes squares of 4 × 4 side by side.
MEAP_INLINE void transposeSquares(vf *rows) {
  constexpr auto lanes = std::make_integer_sequence<int, W>();
  exchange<2>(rows[0], rows[2], lanes);
  exchange<2>(rows[1], rows[3], lanes);
  exchange<1>(rows[0], rows[1], lanes);
  exchange<1>(rows[2], rows[3], lanes);
}

// Packs `lanes` lanes × `depth` steps into panels [depth][LANES], panelStride apart, the last padded with zeros:
// element (lane, k) is source[lane * laneStride + k * depthStride], one of the strides being 1.
template <int LANES, bool ROUND, class T>
void pack(const T *source, int64_t laneStride, int64_t depthStride, int64_t lanes, int64_t depth, float *panels,
          int64_t panelStride, float scale = 1.0f) {
  if (laneStride == 1) {
    return packAlongLanes<LANES, ROUND>(source, depthStride, lanes, depth, panels, panelStride, scale);
  }
  auto value = [&](T x) { return ROUND ? roundToBfloat16(toFloat(x) * scale) : toFloat(x) * scale; };
  for (int64_t lane = 0; lane < lanes; lane += LANES, source += LANES * laneStride, panels += panelStride) {
    const int64_t here = min(LANES, lanes - lane);
    // Each lane is a row: squares of 4 lanes × 4 steps are transposed in registers, as many at once as a vector holds.
    int64_t k = 0;
    for (; k + W <= depth; k += W) {
#pragma GCC unroll 8
      for (int i0 = 0; i0 < LANES; i0 += 4) {
        vf rows[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) {
          rows[i] = i0 + i < here ? load(source + (i0 + i) * laneStride + k) * scale : vf{};
          if (ROUND) rows[i] = roundToBfloat16(rows[i]);
        }
        transposeSquares(rows);
#pragma GCC unroll 4
        for (int step = 0; step < 4; step++) {
#pragma GCC unroll 4
          for (int square = 0; square < W / 4; square++) {
            memcpy(panels + (k + square * 4 + step) * LANES + i0, (const float *)&rows[step] + square * 4,
                   LANES - i0 < 4 ? LANES % 4 * 4 : 16);
          }
        }
      }
    }
    for (; k < depth; k++) {
      for (int i = 0; i < LANES; i++) panels[k * LANES + i] = i < here ? value(source[i * laneStride + k]) : 0.0f;
    }
  }
}

// Stores the part of a tile [MR][NR] that is inside c.
void storeTile(const float *tile, float *c, const float *plus, int64_t ldc, int64_t rows, int64_t cols) {
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < cols; j++) {
      c[i * ldc + j] = plus ? plus[i * ldc + j] + tile[i * NR + j] : tile[i * NR + j];
    }
  }
}

// Prefetch distance of panels in steps of depth, since they stream from the second-level cache.
constexpr int64_t AHEAD_A = 16, AHEAD_B = 8;

// c[rows, cols] = plus + a · b for one pair of panels; plus has the layout of c, may be c itself or null.
// Element (i, k) of a is a[i * ROW + k * STEP]: a packed panel, or a tile in the first-level cache.
// Not inlined: inlined, the inner loop runs out of registers.
template <int ROW = 1, int STEP = MR>
__attribute__((noinline)) void registerKernel(int64_t depth, const float *__restrict a, const float *__restrict b,
                                              float *c, const float *plus, int64_t ldc, int64_t rows, int64_t cols) {
  vf acc[MR][NV] = {};
  // C is not in the cache and needed at the end.
  if (rows == MR) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      __builtin_prefetch((plus ? plus : c) + i * ldc, 1);
      __builtin_prefetch((plus ? plus : c) + i * ldc + NR - 1, 1);
    }
  }
  for (int64_t k = 0; k < depth; k++) {
    if (STEP == MR) __builtin_prefetch(a + AHEAD_A * MR);
    vf bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      __builtin_prefetch(b + AHEAD_B * NR + j * W);
      bv[j] = load(b + j * W);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      vf av = splat(a[i * ROW]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) acc[i][j] = multiplyAdd(av, bv[j], acc[i][j]);
    }
    a += STEP;
    b += NR;
  }
  if (rows == MR && cols == NR) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) {
        const int64_t at = i * ldc + j * W;
        store(c + at, plus ? load(plus + at) + acc[i][j] : acc[i][j]);
      }
    }
    return;
  }
  float tile[MR * NR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) store(tile + i * NR + j * W, acc[i][j]);
  }
  storeTile(tile, c, plus, ldc, rows, cols);
}

#if defined(__AVX512BF16__)
// 2·W numbers as W pairs of bfloat16, the first of a pair in the low 16 bits.
MEAP_INLINE vi loadPairs(const uint16_t *p) {
  vi pairs;
  memcpy(&pairs, p, sizeof pairs);
  return pairs;
}
template <int... J>
MEAP_INLINE vi pairUp(vi a, vi b, std::integer_sequence<int, J...>) {
  const vi even = __builtin_shufflevector(a, b, (2 * J)...), odd = __builtin_shufflevector(a, b, (2 * J + 1)...);
  return (even >> 16 & 0xffff) | (odd & (int32_t)0xffff0000);
}
MEAP_INLINE vi loadPairs(const float *p) {
  const vi a = (vi)roundToBfloat16(load(p)), b = (vi)roundToBfloat16(load(p + W));
  return pairUp(a, b, std::make_integer_sequence<int, W>());
}
// Pairs of bfloat16 along k in each 32-bit lane.
template <int LANES, class T>
void packPairs(const T *source, int64_t laneStride, int64_t depthStride, int64_t lanes, int64_t depth,
               uint32_t *panel) {
  auto bits = [&](int64_t i, int64_t k) -> uint32_t {
    if (i >= lanes || k >= depth) return 0;
    const T x = source[i * laneStride + k * depthStride];
    return sizeof(T) == 2 ? (uint32_t)x : bfloat16Bits(x);
  };
  if (lanes == LANES && depth % 2 == 0) {
    if (laneStride == 1) {
      for (int64_t k = 0; k < depth; k += 2) {
        for (int i = 0; i < LANES; i++) panel[k / 2 * LANES + i] = bits(i, k) | bits(i, k + 1) << 16;
      }
      return;
    }
  }
  int64_t k = 0;
  if (depthStride == 1) {
    for (; k + 2 * W <= depth; k += 2 * W) {
      for (int i0 = 0; i0 < LANES; i0 += W) {
        vi rows[W];
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) {
          rows[i] = i0 + i < lanes ? loadPairs(source + (i0 + i) * laneStride + k) : vi{};
        }
        transpose(rows);
#pragma GCC unroll 16
        for (int i = 0; i < W; i++) storeLanes<LANES>((float *)panel + (k / 2 + i) * LANES, i0, rows[i]);
      }
    }
  }
  for (; k < depth; k += 2) {
    for (int i = 0; i < LANES; i++) panel[k / 2 * LANES + i] = bits(i, k) | bits(i, k + 1) << 16;
  }
}

__attribute__((noinline)) void registerKernelPairs(int64_t pairs, const uint32_t *__restrict a,
                                                   const uint32_t *__restrict b, float *c, const float *plus,
                                                   int64_t ldc, int64_t rows, int64_t cols) {
  __m512 acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++)
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) acc[i][j] = _mm512_setzero_ps();
  for (int64_t k = 0; k < pairs; k++) {
    __m512bh bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) bv[j] = (__m512bh)_mm512_loadu_si512(b + j * W);
#pragma GCC unroll 16
    for (int i = 0; i < MR; i++) {
      __m512bh av = (__m512bh)_mm512_set1_epi32((int)a[i]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; j++) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], av, bv[j]);
    }
    a += MR;
    b += NR;
  }
  float tile[MR * NR];
  const bool whole = rows == MR && cols == NR;
#pragma GCC unroll 16
  for (int i = 0; i < MR; i++) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; j++) {
      const int64_t at = i * ldc + j * W;
      if (whole && plus) acc[i][j] = _mm512_add_ps(_mm512_loadu_ps(plus + at), acc[i][j]);
      _mm512_storeu_ps(whole ? c + at : tile + i * NR + j * W, acc[i][j]);
    }
  }
  if (!whole) storeTile(tile, c, plus, ldc, rows, cols);
}
#endif

// A cache line more than a panel needs: panels at multiples of a page would map to the same lines of the first-level
// cache.
template <int LANES>
constexpr int64_t panelStride(int64_t depth) {
  return LANES * depth + 16;
}

// Packing and products of panels in one precision.
struct Float32Panels {
  template <int LANES, class T>
  static void pack(const T *s, int64_t ls, int64_t ds, int64_t lanes, int64_t depth, float *p) {
    ::pack<LANES, false>(s, ls, ds, lanes, depth, p, panelStride<LANES>(depth));
  }
  static void multiply(int64_t depth, const float *a, const float *b, float *c, const float *plus, int64_t ldc,
                       int64_t rows, int64_t cols) {
    registerKernel(depth, a, b, c, plus, ldc, rows, cols);
  }
  static int64_t panelDepth(int64_t depth) { return depth; }
};
struct Bfloat16Panels {
#if defined(__AVX512BF16__)
  template <int LANES, class T>
  static void pack(const T *s, int64_t ls, int64_t ds, int64_t lanes, int64_t depth, float *p) {
    for (int64_t i = 0; i < lanes; i += LANES) {
      packPairs<LANES>(s + i * ls, ls, ds, min(LANES, lanes - i), depth, (uint32_t *)p + i / LANES * panelStride<LANES>(panelDepth(depth)));
    }
  }
  static void multiply(int64_t depth, const float *a, const float *b, float *c, const float *plus, int64_t ldc,
                       int64_t rows, int64_t cols) {
    registerKernelPairs((depth + 1) / 2, (const uint32_t *)a, (const uint32_t *)b, c, plus, ldc, rows, cols);
  }
  static int64_t panelDepth(int64_t depth) { return (depth + 1) / 2; }
#else
  // Without the instruction: inputs rounded to bfloat16, sums in float32.
  template <int LANES, class T>
  static void pack(const T *s, int64_t ls, int64_t ds, int64_t lanes, int64_t depth, float *p) {
    ::pack<LANES, true>(s, ls, ds, lanes, depth, p, panelStride<LANES>(depth));
  }
  static void multiply(int64_t depth, const float *a, const float *b, float *c, const float *plus, int64_t ldc,
                       int64_t rows, int64_t cols) {
    registerKernel(depth, a, b, c, plus, ldc, rows, cols);
  }
  static int64_t panelDepth(int64_t depth) { return depth; }
#endif
};

// Packs panels of a quantised matrix, each of which is expanded first.
template <class Panels>
void packQuantized(const meap::Matrix &matrix, int64_t laneStride, int64_t depthStride, int64_t lanes, int64_t depth,
                   float *panels, int64_t stride) {
  float *tile = (float *)meap::scratch(5, NR * depth * 4);
  for (int64_t lane = 0; lane < lanes; lane += NR, panels += stride) {
    const int64_t width = min(NR, lanes - lane);
    if (laneStride == 1) {
      for (int64_t k = 0; k < depth; k++) expand(matrix, lane + k * depthStride, width, tile + k * NR);
      Panels::template pack<NR>(tile, 1, NR, width, depth, panels);
    } else {
      for (int64_t i = 0; i < width; i++) expand(matrix, (lane + i) * laneStride, depth, tile + i * depth);
      Panels::template pack<NR>(tile, depth, 1, width, depth, panels);
    }
  }
}

// Four rows of a matrix that begins with row `first`, from row n; missing rows repeat the last.
template <class T>
struct FourRows {
  const T *rows[4];
  FourRows(const T *matrix, int64_t stride, int64_t numRows, int64_t n, int64_t first = 0) {
    for (int j = 0; j < 4; j++) rows[j] = matrix + (min(n + j, numRows - 1) - first) * stride;
  }
};

// Stores the products of row m of a with the rows of b from n on, at most four.
MEAP_INLINE void storeDots(const meap::Gemm &g, int64_t m, int64_t n, const vf *acc) {
  for (int64_t j = 0; j < min(4, g.N - n); j++) {
    const int64_t at = m * g.ldc + n + j;
    g.c[at] = g.plus ? g.plus[at] + sum(acc[j]) : sum(acc[j]);
  }
}

// Dot products of MB rows of a with four rows of b.
template <int MB, bool ROUND, class T>
MEAP_INLINE void fewRowsTile(const meap::Gemm &g, const FourRows<T> &b, int64_t m, int64_t n) {
  const float *a[MB];
  for (int i = 0; i < MB; i++) a[i] = g.a + (m + i) * g.lda;
  vf acc[MB][4] = {};
  auto step = [&](auto &&read, int64_t k) {
    vf bv[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      __builtin_prefetch(b.rows[j] + 4 * g.ldb + k);
      bv[j] = ROUND && sizeof(T) == 4 ? roundToBfloat16(read(b.rows[j] + k)) : read(b.rows[j] + k);
    }
#pragma GCC unroll 4
    for (int i = 0; i < MB; i++) {
      const vf av = ROUND ? roundToBfloat16(read(a[i] + k)) : read(a[i] + k);
#pragma GCC unroll 4
      for (int j = 0; j < 4; j++) acc[i][j] = multiplyAdd(av, bv[j], acc[i][j]);
    }
  };
  int64_t k = 0;
  for (; k + W <= g.K; k += W) step([](auto p) { return load(p); }, k);
  if (k < g.K) step([&](auto p) { return loadPart(p, g.K - k); }, k);
  for (int i = 0; i < MB; i++) storeDots(g, m + i, n, acc[i]);
}

// The same of one row of a and quantised rows of whole blocks, expanded in registers. The sum of a block in int8 is scaled
// once, which leaves out the rounding of each value.
template <bool ROUND, class Block>
void oneRowTile(const meap::Gemm &g, int64_t n) {
  const meap::Quantized &q = *g.b.quantized;
  int64_t first[4];
  for (int j = 0; j < 4; j++) first[j] = (g.b.offset + min(n + j, g.N - 1) * g.ldb) / BLOCK;
  const int64_t ahead = 4 * g.ldb / (q.isNf4 ? 2 : 1);
  vf acc[4] = {};
  for (int64_t k = 0; k < g.K; k += BLOCK) {
    vf av[BLOCK / W];
#pragma GCC unroll 16
    for (int i = 0; i < BLOCK / W; i++) {
      av[i] = load(g.a + k + i * W);
      if (ROUND) av[i] = roundToBfloat16(av[i]);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
      const Block block(q, first[j] + k / BLOCK);
      __builtin_prefetch(block.codes + ahead);
      if constexpr (Block::SCALES_SUMS && !ROUND) {
        vf dot{};
#pragma GCC unroll 16
        for (int i = 0; i < BLOCK / W; i++) dot = multiplyAdd(av[i], block.units(i * W), dot);
        acc[j] = multiplyAdd(dot, splat(block.scale()), acc[j]);
        continue;
      }
#pragma GCC unroll 16
      for (int i = 0; i < BLOCK / W; i++) {
        const vf bv = block.values(i * W);
        acc[j] = multiplyAdd(av[i], ROUND ? roundToBfloat16(bv) : bv, acc[j]);
      }
    }
  }
  storeDots(g, 0, n, acc);
}

// Few rows times rows of b (decoding): bound by reading b once, so it packs nothing.
constexpr int64_t FEW_ROWS = 16;
template <bool ROUND, class T>
MEAP_INLINE void fewRowsTiles(const meap::Gemm &g, const FourRows<T> &b, int64_t n) {
  int64_t m = 0;
  for (; m + 4 <= g.M; m += 4) fewRowsTile<4, ROUND>(g, b, m, n);
  for (; m < g.M; m++) fewRowsTile<1, ROUND>(g, b, m, n);
}
template <bool ROUND>
void gemmFewRows(const meap::Gemm &g) {
  constexpr int64_t block = 32;
  const bool wholeBlocks = g.K % BLOCK == 0 && g.ldb % BLOCK == 0 && g.b.offset % BLOCK == 0;
  parallel((g.N + block - 1) / block, [&](int64_t task) {
    for (int64_t n = task * block; n < min(g.N, (task + 1) * block); n += 4) {
      if (g.b.floats) fewRowsTiles<ROUND>(g, FourRows<float>(g.b.floats, g.ldb, g.N, n), n);
      else if (g.b.bfloat16s) fewRowsTiles<ROUND>(g, FourRows<uint16_t>(g.b.bfloat16s, g.ldb, g.N, n), n);
      else if (g.M == 1 && wholeBlocks) {
        g.b.quantized->isNf4 ? oneRowTile<ROUND, Nf4Block>(g, n) : oneRowTile<ROUND, Int8Block>(g, n);
      } else {
        // Whole rows, expanded once for all rows of a.
        const int64_t last = min(4, g.N - n) - 1;
        float *rows = (float *)meap::scratch(5, 4 * g.K * 4);
        for (int64_t j = 0; j <= last; j++) expand(g.b, (n + j) * g.ldb, g.K, rows + j * g.K);
        fewRowsTiles<ROUND>(g, FourRows<float>(rows, g.K, n + last + 1, n, n), n);
      }
    }
  });
}
void gemmFewRows(const meap::Gemm &g) { g.bfloat16 ? gemmFewRows<true>(g) : gemmFewRows<false>(g); }

template <class Panels>
void gemmPacked(const meap::Gemm &g) {
  const int64_t aLane = g.transposeA ? 1 : g.lda, aDepth = g.transposeA ? g.lda : 1;
  const int64_t bLane = g.transposeB ? g.ldb : 1, bDepth = g.transposeB ? 1 : g.ldb;
  const int64_t depthBlocks = (g.K + KC - 1) / KC;
  const int64_t kc = depthBlocks ? roundUp((g.K + depthBlocks - 1) / depthBlocks, 8) : 0;
  if (g.K == 0 && g.plus != g.c) {
    for (int64_t m = 0; m < g.M; m++) {
      if (g.plus) memcpy(g.c + m * g.ldc, g.plus + m * g.ldc, g.N * sizeof(float));
      else memset(g.c + m * g.ldc, 0, g.N * sizeof(float));
    }
  }
  for (int64_t n0 = 0; n0 < g.N; n0 += NC) {
    const int64_t cols = min(NC, g.N - n0), colPanels = (cols + NR - 1) / NR;
    for (int64_t k0 = 0; k0 < g.K; k0 += kc) {
      const int64_t depth = min(kc, g.K - k0), panelDepth = Panels::panelDepth(depth);
      const int64_t strideA = panelStride<MR>(panelDepth), strideB = panelStride<NR>(panelDepth);
      float *packedB = (float *)meap::scratch(0, colPanels * strideB * 4);
      const int64_t taskPanels = max(1, min(8, colPanels / (2 * meap::threadCount())));
      parallel((colPanels + taskPanels - 1) / taskPanels, [&](int64_t task) {
        const int64_t j0 = task * taskPanels * NR, lanes = min(taskPanels * NR, cols - j0);
        const meap::Matrix b = g.b.from((n0 + j0) * bLane + k0 * bDepth);
        float *panels = packedB + task * taskPanels * strideB;
        if (b.quantized) packQuantized<Panels>(b, bLane, bDepth, lanes, depth, panels, strideB);
        else if (b.floats) Panels::template pack<NR>(b.floats, bLane, bDepth, lanes, depth, panels);
        else Panels::template pack<NR>(b.bfloat16s, bLane, bDepth, lanes, depth, panels);
      });
      // Whole blocks, equally many for each thread, then the rest in equal parts.
      const int64_t threads = meap::threadCount(), rowPanels = (g.M + MR - 1) / MR, blockPanels = MC / MR;
      const int64_t wholeBlocks = rowPanels / (blockPanels * threads) * threads;
      const int64_t rest = rowPanels - wholeBlocks * blockPanels, parts = min(rest, threads);
      const int64_t rowBlocks = wholeBlocks + parts;
      const auto firstRow = [&](int64_t block) {
        const int64_t part = block - wholeBlocks;
        return MR * (part <= 0 ? block * blockPanels : wholeBlocks * blockPanels + rest * part / parts);
      };
      const int64_t splits = min(colPanels, max(1, 4 * threads / rowBlocks));
      const float *plus = k0 > 0 ? g.c : g.plus;
      parallel(rowBlocks * splits, [&](int64_t task) {
        const int64_t block = task / splits, split = task % splits, m0 = firstRow(block);
        const int64_t rows = min(g.M, firstRow(block + 1)) - m0;
        float *packedA = (float *)meap::scratch(1, blockPanels * strideA * 4);
        Panels::template pack<MR>(g.a + m0 * aLane + k0 * aDepth, aLane, aDepth, rows, depth, packedA);
        for (int64_t p = colPanels * split / splits; p < colPanels * (split + 1) / splits; p++) {
          for (int64_t i = 0; i < rows; i += MR) {
            const int64_t at = (m0 + i) * g.ldc + n0 + p * NR;
            Panels::multiply(depth, packedA + i / MR * strideA, packedB + p * strideB, g.c + at,
                             plus ? plus + at : nullptr, g.ldc, min(MR, rows - i), min(NR, cols - p * NR));
          }
        }
      });
    }
  }
}

void gemm(const meap::Gemm &g) {
  if (g.M == 0 || g.N == 0) return;
  if (g.M <= FEW_ROWS && !g.transposeA && g.transposeB) return gemmFewRows(g);
  if (g.bfloat16) return gemmPacked<Bfloat16Panels>(g);
  gemmPacked<Float32Panels>(g);
}

}  // namespace
