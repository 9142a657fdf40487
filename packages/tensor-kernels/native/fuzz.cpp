// Calls every function of the addon with arguments from libFuzzer, under the address and undefined-behaviour sanitizers:
// addon.cpp runs unchanged on a mock of the Node-API calls that it makes. fuzz.mjs builds it.
//
// Numbers are small, in half of the calls sizes that fit each other, or huge powers of two, whose products overflow to
// small ones; kinds, counts and lengths of arguments are arbitrary. Arrays are heap blocks of exactly their length, so
// that the sanitizer finds an access one element beyond.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>
#include "arguments.h"

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
struct Function {
  const Signature *signature;
  napi_callback call;
};
std::vector<Function> functions;
const Function *called = nullptr;
std::vector<Value *> arguments;
std::string thrown;

Value *add(Value value) {
  values.push_back(std::move(value));
  return &values.back();
}
Value *of(napi_value value) { return (Value *)value; }
size_t widthOf(napi_typedarray_type type) {
  return type == napi_uint8_array ? 1 : type == napi_uint16_array ? 2 : 4;
}

// The count in the header of quantised numbers.
double quantizedCount = 0;

void resize(Value &array, napi_typedarray_type type, size_t length, uint32_t seed) {
  array.kind = Value::Typed, array.type = type, array.length = length;
  array.data.reset(new char[length * widthOf(type)]);
  for (size_t i = 0; i < length; i++) {
    seed = seed * 1664525 + 1013904223;
    // Ids of a small vocabulary, and numbers of every size with some that are none.
    if (type == napi_int32_array) ((int32_t *)array.data.get())[i] = (seed >> 24) % 3;
    else if (type == napi_uint16_array) ((uint16_t *)array.data.get())[i] = seed >> 16;
    else if (type == napi_uint8_array) array.data[i] = seed >> 24;
    else ((float *)array.data.get())[i] = (seed >> 28) == 0 ? 0.0f / 0.0f : (float)(int32_t)seed * 1e-9f;
  }
  if (type == napi_uint8_array && length >= 16) {
    const int32_t bits = quantizedCount > 20 ? 4 : 8;
    memcpy(array.data.get(), &bits, 4);
    memcpy(array.data.get() + 8, &quantizedCount, 8);
  }
}

}  // namespace

extern "C" {
napi_status napi_get_cb_info(napi_env, napi_callback_info, size_t *count, napi_value *into, napi_value *, void **data) {
  *data = (void *)called->signature;
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
  *into = (napi_value)add({Value::Number, number});
  return napi_ok;
}
napi_status napi_create_array(napi_env, napi_value *into) {
  *into = (napi_value)add({Value::List});
  return napi_ok;
}
napi_status napi_create_string_utf8(napi_env, const char *text, size_t, napi_value *into) {
  *into = (napi_value)add({Value::Text, 0, text});
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
napi_status napi_create_function(napi_env, const char *name, size_t, napi_callback call, void *data, napi_value *into) {
  // The one that takes a tenth of a second.
  if (std::string(name) != "measurePeak") functions.push_back({(const Signature *)data, call});
  *into = nullptr;
  return napi_ok;
}
napi_status napi_add_env_cleanup_hook(napi_env, void (*)(void *), void *data) {
  static auto &hooks = *new std::vector<void *>;  // held, so that the sanitizer finds no leak
  hooks.push_back(data);
  return napi_ok;
}
napi_status napi_set_named_property(napi_env, napi_value, const char *, napi_value) { return napi_ok; }
napi_value napi_register_module_v1(napi_env, napi_value);
}

namespace {

// Makes sizes fit each other, as the TypeScript that calls the addon does; the addon checks it too.
void keepContract(const std::string &name, std::map<std::string, double> &n) {
  if (n.count("H") && n.count("G")) {
    n["G"] = 1 + (int)n["G"] % 3, n["H"] = n["G"] * (1 + (int)n["H"] % 3), n["D"]++;
    if (n.count("S")) n["S"] = n["T"];
  }
  if (name == "linearCrossEntropy") n["V"]++, n["C"]++;
  if (name == "rotary") n["D"] *= 2, n["tableBatch"] = (int)n["tableBatch"] % 2 ? n["B"] : 1;
  if (name == "setNumThreads") n["threads"] = 1 + (int)n["threads"] % 4;
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
      resize(value, types[data.ConsumeIntegralInRange(0, 3)], data.ConsumeIntegralInRange(0, 40), 1);
    }
  }
  return add(std::move(value));
}

