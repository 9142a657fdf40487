// The Node-API surface: checks arguments, selects the instruction set, passes typed arrays to the kernels.
#include "arguments.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <string>
#include <vector>
#include "cpu.h"
#include "kernels.h"

namespace meap {
#define MEAP_DECLARE(name) extern const Kernels name;
MEAP_INSTRUCTION_SETS(MEAP_DECLARE)
}  // namespace meap

namespace {

using meap::Kernels;

const meap::Cpu cpu;

// Best first.
#define MEAP_ADDRESS(name) &meap::name,
const Kernels *const all[] = {MEAP_INSTRUCTION_SETS(MEAP_ADDRESS)};
const Kernels *kernels = nullptr;

napi_value numberValue(napi_env env, double x) {
  napi_value value;
  napi_create_double(env, x, &value);
  return value;
}

napi_value textValue(napi_env env, const char *text) {
  napi_value value;
  napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value);
  return value;
}

template <napi_value (*F)(napi_env, Arguments &)>
napi_value guarded(napi_env env, napi_callback_info info) {
  Arguments arguments(env, info);
  const auto fail = [&](const std::string &message) {
    napi_throw_error(env, nullptr, ("native: " + arguments.function() + ": " + message).c_str());
    return nullptr;
  };
  try {
    return F(env, arguments);
  } catch (const Error &error) {
    return fail(error.message);
  } catch (const std::exception &error) {
    return fail(error.what());
  }
}

// Every function reads its sizes first, then its arrays, so that it checks lengths as it reads them.

napi_value gemm(napi_env, Arguments &in) {
  meap::Gemm g{};
  int64_t batch;
  in.integers({{"batch", &batch}, {"M", &g.M}, {"N", &g.N}, {"K", &g.K}});
  // A shared operand is one matrix for the whole batch.
  bool sharedA, sharedB;
  in.booleans({{"transposeA", &g.transposeA}, {"transposeB", &g.transposeB}, {"sharedA", &sharedA},
               {"sharedB", &sharedB}, {"bfloat16", &g.bfloat16}});
  g.lda = g.transposeA ? g.M : g.K;
  g.ldb = g.transposeB ? g.K : g.N;
  g.ldc = g.N;
  g.a = in.floats("a", {sharedA ? 1 : batch, g.M, g.K});
  g.b = in.matrix("b", {sharedB ? 1 : batch, g.K, g.N});
  g.plus = in.optionalFloats("plus", {batch, g.M, g.N});
  g.c = in.floats("c", {batch, g.M, g.N});
  if (g.M == 0 || g.N == 0) return nullptr;
  const int64_t strideA = sharedA ? 0 : g.M * g.K, strideB = sharedB ? 0 : g.K * g.N;
  for (int64_t i = 0; i < batch; i++) {
    kernels->gemm(g);
    g.a += strideA;
    g.b = g.b.from(strideB);
    g.c += g.M * g.N;
    if (g.plus) g.plus += g.M * g.N;
  }
  return nullptr;
}

// Fields that all kinds of attention have.
template <class Attention>
void readHeads(Arguments &in, Attention &a) {
  in.integers({{"B", &a.B}, {"T", &a.T}, {"H", &a.H}, {"G", &a.G}, {"D", &a.D}, {"window", &a.window}});
  a.scale = (float)in.number("scale");
  require(a.H > 0 && a.G > 0 && a.H % a.G == 0, "query heads cannot share the key-value heads evenly");
}

meap::Attention attentionArguments(Arguments &in) {
  meap::Attention a{};
  readHeads(in, a);
  a.S = in.integer("S");
  require(a.S >= a.T, "fewer keys than queries");
  const Length queries{a.B, a.T, a.H, a.D}, keys{a.B, a.S, a.G, a.D};
  a.q = in.floats("q", queries);
  a.k = in.floats("k", keys);
  a.v = in.floats("v", keys);
  a.segmentIds = in.optionalInts("segmentIds", {a.B, a.T});
  a.prefixIds = in.optionalInts("prefixIds", {a.B, a.T});
  require(!a.segmentIds || a.S == a.T, "segments need as many keys as queries");
  require(!a.prefixIds || a.segmentIds, "prefixes without segments");
  a.out = in.floats("out", queries);
  a.logSumExp = in.floats("logSumExp", {a.B, a.H, a.T});
  return a;
}

bool isEmpty(const meap::Attention &a) { return a.B == 0 || a.T == 0 || a.D == 0; }

napi_value attention(napi_env, Arguments &in) {
  const meap::Attention a = attentionArguments(in);
  if (!isEmpty(a)) kernels->attention(a);
  return nullptr;
}

