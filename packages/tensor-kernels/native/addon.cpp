// The Node-API surface: checks sizes, picks the instruction set, hands typed arrays to the kernels.
#include "node_api_host.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <initializer_list>
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

struct Error {
  std::string message;
};

constexpr int64_t MOST = (int64_t)1 << 40;  // elements of an array: more than any runtime makes

// How many elements an array needs: one size, or the product of several. A product that wrapped around would pass for
// the length of a small array, so one beyond MOST is refused; a size of 0 hides no such product, since kernels take
// products of the other sizes.
struct Length {
  int64_t elements;
  Length(int64_t elements) : elements(elements) {}
  Length(std::initializer_list<int64_t> sizes) : elements(1) {
    bool isEmpty = false;
    for (int64_t size : sizes) {
      if (size == 0) isEmpty = true;
      else if (size > MOST / elements) tooMany(sizes);
      else elements *= size;
    }
    if (isEmpty) elements = 0;
  }

 private:
  [[noreturn]] static void tooMany(std::initializer_list<int64_t> sizes) {
    std::string text;
    for (int64_t size : sizes) text += (text.empty() ? "" : " x ") + std::to_string(size);
    throw Error{"sizes of an array of more than 2^40 elements, got " + text};
  }
};

// Reads a call's arguments in order.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env(env) {
    napi_get_cb_info(env, info, &count, values, nullptr, nullptr);
  }
  napi_value value() { return take(); }
  // A size, an index or a count.
  int64_t integer() {
    const double x = number();
    if (!isSize(x)) fail("a whole number from 0 to 2^40");
    return (int64_t)x;
  }
  double number() {
    double x = 0;
    if (napi_get_value_double(env, take(), &x) != napi_ok) fail("a number");
    return x;
  }
  bool boolean() {
    bool x = false;
    if (napi_get_value_bool(env, take(), &x) != napi_ok) fail("a boolean");
    return x;
  }
  std::string text() {
    char buffer[64];
    size_t n;
    if (napi_get_value_string_utf8(env, take(), buffer, sizeof buffer, &n) != napi_ok) fail("a string");
    return std::string(buffer, n);
  }
  float *floats(Length length) { return (float *)array(napi_float32_array, length, "Float32Array"); }
  uint16_t *halves(Length length) { return (uint16_t *)array(napi_uint16_array, length, "Uint16Array"); }
  // A Float32Array, or the bits of bfloat16 in a Uint16Array.
  meap::Matrix matrix(Length length) {
    napi_typedarray_type type = napi_float32_array;
    if (position < count) napi_get_typedarray_info(env, values[position], &type, nullptr, nullptr, nullptr, nullptr);
    if (type == napi_uint16_array) return {nullptr, halves(length)};
    return {floats(length), nullptr};
  }
  int32_t *ints(Length length) { return (int32_t *)array(napi_int32_array, length, "Int32Array"); }
  float *optionalFloats(Length length) { return skipNull() ? nullptr : floats(length); }
  int32_t *optionalInts(Length length) { return skipNull() ? nullptr : ints(length); }
  // A JavaScript list of numbers.
  std::vector<int64_t> integers(int64_t length) {
    std::vector<int64_t> result;
    elements(length, [&](int64_t, napi_value value) {
      double x = -1;
      napi_get_value_double(env, value, &x);
      if (!isSize(x)) fail("a list of whole numbers from 0 to 2^40");
      result.push_back((int64_t)x);
    });
    return result;
  }
  // A JavaScript list of arrays, each at least as long as its entry of lengths.
  std::vector<float *> floatArrays(const std::vector<int64_t> &lengths) {
    std::vector<float *> result(lengths.size());
    elements((int64_t)lengths.size(), [&](int64_t i, napi_value value) {
      result[i] = (float *)array(value, napi_float32_array, lengths[i], "a list of Float32Array");
    });
    return result;
  }

 private:
  napi_env env;
  napi_value values[24];
  size_t count = 24, position = 0;

  napi_value take() {
    if (position >= count) throw Error{"missing argument " + std::to_string(position)};
    return values[position++];
  }
  bool skipNull() {
    napi_valuetype type;
    napi_typeof(env, take(), &type);
    if (type == napi_null || type == napi_undefined) return true;
    position--;
    return false;
  }
  template <class F>
  void elements(int64_t length, F &&visit) {
    napi_value list = take();
    uint32_t actual = 0;
    if (napi_get_array_length(env, list, &actual) != napi_ok) fail("a list");
    if (actual < length) tooShort(actual, length);
    for (int64_t i = 0; i < length; i++) {
      napi_value value;
      if (napi_get_element(env, list, (uint32_t)i, &value) != napi_ok) fail("a list");
      visit(i, value);
    }
  }
  void *array(napi_typedarray_type expected, Length length, const char *name) {
    return array(take(), expected, length.elements, name);
  }
  void *array(napi_value value, napi_typedarray_type expected, int64_t length, const char *name) {
    napi_typedarray_type type;
    size_t actual;
    void *data;
    if (napi_get_typedarray_info(env, value, &type, &actual, &data, nullptr, nullptr) != napi_ok ||
        type != expected) {
      fail(name);
    }
    if ((int64_t)actual < length) tooShort((int64_t)actual, length);
    return data;
  }
  static bool isSize(double x) { return x >= 0 && x <= (double)MOST && x == (double)(int64_t)x; }
  [[noreturn]] void tooShort(int64_t actual, int64_t length) {
    throw Error{"argument " + std::to_string(position - 1) + " is too short, got " + std::to_string(actual) +
                " elements, expected " + std::to_string(length)};
  }
  [[noreturn]] void fail(const char *expected) {
    throw Error{"argument " + std::to_string(position - 1) + " is not " + expected};
  }
};

