// Conversions between JavaScript's values and those of PJRT.
#pragma once

#include "objects.h"

// What JavaScript holds: an external that refers to an object until it is released.
struct Handle {
  Kind kind;
  std::shared_ptr<void> object;
  Environment *environment;
};

template <class T>
constexpr Kind kindOf() {
  return T::kind;
}
template <>
constexpr Kind kindOf<Plugin>() {
  return Kind::plugin;
}

template <class T>
napi_value wrap(napi_env env, std::shared_ptr<T> object) {
  napi_value value;
  auto *handle = new Handle{kindOf<T>(), std::move(object), &Environment::of(env)};
  napi_create_external(
      env, handle,
      [](napi_env, void *data, void *) {
        auto *handle = (Handle *)data;
        // When the process ends, its threads may still use the objects.
        if (!handle->environment->isProcessEnding()) delete handle;
      },
      nullptr, &value);
  return value;
}

inline Handle &handleOf(napi_env env, napi_value value) {
  void *data = nullptr;
  if (napi_get_value_external(env, value, &data) != napi_ok) {
    throw Failure{"INVALID_ARGUMENT", "got a value that is no object of this package"};
  }
  return *(Handle *)data;
}

template <class T>
std::shared_ptr<T> unwrap(napi_env env, napi_value value) {
  Handle &handle = handleOf(env, value);
  if (handle.kind != kindOf<T>()) throw Failure{"INVALID_ARGUMENT", "got an object of another class"};
  if (!handle.object) throw Failure{"FAILED_PRECONDITION", "the object is disposed"};
  return std::static_pointer_cast<T>(handle.object);
}

inline napi_value numberOf(napi_env env, int64_t number) {
  napi_value value;
  napi_create_int64(env, number, &value);
  return value;
}

inline napi_value booleanOf(napi_env env, bool own) {
  napi_value value;
  napi_get_boolean(env, own, &value);
  return value;
}

inline napi_value stringOf(napi_env env, const char *text, size_t length) {
  napi_value value;
  napi_create_string_utf8(env, text ? text : "", length, &value);
  return value;
}

inline napi_value objectOf(napi_env env) {
  napi_value value;
  napi_create_object(env, &value);
  return value;
}

inline void setField(napi_env env, napi_value object, const char *name, napi_value value) {
  napi_set_named_property(env, object, name, value);
}

template <class T, class F>
napi_value arrayOf(napi_env env, const T *items, size_t count, F convert) {
  napi_value array;
  napi_create_array_with_length(env, count, &array);
  for (size_t i = 0; i < count; i++) napi_set_element(env, array, i, convert(items[i]));
  return array;
}

// A Uint8Array with a copy of the bytes.
inline napi_value bytesOf(napi_env env, const std::string &bytes) {
  void *data;
  napi_value buffer, array;
  napi_create_arraybuffer(env, bytes.size(), &data, &buffer);
  if (!bytes.empty()) memcpy(data, bytes.data(), bytes.size());
  napi_create_typedarray(env, napi_uint8_array, bytes.size(), buffer, 0, &array);
  return array;
}

inline std::string textFrom(napi_env env, napi_value value) {
  size_t length = 0;
  if (napi_get_value_string_utf8(env, value, nullptr, 0, &length) != napi_ok) {
    throw Failure{"INVALID_ARGUMENT", "got a value that is no string"};
  }
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, &text[0], length + 1, &length);
  return text;
}

struct Bytes {
  char *data = nullptr;
  size_t size = 0;
};

// The memory of a typed array.
inline Bytes memoryOf(napi_env env, napi_value value) {
  static const size_t WIDTHS[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  napi_typedarray_type type;
  size_t length = 0;
  void *data = nullptr;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      (size_t)type >= sizeof WIDTHS / sizeof *WIDTHS) {
    throw Failure{"INVALID_ARGUMENT", "got a value that is no typed array"};
  }
  return {(char *)data, length * WIDTHS[type]};
}