napi_value attentionGrad(napi_env, Arguments &in) {
  meap::Attention a = attentionArguments(in);
  const Length queries{a.B, a.T, a.H, a.D}, keys{a.B, a.S, a.G, a.D};
  a.dOut = in.floats("dOut", queries);
  a.dq = in.floats("dq", queries);
  a.dk = in.floats("dk", keys);
  a.dv = in.floats("dv", keys);
  Length{a.B, a.S, a.H, a.D};  // checks the size of what each query head writes before its group is summed
  if (!isEmpty(a)) kernels->attentionGrad(a);
  else for (float *gradient : {a.dk, a.dv}) std::fill_n(gradient, keys.elements, 0.0f);
  return nullptr;
}

napi_value cachedAttention(napi_env, Arguments &in) {
  meap::CachedAttention a{};
  readHeads(in, a);
  const Length queries{a.B, a.T, a.H, a.D}, newKeys{a.B, a.T, a.G, a.D};
  a.q = in.floats("q", queries);
  a.k = in.floats("k", newKeys);
  a.v = in.floats("v", newKeys);
  a.out = in.floats("out", queries);
  std::vector<int64_t> lengths = in.integerList("lengths", a.B), sizes(lengths.size());
  for (int64_t b = 0; b < a.B; b++) sizes[b] = Length{lengths[b] + a.T, a.G, a.D}.elements;
  std::vector<float *> keys = in.floatArrays("keys", sizes), values = in.floatArrays("values", sizes);
  a.lengths = lengths.data();
  a.keys = keys.data();
  a.values = values.data();
  if (queries.elements > 0) kernels->cachedAttention(a);
  return nullptr;
}

void requireIds(const int32_t *ids, int64_t n, int64_t limit) {
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] < 0 || ids[i] >= limit) {
      throw Error{"id outside the vocabulary, got " + std::to_string(ids[i]) + " at position " + std::to_string(i) +
                  ", expected 0 to " + std::to_string(limit - 1)};
    }
  }
}

napi_value linearCrossEntropy(napi_env, Arguments &in) {
  meap::CrossEntropy o{};
  in.integers({{"N", &o.N}, {"V", &o.V}, {"C", &o.C}});
  o.zLoss = (float)in.number("zLoss");
  o.bfloat16 = in.boolean("bfloat16");
  require(o.C > 0, "rows without elements");
  o.x = in.floats("x", {o.N, o.C});
  o.weight = in.matrix("weight", {o.V, o.C});
  o.targets = in.ints("targets", o.N);
  o.mask = in.optionalFloats("mask", o.N);
  o.losses = in.floats("losses", o.N);
  o.squares = in.optionalFloats("squares", o.N);
  o.greedyIds = in.optionalInts("greedyIds", o.N);
  o.dx = in.optionalFloats("dx", {o.N, o.C});
  o.dWeight = in.optionalFloats("dWeight", {o.V, o.C});
  requireIds(o.targets, o.N, o.V);
  if (o.N > 0) kernels->crossEntropy(o);
  else if (o.dWeight) std::fill_n(o.dWeight, o.V * o.C, 0.0f);
  return nullptr;
}

napi_value rmsNorm(napi_env, Arguments &in) {
  const int64_t rows = in.integer("rows"), C = in.integer("C");
  const float epsilon = (float)in.number("epsilon");
  const float *x = in.floats("x", {rows, C}), *weight = in.floats("weight", C);
  float *y = in.floats("y", {rows, C});
  if (C > 0) kernels->rmsNorm(x, weight, y, rows, C, epsilon);
  return nullptr;
}

napi_value rmsNormGrad(napi_env, Arguments &in) {
  const int64_t rows = in.integer("rows"), C = in.integer("C");
  const float epsilon = (float)in.number("epsilon");
  const float *dy = in.floats("dy", {rows, C}), *x = in.floats("x", {rows, C}), *weight = in.floats("weight", C);
  const float *plus = in.optionalFloats("plus", {rows, C});
  float *dx = in.floats("dx", {rows, C}), *dWeight = in.floats("dWeight", C);
  if (C > 0) kernels->rmsNormGrad(dy, x, weight, plus, dx, dWeight, rows, C, epsilon);
  return nullptr;
}