napi_value numberValue(napi_env env, double x) {
  napi_value value;
  napi_create_double(env, x, &value);
  return value;
}

template <napi_value (*F)(napi_env, Arguments &)>
napi_value guarded(napi_env env, napi_callback_info info) {
  try {
    Arguments arguments(env, info);
    return F(env, arguments);
  } catch (const Error &error) {
    napi_throw_error(env, nullptr, ("native: " + error.message).c_str());
  } catch (const std::exception &error) {
    napi_throw_error(env, nullptr, (std::string("native: ") + error.what()).c_str());
  }
  return nullptr;
}

void require(bool holds, const char *what) {
  if (!holds) throw Error{what};
}

// Every function takes its sizes first, then its arrays, so that lengths are checked as they are read.

napi_value gemm(napi_env, Arguments &in) {
  meap::Gemm g{};
  int64_t batch = in.integer();
  g.M = in.integer();
  g.N = in.integer();
  g.K = in.integer();
  g.transposeA = in.boolean();
  g.transposeB = in.boolean();
  // A shared operand is one matrix for the whole batch.
  const bool sharesA = in.boolean(), sharesB = in.boolean();
  g.bfloat16 = in.boolean();
  g.lda = g.transposeA ? g.M : g.K;
  g.ldb = g.transposeB ? g.K : g.N;
  g.ldc = g.N;
  g.a = in.floats({sharesA ? 1 : batch, g.M, g.K});
  g.b = in.matrix({sharesB ? 1 : batch, g.K, g.N});
  g.plus = in.optionalFloats({batch, g.M, g.N});
  g.c = in.floats({batch, g.M, g.N});
  if (g.M == 0 || g.N == 0) return nullptr;
  const int64_t strideA = sharesA ? 0 : g.M * g.K, strideB = sharesB ? 0 : g.K * g.N;
  for (int64_t i = 0; i < batch; i++) {
    kernels->gemm(g);
    g.a += strideA;
    g.b = g.b.from(strideB);
    g.c += g.M * g.N;
    if (g.plus) g.plus += g.M * g.N;
  }
  return nullptr;
}

void requireHeads(int64_t H, int64_t G) {
  require(H > 0 && G > 0 && H % G == 0, "query heads cannot share the key-value heads evenly");
}

meap::Attention attentionArguments(Arguments &in) {
  meap::Attention a{};
  a.B = in.integer();
  a.T = in.integer();
  a.S = in.integer();
  a.H = in.integer();
  a.G = in.integer();
  a.D = in.integer();
  a.window = in.integer();
  requireHeads(a.H, a.G);
  require(a.S >= a.T, "attention: fewer keys than queries");
  a.scale = (float)in.number();
  const Length queries{a.B, a.T, a.H, a.D}, keys{a.B, a.S, a.G, a.D};
  a.q = in.floats(queries);
  a.k = in.floats(keys);
  a.v = in.floats(keys);
  a.segmentIds = in.optionalInts({a.B, a.T});
  a.prefixIds = in.optionalInts({a.B, a.T});
  require(!a.segmentIds || a.S == a.T, "attention: segments need as many keys as queries");
  require(!a.prefixIds || a.segmentIds, "attention: prefixes without segments");
  a.out = in.floats(queries);
  a.logSumExp = in.floats({a.B, a.H, a.T});
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
  a.dOut = in.floats(queries);
  a.dq = in.floats(queries);
  a.dk = in.floats(keys);
  a.dv = in.floats(keys);
  Length{a.B, a.S, a.H, a.D};  // what each query head writes before its group's are summed
  if (!isEmpty(a)) kernels->attentionGrad(a);
  else for (float *gradient : {a.dk, a.dv}) std::fill_n(gradient, keys.elements, 0.0f);
  return nullptr;
}