inline int64_t integerFrom(napi_env env, napi_value value) {
  int64_t number = 0;
  if (napi_get_value_int64(env, value, &number) != napi_ok) {
    throw Failure{"INVALID_ARGUMENT", "got a value that is no number"};
  }
  return number;
}

template <class F>
void forEach(napi_env env, napi_value array, F visit) {
  uint32_t length = 0;
  if (napi_get_array_length(env, array, &length) != napi_ok) {
    throw Failure{"INVALID_ARGUMENT", "got a value that is no array"};
  }
  for (uint32_t i = 0; i < length; i++) {
    napi_value item;
    napi_get_element(env, array, i, &item);
    visit(item);
  }
}

inline std::vector<int64_t> integersFrom(napi_env env, napi_value array) {
  std::vector<int64_t> numbers;
  forEach(env, array, [&](napi_value item) { numbers.push_back(integerFrom(env, item)); });
  return numbers;
}

// Named values from an array of [name, value]: strings, booleans, integers, other numbers, lists of integers.
class NamedValues {
 public:
  NamedValues(napi_env env, napi_value entries) {
    forEach(env, entries, [&](napi_value entry) {
      napi_value name, value;
      napi_get_element(env, entry, 0, &name);
      napi_get_element(env, entry, 1, &value);
      owned.push_back(std::make_unique<Owned>());
      owned.back()->name = textFrom(env, name);
      read(env, value, *owned.back());
    });
    for (const auto &one : owned) {
      ARGS(PJRT_NamedValue, named);
      named = one->value;
      named.struct_size = PJRT_NamedValue_STRUCT_SIZE;
      named.name = one->name.data();
      named.name_size = one->name.size();
      values.push_back(named);
    }
  }

  std::vector<PJRT_NamedValue> values;

 private:
  struct Owned {
    std::string name, text;
    std::vector<int64_t> list;
    PJRT_NamedValue value{};
  };

  static void read(napi_env env, napi_value value, Owned &own) {
    napi_valuetype type;
    napi_typeof(env, value, &type);
    own.value.value_size = 1;
    if (type == napi_string) {
      own.text = textFrom(env, value);
      own.value.type = PJRT_NamedValue_kString;
      own.value.string_value = own.text.data();
      own.value.value_size = own.text.size();
    } else if (type == napi_boolean) {
      own.value.type = PJRT_NamedValue_kBool;
      napi_get_value_bool(env, value, &own.value.bool_value);
    } else if (type == napi_number) {
      double number = 0;
      napi_get_value_double(env, value, &number);
      if (number == (double)(int64_t)number) {
        own.value.type = PJRT_NamedValue_kInt64;
        own.value.int64_value = (int64_t)number;
      } else {
        own.value.type = PJRT_NamedValue_kFloat;
        own.value.float_value = (float)number;
      }
    } else {
      own.list = integersFrom(env, value);
      own.value.type = PJRT_NamedValue_kInt64List;
      own.value.int64_array_value = own.list.data();
      own.value.value_size = own.list.size();
    }
  }

  std::vector<std::unique_ptr<Owned>> owned;
};

// A record of named values of PJRT.
inline napi_value recordOf(napi_env env, const PJRT_NamedValue *values, size_t count) {
  const napi_value record = objectOf(env);
  for (size_t i = 0; i < count; i++) {
    const PJRT_NamedValue &one = values[i];
    napi_value value = nullptr;
    switch (one.type) {
      case PJRT_NamedValue_kString: value = stringOf(env, one.string_value, one.value_size); break;
      case PJRT_NamedValue_kInt64: value = numberOf(env, one.int64_value); break;
      case PJRT_NamedValue_kInt64List:
        value = arrayOf(env, one.int64_array_value, one.value_size,
                        [&](int64_t number) { return numberOf(env, number); });
        break;
      case PJRT_NamedValue_kFloat: napi_create_double(env, one.float_value, &value); break;
      case PJRT_NamedValue_kBool: value = booleanOf(env, one.bool_value); break;
    }
    if (value) napi_set_property(env, record, stringOf(env, one.name, one.name_size), value);
  }
  return record;
}
