// Calls every function of the addon with arguments that libFuzzer makes up, under the address and undefined-behaviour
// sanitizers: addon.cpp runs unchanged on an imitation of the few Node-API calls it makes. fuzz.mjs builds it.
//
// Numbers are small, as often as not ones that belong together as ops.ts makes sure of, or huge powers of two, whose
// products wrap around to small ones; kinds, counts and lengths of arguments are anything. Arrays are heap blocks of
// exactly their length, so that the sanitizer sees one element too far.
#include <fuzzer/FuzzedDataProvider.h>
#include <node_api.h>

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

struct Value {
  enum Kind { Undefined, Null, Number, Boolean, Text, List, Typed } kind = Undefined;
  double number = 0;
  std::string text;
  std::vector<Value *> list;
  napi_typedarray_type type = napi_float32_array;
  size_t length = 0;
  std::unique_ptr<char[]> data;
};

std::deque<Value> values;
std::map<std::string, napi_callback> functions;
std::vector<Value *> arguments;
std::string thrown;

Value *add(Value value) {
  values.push_back(std::move(value));
  return &values.back();
}
Value *of(napi_value value) { return (Value *)value; }
size_t widthOf(napi_typedarray_type type) { return type == napi_uint16_array ? 2 : 4; }

void resize(Value &array, napi_typedarray_type type, size_t length, uint32_t seed) {
  array.kind = Value::Typed, array.type = type, array.length = length;
  array.data.reset(new char[length * widthOf(type)]);
  for (size_t i = 0; i < length; i++) {
    seed = seed * 1664525 + 1013904223;
    // Ids of a small vocabulary, and numbers of every size with some that are none.
    if (type == napi_int32_array) ((int32_t *)array.data.get())[i] = (seed >> 24) % 3;
    else if (type == napi_uint16_array) ((uint16_t *)array.data.get())[i] = seed >> 16;
    else ((float *)array.data.get())[i] = (seed >> 28) == 0 ? 0.0f / 0.0f : (float)(int32_t)seed * 1e-9f;
  }
}

}  // namespace

extern "C" {
napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *count, napi_value *into, napi_value *, void **) {
  for (size_t i = 0; i < *count; i++) into[i] = (napi_value)(i < arguments.size() ? arguments[i] : add({}));
  *count = arguments.size();
  return napi_ok;
}
napi_status napi_get_value_double(napi_env, napi_value value, double *into) {
  if (of(value)->kind != Value::Number) return napi_number_expected;
  *into = of(value)->number;
  return napi_ok;
}
napi_status napi_get_value_bool(napi_env, napi_value value, bool *into) {
  if (of(value)->kind != Value::Boolean) return napi_boolean_expected;
  *into = of(value)->number != 0;
  return napi_ok;
}
napi_status napi_get_value_string_utf8(napi_env, napi_value value, char *into, size_t size, size_t *written) {
  if (of(value)->kind != Value::Text) return napi_string_expected;
  *written = std::min(size - 1, of(value)->text.size());
  memcpy(into, of(value)->text.data(), *written);
  into[*written] = 0;
  return napi_ok;
}
napi_status napi_get_typedarray_info(napi_env, napi_value value, napi_typedarray_type *type, size_t *length,
                                     void **data, napi_value *, size_t *) {
  if (of(value)->kind != Value::Typed) return napi_invalid_arg;
  if (type) *type = of(value)->type;
  if (length) *length = of(value)->length;
  if (data) *data = of(value)->data.get();
  return napi_ok;
}
napi_status napi_get_array_length(napi_env, napi_value value, uint32_t *into) {
  if (of(value)->kind != Value::List) return napi_array_expected;
  *into = (uint32_t)of(value)->list.size();
  return napi_ok;
}
napi_status napi_get_element(napi_env, napi_value value, uint32_t i, napi_value *into) {
  if (of(value)->kind != Value::List) return napi_object_expected;
  *into = (napi_value)(i < of(value)->list.size() ? of(value)->list[i] : add({}));
  return napi_ok;
}
napi_status napi_typeof(napi_env, napi_value value, napi_valuetype *type) {
  const Value::Kind kind = of(value)->kind;
  *type = kind == Value::Null ? napi_null : kind == Value::Undefined ? napi_undefined : napi_object;
  return napi_ok;
}
napi_status napi_throw_error(napi_env, const char *, const char *message) {
  thrown = message;
  return napi_ok;
}
napi_status napi_create_double(napi_env, double number, napi_value *into) {
  Value value;
  value.kind = Value::Number, value.number = number;
  *into = (napi_value)add(std::move(value));
  return napi_ok;
}
napi_status napi_create_array(napi_env, napi_value *into) {
  Value value;
  value.kind = Value::List;
  *into = (napi_value)add(std::move(value));
  return napi_ok;
}
napi_status napi_create_string_utf8(napi_env, const char *text, size_t, napi_value *into) {
  Value value;
  value.kind = Value::Text, value.text = text;
  *into = (napi_value)add(std::move(value));
  return napi_ok;
}
napi_status napi_set_element(napi_env, napi_value list, uint32_t, napi_value value) {
  of(list)->list.push_back(of(value));
  return napi_ok;
}
napi_status napi_create_external_arraybuffer(napi_env env, void *data, size_t bytes, napi_finalize release, void *hint,
                                             napi_value *into) {
  if (bytes > 0) ((char *)data)[0] = ((char *)data)[bytes - 1] = 1;
  release(env, data, hint);
  return napi_create_array(env, into);
}
napi_status napi_get_arraybuffer_info(napi_env, napi_value, void **, size_t *) { return napi_invalid_arg; }
napi_status napi_create_function(napi_env, const char *name, size_t, napi_callback function, void *, napi_value *into) {
  functions[name] = function;
  *into = nullptr;
  return napi_ok;
}
napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value) { return napi_ok; }
napi_value napi_register_module_v1(napi_env, napi_value);
}