// Corrects the argument that the addon's error names, as a caller who reads it would.
bool correct(FuzzedDataProvider &data) {
  unsigned got = 0;
  long expected = 0;
  char field[32], kind[32];
  if (data.ConsumeIntegralInRange(0, 15) == 15) return false;
  const uint32_t seed = data.ConsumeIntegral<uint32_t>();
  long count = 0;
  const bool isOther = sscanf(thrown.c_str(), "native: %*[^:]: %31[^:]: not %ld quantised", field, &count) == 2;
  if (isOther) quantizedCount = count;
  const bool isShort = sscanf(thrown.c_str(), "native: %*[^:]: %31[^:]: got %u elements, expected at least %ld", field,
                              &got, &expected) == 3;
  if (!isOther && !isShort && sscanf(thrown.c_str(), "native: %*[^:]: %31[^:]: got %*[^,], expected %31s", field, kind) != 2) {
    return false;
  }
  const auto &fields = called->signature->fields;
  const size_t position = std::find(fields.begin(), fields.end(), field) - fields.begin();
  if (position >= arguments.size() || expected > 1 << 16) return false;
  Value *array = arguments[position];
  if (isShort && array->kind == Value::List) {
    for (Value *element : array->list)
      if (element->kind != Value::Typed || (long)element->length < expected) resize(*element, napi_float32_array, expected, seed);
    return true;
  }
  if (isOther) resize(*array, napi_uint8_array, 16, seed);
  else if (isShort) resize(*array, array->type, expected, seed);
  else if (!strcmp(kind, "Float32Array")) resize(*array, napi_float32_array, 0, seed);
  else if (!strcmp(kind, "Int32Array")) resize(*array, napi_int32_array, 0, seed);
  else if (!strcmp(kind, "Uint16Array")) resize(*array, napi_uint16_array, 0, seed);
  else if (!strcmp(kind, "Uint8Array")) resize(*array, napi_uint8_array, 16, seed);
  else return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  if (functions.empty()) napi_register_module_v1(nullptr, nullptr);
  FuzzedDataProvider data(bytes, size);
  called = &functions[data.ConsumeIntegralInRange<size_t>(0, functions.size() - 1)];
  const Signature &signature = *called->signature;
  values.clear();
  arguments.clear();
  const bool isHuge = data.ConsumeBool();
  std::map<std::string, double> numbers;
  for (const std::string &name : Signature::words(signature.numbers)) numbers[name] = anySize(data, isHuge);
  if (!isHuge && (numbers.count("threads") || data.ConsumeBool())) keepContract(signature.function, numbers);
  const auto pass = [](Value value) { arguments.push_back(add(std::move(value))); };
  for (const std::string &name : Signature::words(signature.numbers)) pass({Value::Number, numbers[name]});
  for (size_t i = Signature::words(signature.booleans).size(); i > 0; i--) {
    pass({Value::Boolean, (double)data.ConsumeBool()});
  }
  for (size_t i = Signature::words(signature.arrays).size(); i > 0; i--) {
    arguments.push_back(data.ConsumeIntegralInRange(0, 3) ? add({}) : anyValue(data));
  }
  for (const std::string &names : {signature.numberLists, signature.arrayLists}) {
    for (size_t i = Signature::words(names).size(); i > 0; i--) {
      Value list{Value::List};
      for (int b = 0; b < std::min(numbers["B"], 37.0); b++) {
        Value element;
        if (names == signature.numberLists) element.kind = Value::Number, element.number = anySize(data, isHuge) - isHuge;
        else resize(element, napi_float32_array, 0, 1);
        list.list.push_back(add(std::move(element)));
      }
      pass(std::move(list));
    }
  }
  while (arguments.size() > 0 && data.ConsumeIntegralInRange(0, 31) == 31) arguments.pop_back();
  for (int attempt = 0; attempt < 24; attempt++) {
    thrown.clear();
    called->call(nullptr, nullptr);
    if (thrown.empty() || !correct(data)) break;
  }
  return 0;
}