napi_value rotary(napi_env, Arguments &in) {
  const int64_t B = in.integer("B"), T = in.integer("T"), H = in.integer("H"), D = in.integer("D");
  const int64_t tableBatch = in.integer("tableBatch");
  require(tableBatch == 1 || tableBatch == B, "one table, or one for each row");
  require(D % 2 == 0, "elements of a head come in pairs");
  const float sign = in.boolean("inverse") ? -1.0f : 1.0f;
  const Length rows{B, T, H, D}, table{tableBatch, T, D / 2};
  const float *x = in.floats("x", rows), *cos = in.floats("cos", table), *sin = in.floats("sin", table);
  float *y = in.floats("y", rows);
  if (rows.elements > 0) kernels->rotary(x, cos, sin, y, B, T, H, D, tableBatch, sign);
  return nullptr;
}

napi_value swiGlu(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const float *gate = in.floats("gate", n), *up = in.floats("up", n);
  kernels->swiGlu(gate, up, in.floats("y", n), n);
  return nullptr;
}

napi_value swiGluGrad(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const float *dy = in.floats("dy", n), *gate = in.floats("gate", n), *up = in.floats("up", n);
  float *dGate = in.floats("dGate", n), *dUp = in.floats("dUp", n);
  kernels->swiGluGrad(dy, gate, up, dGate, dUp, n);
  return nullptr;
}

napi_value dropout(napi_env, Arguments &in) {
  const int64_t rows = in.integer("rows"), n = in.integer("n"), dropBelow = in.integer("dropBelow");
  require(dropBelow < 65536, "a threshold of 16 bits");
  const int32_t *keys = in.ints("keys", {rows, 2});
  const float *x = in.floats("x", {rows, n});
  kernels->dropout(x, keys, in.floats("y", {rows, n}), rows, n, (int32_t)dropBelow);
  return nullptr;
}

napi_value embedding(napi_env, Arguments &in) {
  const int64_t n = in.integer("n"), V = in.integer("V"), C = in.integer("C");
  const int32_t *ids = in.ints("ids", n);
  const meap::Matrix table = in.matrix("table", {V, C});
  requireIds(ids, n, V);
  kernels->embedding(ids, table, in.floats("y", {n, C}), n, C);
  return nullptr;
}

napi_value embeddingGrad(napi_env, Arguments &in) {
  const int64_t n = in.integer("n"), V = in.integer("V"), C = in.integer("C");
  require(n <= INT32_MAX, "more tokens than a gradient can sort");
  const float *dy = in.floats("dy", {n, C});
  const int32_t *ids = in.ints("ids", n);
  requireIds(ids, n, V);
  float *dTable = in.floats("dTable", {V, C});
  if (C > 0) kernels->embeddingGrad(dy, ids, dTable, n, V, C);
  return nullptr;
}

napi_value adamW(napi_env, Arguments &in) {
  meap::AdamW o{};
  o.n = in.integer("n");
  in.numbers({{"learningRate", &o.learningRate}, {"beta1", &o.beta1}, {"beta2", &o.beta2}, {"epsilon", &o.epsilon},
              {"weightDecay", &o.weightDecay}, {"gradientScale", &o.gradientScale},
              {"correction1", &o.correction1}, {"correction2", &o.correction2}});
  o.parameter = in.floats("parameter", o.n);
  o.gradient = in.floats("gradient", o.n);
  o.firstMoment = in.floats("firstMoment", o.n);
  o.secondMoment = in.floats("secondMoment", o.n);
  kernels->adamW(o);
  return nullptr;
}

napi_value muon(napi_env, Arguments &in) {
  meap::Muon o{};
  in.integers({{"M", &o.M}, {"N", &o.N}});
  in.numbers({{"momentum", &o.momentum}, {"decay", &o.decay}, {"stepSize", &o.stepSize},
              {"gradientScale", &o.gradientScale}});
  o.bfloat16 = in.boolean("bfloat16");
  const Length matrix{o.M, o.N}, gram{std::min(o.M, o.N), std::min(o.M, o.N)};
  o.parameter = in.floats("parameter", matrix);
  o.gradient = in.floats("gradient", matrix);
  o.momentumBuffer = in.floats("momentumBuffer", matrix);
  o.work = in.floats("work", 2 * (matrix.elements + gram.elements));
  if (matrix.elements > 0) kernels->muon(o);
  return nullptr;
}

napi_value sumOfSquares(napi_env env, Arguments &in) {
  const int64_t n = in.integer("n");
  return numberValue(env, kernels->sumOfSquares(in.floats("x", n), n));
}

napi_value toBfloat16(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const float *x = in.floats("x", n);
  kernels->toBfloat16(x, in.bfloat16s("y", n), n);
  return nullptr;
}

napi_value fromBfloat16(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const uint16_t *x = in.bfloat16s("x", n);
  kernels->fromBfloat16(x, in.floats("y", n), n);
  return nullptr;
}

