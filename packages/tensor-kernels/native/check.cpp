// Runs every kernel over shapes that fill no tile, in arrays of exactly their size and on four threads, for the
// address, undefined-behaviour and thread sanitizers to watch, and prints a digest of all results, which other
// processors must come near; check.mjs builds it.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>
#include "kernels.h"

namespace meap {
extern const Kernels MEAP_ISA;
}

namespace {

const meap::Kernels &kernels = meap::MEAP_ISA;

// An array of its own in the heap, so that the address sanitizer sees one element too far.
class Floats {
 public:
  explicit Floats(int64_t n) : data(new float[n ? n : 1]) {
    for (int64_t i = 0; i < n; i++) data[i] = (float)(i * 2654435761u % 1000) * 0.002f - 1;
  }
  operator float *() const { return data.get(); }

 private:
  std::unique_ptr<float[]> data;
};

double digest = 0;

// Weights differ, so that numbers in each other's place are noticed.
void note(const float *x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; i++) total += std::fabs(x[i]) * (1 + i % 7);
  digest += std::log1p(total);
}

std::vector<int32_t> integers(int64_t n, int64_t step, int64_t limit) {
  std::vector<int32_t> result(n);
  for (int64_t i = 0; i < n; i++) result[i] = (int32_t)(i / step % limit);
  return result;
}

void products() {
  const int64_t sizes[][3] = {{1, 1, 1}, {3, 7, 5}, {1, 33, 128}, {17, 33, 70}, {13, 40, 1000}, {200, 97, 257}, {97, 3100, 12}};
  for (auto [M, N, K] : sizes) {
    Floats a(M * K), b(K * N), plus(M * N), c(M * N);
    std::vector<uint16_t> bits(K * N, 0x3f80);
    for (int transposes = 0; transposes < 8; transposes++) {
      const bool tA = transposes & 1, tB = transposes & 2, bfloat16 = transposes & 4;
      meap::Gemm g{a, {b, nullptr}, c, plus, M, N, K, tA ? M : K, tB ? K : N, N, tA, tB, bfloat16};
      kernels.gemm(g);
      note(c, M * N);
      g.b = {nullptr, bits.data()};
      g.plus = c;
      kernels.gemm(g);
      note(c, M * N);
      for (bool isNf4 : {false, true}) {
        const int64_t n = K * N, blocks = (n + 63) / 64;
        Floats absmax(isNf4 ? (blocks + 255) / 256 : blocks), offset(1), y(n);
        std::unique_ptr<uint8_t[]> codes(new uint8_t[isNf4 ? (n + 1) / 2 : n]), absmaxCodes(new uint8_t[blocks]);
        const meap::Quantized quantized{isNf4, codes.get(), absmax, absmaxCodes.get(), offset};
        kernels.quantize(b, quantized, n);
        kernels.dequantize(quantized, y, n);
        note(y, n);
        g.b = {nullptr, nullptr, &quantized};
        g.plus = nullptr;
        kernels.gemm(g);
        note(c, M * N);
      }
    }
  }
}

void attentions() {
  const int64_t sizes[][6] = {{1, 1, 1, 2, 1, 16}, {2, 97, 97, 4, 2, 10}, {1, 130, 130, 4, 1, 32}, {1, 230, 230, 2, 1, 72},
                              {1, 2, 140, 4, 2, 16}, {1, 97, 300, 2, 1, 16}};
  for (auto [B, T, S, H, G, D] : sizes) {
    Floats q(B * T * H * D), k(B * S * G * D), v(B * S * G * D), out(B * T * H * D), logSumExp(B * H * T);
    Floats dOut(B * T * H * D), dq(B * T * H * D), dk(B * S * G * D), dv(B * S * G * D);
    const auto segments = integers(B * T, 40, 3), prefixes = integers(B * T, 120, 1);
    for (int64_t window : {0, 33}) {
      for (bool segmented : {false, true}) {
        if (segmented && S != T) continue;
        meap::Attention a{};
        a.q = q, a.k = k, a.v = v, a.out = out, a.logSumExp = logSumExp;
        a.dOut = dOut, a.dq = dq, a.dk = dk, a.dv = dv;
        a.segmentIds = segmented ? segments.data() : nullptr;
        a.prefixIds = segmented ? prefixes.data() : nullptr;
        a.B = B, a.T = T, a.S = S, a.H = H, a.G = G, a.D = D, a.window = window;
        a.scale = 0.3f;
        kernels.attention(a);
        kernels.attentionGrad(a);
        note(out, B * T * H * D);
        note(dq, B * T * H * D);
        note(dk, B * S * G * D);
        note(dv, B * S * G * D);
      }
    }
  }
}