napi_value cachedAttention(napi_env, Arguments &in) {
  meap::CachedAttention a{};
  a.B = in.integer();
  a.T = in.integer();
  a.H = in.integer();
  a.G = in.integer();
  a.D = in.integer();
  a.window = in.integer();
  requireHeads(a.H, a.G);
  a.scale = (float)in.number();
  const Length queries{a.B, a.T, a.H, a.D}, keysNow{a.B, a.T, a.G, a.D};
  a.q = in.floats(queries);
  a.k = in.floats(keysNow);
  a.v = in.floats(keysNow);
  std::vector<int64_t> lengths = in.integers(a.B), sizes(lengths.size());
  for (int64_t b = 0; b < a.B; b++) sizes[b] = Length{lengths[b] + a.T, a.G, a.D}.elements;
  std::vector<float *> keys = in.floatArrays(sizes), values = in.floatArrays(sizes);
  a.lengths = lengths.data();
  a.keys = keys.data();
  a.values = values.data();
  a.out = in.floats(queries);
  if (queries.elements > 0) kernels->cachedAttention(a);
  return nullptr;
}

void requireIds(const char *op, const int32_t *ids, int64_t n, int64_t limit) {
  for (int64_t i = 0; i < n; i++) {
    if (ids[i] < 0 || ids[i] >= limit) {
      throw Error{std::string(op) + ": id outside the vocabulary, got " + std::to_string(ids[i]) + " at position " +
                  std::to_string(i) + ", expected 0 to " + std::to_string(limit - 1)};
    }
  }
}

napi_value crossEntropy(napi_env, Arguments &in) {
  meap::CrossEntropy o{};
  o.N = in.integer();
  o.V = in.integer();
  o.C = in.integer();
  o.bfloat16 = in.boolean();
  require(o.C > 0, "linearCrossEntropy: rows without elements");
  o.x = in.floats({o.N, o.C});
  o.weight = in.matrix({o.V, o.C});
  o.targets = in.ints(o.N);
  o.mask = in.optionalFloats(o.N);
  o.losses = in.floats(o.N);
  o.greedyIds = in.optionalInts(o.N);
  o.dx = in.optionalFloats({o.N, o.C});
  o.dWeight = in.optionalFloats({o.V, o.C});
  requireIds("linearCrossEntropy", o.targets, o.N, o.V);
  if (o.N > 0) kernels->crossEntropy(o);
  else if (o.dWeight) std::fill_n(o.dWeight, o.V * o.C, 0.0f);
  return nullptr;
}

napi_value rmsNorm(napi_env, Arguments &in) {
  int64_t rows = in.integer(), C = in.integer();
  float epsilon = (float)in.number();
  const float *x = in.floats({rows, C}), *w = in.floats(C);
  float *y = in.floats({rows, C});
  if (C > 0) kernels->rmsNorm(x, w, y, rows, C, epsilon);
  return nullptr;
}

napi_value rmsNormGrad(napi_env, Arguments &in) {
  int64_t rows = in.integer(), C = in.integer();
  float epsilon = (float)in.number();
  const float *dy = in.floats({rows, C}), *x = in.floats({rows, C}), *w = in.floats(C);
  const float *plus = in.optionalFloats({rows, C});
  float *dx = in.floats({rows, C}), *dw = in.floats(C);
  if (C > 0) kernels->rmsNormGrad(dy, x, w, plus, dx, dw, rows, C, epsilon);
  return nullptr;
}

napi_value rotary(napi_env, Arguments &in) {
  int64_t B = in.integer(), T = in.integer(), H = in.integer(), D = in.integer(), tableBatch = in.integer();
  require(tableBatch == 1 || tableBatch == B, "rotary: one table, or one for each row");
  require(D % 2 == 0, "rotary: elements of a head come in pairs");
  float sign = in.boolean() ? -1.0f : 1.0f;
  const Length rows{B, T, H, D}, table{tableBatch, T, D / 2};
  const float *x = in.floats(rows), *cos = in.floats(table), *sin = in.floats(table);
  float *y = in.floats(rows);
  if (rows.elements > 0) kernels->rotary(x, cos, sin, y, B, T, H, D, tableBatch, sign);
  return nullptr;
}