napi_value quantize(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const float *x = in.floats("x", n);
  kernels->quantize(x, in.quantized("y", n), n);
  return nullptr;
}

napi_value dequantize(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const meap::Quantized x = in.quantized("x", n);
  kernels->dequantize(x, in.floats("y", n), n);
  return nullptr;
}

template <void (*Kernels::*F)(const float *, const float *, float *, int64_t)>
napi_value binary(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const float *a = in.floats("a", n), *b = in.floats("b", n);
  (kernels->*F)(a, b, in.floats("y", n), n);
  return nullptr;
}

napi_value scale(napi_env, Arguments &in) {
  const int64_t n = in.integer("n");
  const float factor = (float)in.number("factor");
  const float *a = in.floats("a", n);
  kernels->scale(a, factor, in.floats("y", n), n);
  return nullptr;
}

// GFLOP/s of dense multiply-adds on all threads, the best of several short runs, since other work on the cores lowers it.
napi_value measurePeak(napi_env env, Arguments &in) {
  bool bfloat16 = in.boolean("bfloat16");
  double best = 0;
  for (int repeat = 0; repeat < 20; repeat++) {
    double flopPerCall = 0;
    auto start = std::chrono::steady_clock::now();
    kernels->fmaPeak(1000000, bfloat16, &flopPerCall);
    std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    double rate = flopPerCall * meap::threadCount() / seconds.count() / 1e9;
    if (rate > best) best = rate;
  }
  return numberValue(env, best);
}

napi_value instructionSets(napi_env env, Arguments &) {
  napi_value list;
  napi_create_array(env, &list);
  uint32_t n = 0;
  for (const Kernels *k : all) {
    if (!cpu.supports(k->name)) continue;
    napi_set_element(env, list, n++, textValue(env, k->name));
  }
  return list;
}

napi_value instructionSet(napi_env env, Arguments &) { return textValue(env, kernels->name); }

napi_value setInstructionSet(napi_env, Arguments &in) {
  std::string wanted = in.text("name");
  for (const Kernels *k : all) {
    if (wanted == k->name && cpu.supports(k->name)) {
      kernels = k;
      return nullptr;
    }
  }
  throw Error{"not available here, got '" + wanted + "'"};
}

napi_value numThreads(napi_env env, Arguments &) { return numberValue(env, meap::threadCount()); }

napi_value setNumThreads(napi_env, Arguments &in) {
  const int64_t threads = in.integer("threads");
  require(threads >= 1 && threads <= 1024, "threads outside 1 to 1024");
  meap::setThreadCount((int)threads);
  return nullptr;
}

napi_value scratchBytes(napi_env env, Arguments &) { return numberValue(env, (double)meap::scratchBytes()); }

// A buffer aligned to a cache line, a large one to a huge page; freed when it is garbage-collected.
napi_value allocate(napi_env env, Arguments &in) {
  int64_t bytes = in.integer("bytes");
  void *data = meap::allocateBuffer(bytes);
  if (!data) throw Error{"out of memory for a buffer of " + std::to_string(bytes) + " bytes"};
  napi_value buffer;
  auto release = [](napi_env, void *data, void *) { meap::freeBuffer(data); };
  if (napi_create_external_arraybuffer(env, data, bytes, release, nullptr, &buffer) != napi_ok) {
    meap::freeBuffer(data);
    throw Error{"this JavaScript runtime does not allow external buffers"};
  }
  return buffer;
}

napi_value discard(napi_env env, Arguments &in) {
  void *data = nullptr;
  size_t bytes = 0;
  if (napi_get_arraybuffer_info(env, in.value("buffer"), &data, &bytes) != napi_ok) throw Error{"not an ArrayBuffer"};
  meap::discardBuffer(data, (int64_t)bytes);
  return nullptr;
}

// Whether to use a supported instruction set by default. Intel processors compute the bfloat16 products of AVX-512 at half
// the rate of float32 (82 against 159 GFLOP/s on two cores of a Xeon of 2024), so they use AVX-512 in float32.
bool preferred(const char *name) {
  return !(cpu.isIntel && !strcmp(name, "avx512bf16"));
}

// JavaScript threads that have loaded this library. Node unloads it when the last one ends, if that is a worker; then no
// thread may run its code.
std::atomic<int> environments{0};

void releaseEnvironment(void *registration) {
  delete (char *)registration;
  meap::releaseScratch();
  if (--environments == 0) meap::setThreadCount(1);
}