void caches() {
  const int64_t B = 2, H = 4, G = 2, D = 10;
  for (int64_t T : {1, 3, 20}) {
    const int64_t lengths[B] = {0, 37};
    Floats q(B * T * H * D), k(B * T * G * D), v(B * T * G * D), out(B * T * H * D);
    Floats keys0(T * G * D), values0(T * G * D), keys1((37 + T) * G * D), values1((37 + T) * G * D);
    float *keys[B] = {keys0, keys1}, *values[B] = {values0, values1};
    kernels.cachedAttention({q, k, v, keys, values, lengths, out, B, T, H, G, D, 0, 0.3f});
    note(out, B * T * H * D);
  }
}

void layers() {
  for (int64_t rows : {1, 37, 100}) {
    for (int64_t C : {1, 33, 130}) {
      Floats x(rows * C), w(C), y(rows * C), plus(rows * C), dx(rows * C), dw(C);
      kernels.rmsNorm(x, w, y, rows, C, 1e-5f);
      kernels.rmsNormGrad(y, x, w, plus, dx, dw, rows, C, 1e-5f);
      note(dx, rows * C);
      kernels.rmsNormGrad(y, x, w, nullptr, dx, dw, rows, C, 1e-5f);
      note(dw, C);
      kernels.swiGlu(x, plus, y, rows * C);
      Floats dGate(rows * C), dUp(rows * C);
      kernels.swiGluGrad(y, x, plus, dGate, dUp, rows * C);
      note(dGate, rows * C);
      kernels.add(x, y, dx, rows * C);
      kernels.multiply(x, y, dx, rows * C);
      kernels.scale(x, 3, dx, rows * C);
      std::vector<uint16_t> bits(rows * C);
      kernels.toBfloat16(x, bits.data(), rows * C);
      kernels.fromBfloat16(bits.data(), y, rows * C);
      Floats first(rows * C), second(rows * C);
      for (int64_t i = 0; i < rows * C; i++) second[i] = 1;
      kernels.adamW({x, first, second, y, rows * C, 1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1, 0.1f, 0.05f});
      note(x, rows * C);
      digest += std::log1p(kernels.sumOfSquares(x, rows * C));
    }
  }
  const int64_t B = 2, T = 35, H = 3, D = 6, V = 31, C = 17;
  Floats x(B * T * H * D), y(B * T * H * D), cos(B * T * D / 2), sin(B * T * D / 2);
  for (int64_t tables : {(int64_t)1, B}) kernels.rotary(x, cos, sin, y, B, T, H, D, tables, -1);
  note(y, B * T * H * D);
  const auto ids = integers(B * T, 1, V);
  Floats table(V * C), embedded(B * T * C), dTable(V * C);
  kernels.embedding(ids.data(), {table, nullptr}, embedded, B * T, C);
  kernels.embeddingGrad(embedded, ids.data(), dTable, B * T, V, C);
  note(dTable, V * C);
}

void updates() {
  for (auto [M, N] : {std::pair<int64_t, int64_t>{1, 1}, {40, 33}, {33, 300}, {300, 260}}) {
    const int64_t n = M * N, m = std::min(M, N);
    Floats parameter(n), momentum(n), work(2 * (n + m * m)), gradient(n);
    for (bool bfloat16 : {false, true}) {
      kernels.muon({parameter, momentum, work, gradient, M, N, 0.95f, 0.99f, 0.01f, 1, bfloat16});
      note(parameter, n);
    }
  }
}

void losses() {
  const int64_t sizes[][3] = {{5, 11, 6}, {300, 1000, 33}};
  for (auto [N, V, C] : sizes) {
    Floats x(N * C), weight(V * C), mask(N), losses(N), dx(N * C), dWeight(V * C);
    const auto targets = integers(N, 1, V);
    std::vector<int32_t> greedy(N);
    kernels.crossEntropy({x, {weight, nullptr}, targets.data(), mask, losses, dx, dWeight, greedy.data(), N, V, C, false});
    Floats squares(N);
    kernels.crossEntropy({x, {weight, nullptr}, targets.data(), mask, losses, dx, dWeight, nullptr, N, V, C, false, 1e-2f, squares});
    note(squares, N);
    note(dx, N * C);
    note(losses, N);
    note(dx, N * C);
    note(dWeight, V * C);
    kernels.crossEntropy({x, {weight, nullptr}, targets.data(), nullptr, losses, nullptr, nullptr, nullptr, N, V, C, true});
  }
}

}  // namespace

int main() {
  for (int threads : {4, 1}) {
    meap::setThreadCount(threads);
    products();
    attentions();
    caches();
    updates();
    layers();
    losses();
  }
  printf("digest %.4f\n", digest);
}