napi_value swiGlu(napi_env, Arguments &in) {
  int64_t n = in.integer();
  const float *gate = in.floats(n), *up = in.floats(n);
  kernels->swiGlu(gate, up, in.floats(n), n);
  return nullptr;
}

napi_value swiGluGrad(napi_env, Arguments &in) {
  int64_t n = in.integer();
  const float *dy = in.floats(n), *gate = in.floats(n), *up = in.floats(n);
  float *dGate = in.floats(n);
  kernels->swiGluGrad(dy, gate, up, dGate, in.floats(n), n);
  return nullptr;
}

napi_value dropout(napi_env, Arguments &in) {
  int64_t rows = in.integer(), n = in.integer(), dropBelow = in.integer();
  require(dropBelow < 65536, "dropout: a threshold of 16 bits");
  const int32_t *keys = in.ints({rows, 2});
  const float *x = in.floats({rows, n});
  float *y = in.floats({rows, n});
  kernels->dropout(x, keys, y, rows, n, (int32_t)dropBelow);
  return nullptr;
}

napi_value embedding(napi_env, Arguments &in) {
  int64_t n = in.integer(), V = in.integer(), C = in.integer();
  const int32_t *ids = in.ints(n);
  const meap::Matrix table = in.matrix({V, C});
  requireIds("embedding", ids, n, V);
  kernels->embedding(ids, table, in.floats({n, C}), n, C);
  return nullptr;
}

napi_value embeddingGrad(napi_env, Arguments &in) {
  int64_t n = in.integer(), V = in.integer(), C = in.integer();
  require(n <= INT32_MAX, "embedding: more tokens than a gradient can sort");
  const float *dy = in.floats({n, C});
  const int32_t *ids = in.ints(n);
  requireIds("embedding", ids, n, V);
  float *dTable = in.floats({V, C});
  if (C > 0) kernels->embeddingGrad(dy, ids, dTable, n, V, C);
  return nullptr;
}

napi_value adamW(napi_env, Arguments &in) {
  meap::AdamW o{};
  o.n = in.integer();
  o.learningRate = (float)in.number();
  o.beta1 = (float)in.number();
  o.beta2 = (float)in.number();
  o.epsilon = (float)in.number();
  o.weightDecay = (float)in.number();
  o.gradientScale = (float)in.number();
  o.correction1 = (float)in.number();
  o.correction2 = (float)in.number();
  o.parameter = in.floats(o.n);
  o.gradient = in.floats(o.n);
  o.firstMoment = in.floats(o.n);
  o.secondMoment = in.floats(o.n);
  kernels->adamW(o);
  return nullptr;
}

napi_value sumOfSquares(napi_env env, Arguments &in) {
  int64_t n = in.integer();
  return numberValue(env, kernels->sumOfSquares(in.floats(n), n));
}

napi_value toBfloat16(napi_env, Arguments &in) {
  int64_t n = in.integer();
  const float *x = in.floats(n);
  kernels->toBfloat16(x, in.halves(n), n);
  return nullptr;
}

napi_value fromBfloat16(napi_env, Arguments &in) {
  int64_t n = in.integer();
  const uint16_t *x = in.halves(n);
  kernels->fromBfloat16(x, in.floats(n), n);
  return nullptr;
}

template <void (*Kernels::*F)(const float *, const float *, float *, int64_t)>
napi_value binary(napi_env, Arguments &in) {
  int64_t n = in.integer();
  const float *a = in.floats(n), *b = in.floats(n);
  (kernels->*F)(a, b, in.floats(n), n);
  return nullptr;
}

napi_value scale(napi_env, Arguments &in) {
  int64_t n = in.integer();
  float factor = (float)in.number();
  const float *a = in.floats(n);
  kernels->scale(a, factor, in.floats(n), n);
  return nullptr;
}

// GFLOP/s of dense multiply-adds on all threads, the best of several short runs: other work on the cores only makes it look lower.
napi_value measurePeak(napi_env env, Arguments &in) {
  bool bfloat16 = in.boolean();
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
    napi_value name;
    napi_create_string_utf8(env, k->name, NAPI_AUTO_LENGTH, &name);
    napi_set_element(env, list, n++, name);
  }
  return list;
}