const std::pair<Signature, napi_callback> kernelFunctions[] = {
    {{"gemm", "batch M N K", "transposeA transposeB sharedA sharedB bfloat16", "a b plus c"}, guarded<gemm>},
    {{"attention", "B T H G D window scale S", "", "q k v segmentIds prefixIds out logSumExp"}, guarded<attention>},
    {{"attentionGrad", "B T H G D window scale S", "", "q k v segmentIds prefixIds out logSumExp dOut dq dk dv"},
     guarded<attentionGrad>},
    {{"cachedAttention", "B T H G D window scale", "", "q k v out", "lengths", "keys values"},
     guarded<cachedAttention>},
    {{"linearCrossEntropy", "N V C zLoss", "bfloat16", "x weight targets mask losses squares greedyIds dx dWeight"},
     guarded<linearCrossEntropy>},
    {{"rmsNorm", "rows C epsilon", "", "x weight y"}, guarded<rmsNorm>},
    {{"rmsNormGrad", "rows C epsilon", "", "dy x weight plus dx dWeight"}, guarded<rmsNormGrad>},
    {{"rotary", "B T H D tableBatch", "inverse", "x cos sin y"}, guarded<rotary>},
    {{"swiGlu", "n", "", "gate up y"}, guarded<swiGlu>},
    {{"swiGluGrad", "n", "", "dy gate up dGate dUp"}, guarded<swiGluGrad>},
    {{"dropout", "rows n dropBelow", "", "keys x y"}, guarded<dropout>},
    {{"embedding", "n V C", "", "ids table y"}, guarded<embedding>},
    {{"embeddingGrad", "n V C", "", "dy ids dTable"}, guarded<embeddingGrad>},
    {{"adamW", "n learningRate beta1 beta2 epsilon weightDecay gradientScale correction1 correction2", "",
      "parameter gradient firstMoment secondMoment"},
     guarded<adamW>},
    {{"muon", "M N momentum decay stepSize gradientScale", "bfloat16", "parameter gradient momentumBuffer work"},
     guarded<muon>},
    {{"sumOfSquares", "n", "", "x"}, guarded<sumOfSquares>},
    {{"toBfloat16", "n", "", "x y"}, guarded<toBfloat16>},
    {{"fromBfloat16", "n", "", "x y"}, guarded<fromBfloat16>},
    {{"quantize", "n", "", "x y"}, guarded<quantize>},
    {{"dequantize", "n", "", "x y"}, guarded<dequantize>},
    {{"add", "n", "", "a b y"}, guarded<binary<&Kernels::add>>},
    {{"multiply", "n", "", "a b y"}, guarded<binary<&Kernels::multiply>>},
    {{"scale", "n factor", "", "a y"}, guarded<scale>},
};

// These take at most one value, not an object.
const std::pair<Signature, napi_callback> controls[] = {
    {{"measurePeak", "", "bfloat16"}, guarded<measurePeak>},
    {{"instructionSets"}, guarded<instructionSets>},
    {{"instructionSet"}, guarded<instructionSet>},
    {{"setInstructionSet", "", "", "name"}, guarded<setInstructionSet>},
    {{"numThreads"}, guarded<numThreads>},
    {{"setNumThreads", "threads"}, guarded<setNumThreads>},
    {{"scratchBytes"}, guarded<scratchBytes>},
    {{"allocate", "bytes"}, guarded<allocate>},
    {{"discard", "", "", "buffer"}, guarded<discard>},
};

// Exports a function; that of a kernel has the names of its fields as its property `fields`.
void expose(napi_env env, napi_value exports, const Signature &signature, napi_callback function, bool isKernel) {
  const char *name = signature.function.c_str();
  napi_value value, fields;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, function, (void *)&signature, &value);
  napi_set_named_property(env, exports, name, value);
  if (!isKernel) return;
  napi_create_array(env, &fields);
  uint32_t n = 0;
  for (const std::string &field : signature.fields) napi_set_element(env, fields, n++, textValue(env, field.c_str()));
  napi_set_named_property(env, value, "fields", fields);
}

napi_value initialise(napi_env env, napi_value exports) {
  if (!host::find()) return nullptr;
  environments++;
  // Each hook needs a unique pointer.
  napi_add_env_cleanup_hook(env, releaseEnvironment, new char);
  for (const Kernels *k : all) {
    if (!kernels && cpu.supports(k->name) && preferred(k->name)) kernels = k;
  }
  for (const auto &[signature, function] : kernelFunctions) expose(env, exports, signature, function, true);
  for (const auto &[signature, function] : controls) expose(env, exports, signature, function, false);
  return exports;
}

}  // namespace

NAPI_MODULE(meap_kernels, initialise)
