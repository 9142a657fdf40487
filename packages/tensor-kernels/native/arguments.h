// Reads and checks the arguments of a call from JavaScript.
#pragma once
#include "node_api_host.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>
#include "kernels.h"

namespace {

// What a function of the addon takes: named fields, whose values JavaScript passes in this order.
struct Signature {
  std::string function;
  // Their names by kind, separated by spaces.
  std::string numbers, booleans, arrays, numberLists, arrayLists;
  // All names in order.
  std::vector<std::string> fields;

  Signature(const char *function, const char *numbers = "", const char *booleans = "", const char *arrays = "",
            const char *numberLists = "", const char *arrayLists = "")
      : function(function), numbers(numbers), booleans(booleans), arrays(arrays), numberLists(numberLists),
        arrayLists(arrayLists) {
    for (const char *names : {numbers, booleans, arrays, numberLists, arrayLists}) {
      for (const std::string &name : words(names)) fields.push_back(name);
    }
  }
  static std::vector<std::string> words(const std::string &text) {
    std::vector<std::string> result;
    for (size_t from = 0, to; from < text.size(); from = to + 1) {
      to = std::min(text.find(' ', from), text.size());
      result.push_back(text.substr(from, to - from));
    }
    return result;
  }
};

// A refused argument or an impossible call.
struct Error {
  std::string message;
};

void require(bool holds, const char *what) {
  if (!holds) throw Error{what};
}

constexpr int64_t MAX_SIZE = (int64_t)1 << 40;  // elements; more than any runtime allocates

// The number of elements that an array needs: one size, or the product of several. A product that overflowed would pass
// for the length of a small array, so one above MAX_SIZE is an error, even beside a size of 0: kernels multiply the other
// sizes.
struct Length {
  int64_t elements;
  Length(int64_t elements) : elements(elements) {}
  Length(std::initializer_list<int64_t> sizes) : elements(1) {
    bool isEmpty = false;
    for (int64_t size : sizes) {
      if (size == 0) isEmpty = true;
      else if (size > MAX_SIZE / elements) tooMany(sizes);
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

// The values of a call's fields, read by name.
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env(env) {
    size_t count = MAX_FIELDS;
    void *data = nullptr;
    // Node-API fills values beyond those passed with undefined.
    napi_get_cb_info(env, info, &count, values, nullptr, &data);
    signature = (const Signature *)data;
  }
  const std::string &function() const { return signature->function; }
  napi_value value(const char *name) {
    field = name;
    const auto &names = signature->fields;
    for (size_t i = 0; i < names.size(); i++) {
      // The search starts behind the last field read: most are read in order.
      const size_t at = next++ % names.size();
      if (names[at] == name) return values[at];
    }
    throw Error{std::string(name) + ": not in the signature"};
  }
  template <class T>
  using Fields = std::initializer_list<std::pair<const char *, T *>>;
  void integers(Fields<int64_t> fields) {
    for (auto [name, into] : fields) *into = integer(name);
  }
  void numbers(Fields<float> fields) {
    for (auto [name, into] : fields) *into = (float)number(name);
  }
  void booleans(Fields<bool> fields) {
    for (auto [name, into] : fields) *into = boolean(name);
  }
  // A size, an index or a count.
  int64_t integer(const char *name) { return size(value(name), "a whole number from 0 to 2^40"); }
  double number(const char *name) {
    double x = 0;
    const napi_value given = value(name);
    if (napi_get_value_double(env, given, &x) != napi_ok) fail("a number", given);
    return x;
  }
  bool boolean(const char *name) {
    bool x = false;
    const napi_value given = value(name);
    if (napi_get_value_bool(env, given, &x) != napi_ok) fail("a boolean", given);
    return x;
  }
  std::string text(const char *name) {
    char buffer[64];
    size_t n;
    const napi_value given = value(name);
    if (napi_get_value_string_utf8(env, given, buffer, sizeof buffer, &n) != napi_ok) fail("a string", given);
    return std::string(buffer, n);
  }
  float *floats(const char *name, Length length) { return (float *)array(value(name), napi_float32_array, length); }
  int32_t *ints(const char *name, Length length) { return (int32_t *)array(value(name), napi_int32_array, length); }
  uint16_t *bfloat16s(const char *name, Length length) {
    return (uint16_t *)array(value(name), napi_uint16_array, length);
  }
  // A Float32Array, the bits of bfloat16 in a Uint16Array, or quantised numbers in a Uint8Array.
  meap::Matrix matrix(const char *name, Length length) {
    const napi_value given = value(name);
    napi_typedarray_type type = napi_float32_array;
    napi_get_typedarray_info(env, given, &type, nullptr, nullptr, nullptr, nullptr);
    if (type == napi_uint8_array) {
      quantizedMatrix = quantized(name, length);
      return {nullptr, nullptr, &quantizedMatrix};
    }
    if (type == napi_uint16_array) return {nullptr, (const uint16_t *)array(given, type, length)};
    return {(const float *)array(given, napi_float32_array, length), nullptr};
  }
  // Quantised numbers: a header of 16 bytes (4 or 8 bits as an int32, the offset of NF4 as a float, the count as a
  // double), then absmax, absmaxCodes and codes.
  meap::Quantized quantized(const char *name, Length length) {
    constexpr int64_t header = 16;
    const napi_value given = value(name);
    char *bytes = (char *)array(given, napi_uint8_array, header);
    int32_t bits;
    double count;
    memcpy(&bits, bytes, 4);
    memcpy(&count, bytes + 8, 8);
    const int64_t n = length.elements, blocks = (n + 63) / 64;
    if ((uintptr_t)bytes % 4 != 0 || (bits != 4 && bits != 8) || count != (double)n) {
      throw Error{std::string(name) + ": not " + std::to_string(n) + " quantised numbers"};
    }
    const bool isNf4 = bits == 4;
    const int64_t absmaxes = 4 * (isNf4 ? (blocks + 255) / 256 : blocks), absmaxCodes = isNf4 ? blocks : 0;
    array(given, napi_uint8_array, header + absmaxes + absmaxCodes + (isNf4 ? (n + 1) / 2 : n));
    uint8_t *codes = (uint8_t *)bytes + header + absmaxes;
    return {isNf4, codes + absmaxCodes, (float *)(bytes + header), isNf4 ? codes : nullptr, (float *)(bytes + 4)};
  }
  float *optionalFloats(const char *name, Length length) { return (float *)optional(name, napi_float32_array, length); }
  int32_t *optionalInts(const char *name, Length length) { return (int32_t *)optional(name, napi_int32_array, length); }
  // A JavaScript list of numbers.
  std::vector<int64_t> integerList(const char *name, int64_t length) {
    std::vector<int64_t> result;
    elements(name, length, [&](int64_t, napi_value value) {
      result.push_back(size(value, "a list of whole numbers from 0 to 2^40"));
    });
    return result;
  }
  // A JavaScript list of arrays, each at least as long as its entry of lengths.
  std::vector<float *> floatArrays(const char *name, const std::vector<int64_t> &lengths) {
    std::vector<float *> result(lengths.size());
    elements(name, (int64_t)lengths.size(), [&](int64_t i, napi_value value) {
      result[i] = (float *)array(value, napi_float32_array, lengths[i]);
    });
    return result;
  }

 private:
  static constexpr size_t MAX_FIELDS = 24;
  napi_env env;
  napi_value values[MAX_FIELDS];
  const Signature *signature;
  size_t next = 0;
  const char *field = "";
  meap::Quantized quantizedMatrix{};

  template <class F>
  void elements(const char *name, int64_t length, F &&visit) {
    const napi_value list = value(name);
    uint32_t actual = 0;
    if (napi_get_array_length(env, list, &actual) != napi_ok) fail("a list", list);
    requireLength(actual, length);
    for (int64_t i = 0; i < length; i++) {
      napi_value element;
      if (napi_get_element(env, list, (uint32_t)i, &element) != napi_ok) fail("a list", list);
      visit(i, element);
    }
  }
  void *optional(const char *name, napi_typedarray_type expected, Length length) {
    const napi_value given = value(name);
    napi_valuetype type = napi_undefined;
    napi_typeof(env, given, &type);
    return type == napi_null || type == napi_undefined ? nullptr : array(given, expected, length);
  }
  void *array(napi_value value, napi_typedarray_type expected, Length length) {
    napi_typedarray_type type;
    size_t actual;
    void *data;
    if (napi_get_typedarray_info(env, value, &type, &actual, &data, nullptr, nullptr) != napi_ok ||
        type != expected) {
      fail(expected == napi_float32_array ? "Float32Array" : expected == napi_int32_array ? "Int32Array"
           : expected == napi_uint16_array ? "Uint16Array" : "Uint8Array",
           value);
    }
    requireLength((int64_t)actual, length.elements);
    return data;
  }
  int64_t size(napi_value value, const char *expected) {
    double x = -1;
    napi_get_value_double(env, value, &x);
    if (!(x >= 0 && x <= (double)MAX_SIZE && x == (double)(int64_t)x)) fail(expected, value);
    return (int64_t)x;
  }
  void requireLength(int64_t actual, int64_t expected) {
    if (actual >= expected) return;
    throw Error{std::string(field) + ": got " + std::to_string(actual) + " elements, expected at least " + std::to_string(expected)};
  }
  [[noreturn]] void fail(const char *expected, napi_value given) {
    static const char *const types[] = {"undefined", "null", "a boolean", "a number", "a string", "a symbol",
                                        "an object", "a function", "an external value", "a bigint"};
    napi_valuetype type = napi_undefined;
    double number;
    char text[32];
    napi_typeof(env, given, &type);
    snprintf(text, sizeof text, "%g", type == napi_number && !napi_get_value_double(env, given, &number) ? number : 0);
    throw Error{std::string(field) + ": got " + (type == napi_number ? text : types[type]) + ", expected " + expected};
  }
};

}  // namespace