napi_value instructionSet(napi_env env, Arguments &) {
  napi_value name;
  napi_create_string_utf8(env, kernels->name, NAPI_AUTO_LENGTH, &name);
  return name;
}

napi_value setInstructionSet(napi_env, Arguments &in) {
  std::string wanted = in.text();
  for (const Kernels *k : all) {
    if (wanted == k->name && cpu.supports(k->name)) {
      kernels = k;
      return nullptr;
    }
  }
  throw Error{"instruction set not available here, got '" + wanted + "'"};
}

napi_value numThreads(napi_env env, Arguments &) { return numberValue(env, meap::threadCount()); }

napi_value setNumThreads(napi_env, Arguments &in) {
  const int64_t threads = in.integer();
  require(threads >= 1 && threads <= 1024, "a number of threads outside 1 to 1024");
  meap::setThreadCount((int)threads);
  return nullptr;
}

napi_value scratchBytes(napi_env env, Arguments &) { return numberValue(env, (double)meap::scratchBytes()); }

// A buffer aligned to a cache line, large ones to a huge page; freed when JavaScript drops it.
napi_value allocate(napi_env env, Arguments &in) {
  int64_t bytes = in.integer();
  void *data = meap::allocateBuffer(bytes);
  if (!data) throw Error{"out of memory: no room for a buffer of " + std::to_string(bytes) + " bytes"};
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
  if (napi_get_arraybuffer_info(env, in.value(), &data, &bytes) != napi_ok) throw Error{"discard: not a buffer"};
  meap::discardBuffer(data, (int64_t)bytes);
  return nullptr;
}

// Whether to take what is there. Intel's processors do the bfloat16 products of AVX-512 at half the rate of float32
// (measured: 82 against 159 GFLOP/s on two cores of a Xeon of 2024), so float32 units do them there.
bool preferred(const char *name) {
  return !(cpu.isIntel && !strcmp(name, "avx512bf16"));
}

// JavaScript threads that have this library loaded. Node unloads it when the last one ends, if that is a worker: no thread
// may run its code then.
std::atomic<int> environments{0};

void leave(void *registration) {
  delete (char *)registration;
  meap::releaseScratch();
  if (--environments == 0) meap::setThreadCount(1);
}

napi_value initialise(napi_env env, napi_value exports) {
  if (!host::find()) return nullptr;
  environments++;
  // Each hook needs a pointer of its own.
  napi_add_env_cleanup_hook(env, leave, new char);
  for (const Kernels *k : all) {
    if (!kernels && cpu.supports(k->name) && preferred(k->name)) kernels = k;
  }
  auto expose = [&](const char *name, napi_callback function) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  };
  expose("gemm", guarded<gemm>);
  expose("attention", guarded<attention>);
  expose("attentionGrad", guarded<attentionGrad>);
  expose("cachedAttention", guarded<cachedAttention>);
  expose("crossEntropy", guarded<crossEntropy>);
  expose("rmsNorm", guarded<rmsNorm>);
  expose("rmsNormGrad", guarded<rmsNormGrad>);
  expose("rotary", guarded<rotary>);
  expose("swiGlu", guarded<swiGlu>);
  expose("swiGluGrad", guarded<swiGluGrad>);
  expose("dropout", guarded<dropout>);
  expose("embedding", guarded<embedding>);
  expose("embeddingGrad", guarded<embeddingGrad>);
  expose("adamW", guarded<adamW>);
  expose("sumOfSquares", guarded<sumOfSquares>);
  expose("toBfloat16", guarded<toBfloat16>);
  expose("fromBfloat16", guarded<fromBfloat16>);
  expose("add", guarded<binary<&Kernels::add>>);
  expose("multiply", guarded<binary<&Kernels::multiply>>);
  expose("scale", guarded<scale>);
  expose("measurePeak", guarded<measurePeak>);
  expose("instructionSets", guarded<instructionSets>);
  expose("instructionSet", guarded<instructionSet>);
  expose("setInstructionSet", guarded<setInstructionSet>);
  expose("numThreads", guarded<numThreads>);
  expose("setNumThreads", guarded<setNumThreads>);
  expose("scratchBytes", guarded<scratchBytes>);
  expose("allocate", guarded<allocate>);
  expose("discard", guarded<discard>);
  return exports;
}

}  // namespace

NAPI_MODULE(meap_kernels, initialise)