namespace {

// Numbers and flags that come first; n: a number, b: a flag. What follows are arrays, or for L a list of numbers and
// for A a list of arrays.
const std::vector<std::pair<const char *, const char *>> SIGNATURES = {
    {"gemm", "nnnnbbbbb----"}, {"attention", "nnnnnnnn-------"}, {"attentionGrad", "nnnnnnnn-----------"},
    {"cachedAttention", "nnnnnnn---LAA-"}, {"crossEntropy", "nnnb--------"}, {"rmsNorm", "nnn---"},
    {"rmsNormGrad", "nnn------"}, {"rotary", "nnnnnb----"}, {"swiGlu", "n---"}, {"swiGluGrad", "n-----"},
    {"dropout", "nnn---"}, {"embedding", "nnn---"}, {"embeddingGrad", "nnn---"}, {"adamW", "nnnnnnnnn----"},
    {"sumOfSquares", "n-"}, {"toBfloat16", "n--"}, {"fromBfloat16", "n--"}, {"add", "n---"}, {"multiply", "n---"},
    {"scale", "nn--"}, {"setNumThreads", "n"}, {"allocate", "n"}, {"setInstructionSet", "-"}, {"numThreads", ""},
};

// What the TypeScript that calls the addon makes sure of; the addon checks it too.
void keepContract(const std::string &name, std::vector<double> &n) {
  if (name == "attention" || name == "attentionGrad") {
    n[4] = 1 + (int)n[4] % 3, n[3] = n[4] * (1 + (int)n[3] % 3), n[2] = n[1];
    n[5] = 1 + n[5];
  }
  if (name == "cachedAttention") n[3] = 1 + (int)n[3] % 3, n[2] = n[3] * (1 + (int)n[2] % 3), n[4] = 1 + n[4];
  if (name == "crossEntropy") n[1]++, n[2]++;
  if (name == "rotary") n[3] = 2 * n[3], n[4] = (int)n[4] % 2 ? n[0] : 1;
  if (name == "setNumThreads") n[0] = 1 + (int)n[0] % 4;
}

// Each is a size the addon takes, 2^40 and 2^40 + 1 at its limit; two or more of them pass 2^64 as a product.
double anySize(FuzzedDataProvider &data, bool isHuge) {
  if (isHuge && data.ConsumeBool()) {
    return (double)(((int64_t)1 << data.ConsumeIntegralInRange(15, 40)) + data.ConsumeIntegralInRange(-1, 1));
  }
  return data.ConsumeIntegralInRange(0, data.ConsumeBool() ? 4 : 37);
}

Value *anyValue(FuzzedDataProvider &data) {
  Value value;
  switch (data.ConsumeIntegralInRange(0, 6)) {
    case 0: break;
    case 1: value.kind = Value::Null; break;
    case 2: value.kind = Value::Number, value.number = data.ConsumeFloatingPoint<double>(); break;
    case 3: value.kind = Value::Boolean, value.number = data.ConsumeBool(); break;
    case 4: value.kind = Value::Text, value.text = data.ConsumeRandomLengthString(80); break;
    case 5: value.kind = Value::List; break;
    default: {
      const napi_typedarray_type types[] = {napi_float32_array, napi_int32_array, napi_uint16_array, napi_uint8_array};
      resize(value, types[data.ConsumeIntegralInRange(0, 2)], data.ConsumeIntegralInRange(0, 40), 1);
    }
  }
  return add(std::move(value));
}

// Mends the argument that the addon complained of, as a caller who reads its errors would.
bool mend(FuzzedDataProvider &data) {
  unsigned position = 0, got = 0;
  long expected = 0;
  char kind[32];
  if (data.ConsumeIntegralInRange(0, 15) == 15) return false;
  const uint32_t seed = data.ConsumeIntegral<uint32_t>();
  if (sscanf(thrown.c_str(), "native: argument %u is too short, got %u elements, expected %ld", &position, &got,
             &expected) == 3) {
    if (position >= arguments.size() || expected > 1 << 16) return false;
    Value *array = arguments[position];
    if (array->kind == Value::List) {
      for (Value *element : array->list)
        if (element->kind != Value::Typed || (long)element->length < expected) resize(*element, napi_float32_array, expected, seed);
    } else resize(*array, array->type, expected, seed);
    return true;
  }
  if (sscanf(thrown.c_str(), "native: argument %u is not %31s", &position, kind) != 2) return false;
  if (position >= arguments.size()) return false;
  Value *array = arguments[position];
  const std::string wanted = kind;
  if (wanted == "Float32Array") resize(*array, napi_float32_array, 0, seed);
  else if (wanted == "Int32Array") resize(*array, napi_int32_array, 0, seed);
  else if (wanted == "Uint16Array") resize(*array, napi_uint16_array, 0, seed);
  else return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (functions.empty()) napi_register_module_v1(nullptr, nullptr);
  FuzzedDataProvider data(bytes, size);
  const auto &[name, signature] = SIGNATURES[data.ConsumeIntegralInRange<size_t>(0, SIGNATURES.size() - 1)];
  values.clear();
  arguments.clear();
  std::vector<double> numbers;
  const bool isHuge = data.ConsumeBool();
  for (const char *kind = signature; *kind; kind++) {
    if (*kind == 'n') numbers.push_back(anySize(data, isHuge));
  }
  if (!isHuge && (name == "setNumThreads" || data.ConsumeBool())) keepContract(name, numbers);
  size_t next = 0;
  for (const char *kind = signature; *kind; kind++) {
    Value value;
    if (*kind == 'n') value.kind = Value::Number, value.number = numbers[next++];
    else if (*kind == 'b') value.kind = Value::Boolean, value.number = data.ConsumeBool();
    else if (*kind == 'L' || *kind == 'A') {
      value.kind = Value::List;
      for (int i = 0; i < std::min(numbers[0], 37.0); i++) {
        Value element;
        if (*kind == 'L') element.kind = Value::Number, element.number = anySize(data, isHuge) - isHuge;
        else resize(element, napi_float32_array, 0, 1);
        value.list.push_back(add(std::move(element)));
      }
    } else {
      arguments.push_back(data.ConsumeIntegralInRange(0, 3) ? add({}) : anyValue(data));
      continue;
    }
    arguments.push_back(add(std::move(value)));
  }
  while (arguments.size() > 0 && data.ConsumeIntegralInRange(0, 31) == 31) arguments.pop_back();
  for (int attempt = 0; attempt < 24; attempt++) {
    thrown.clear();
    functions[name](nullptr, nullptr);
    if (thrown.empty() || !mend(data)) break;
  }
  return 0;
}
