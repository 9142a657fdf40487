// Node-API on every system. A binary for Windows that links to node.exe would not load into Electron, Bun or Deno, so it
// looks up the functions in the running program.
#pragma once
#include <node_api.h>
#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>

#define MEAP_NODE_API(X)                                                                                              \
  X(napi_add_env_cleanup_hook) X(napi_create_array) X(napi_create_double) X(napi_create_external_arraybuffer)         \
  X(napi_create_function) X(napi_create_string_utf8) X(napi_get_array_length) X(napi_get_arraybuffer_info)            \
  X(napi_get_cb_info) X(napi_get_element) X(napi_get_typedarray_info) X(napi_get_value_bool)                          \
  X(napi_get_value_double) X(napi_get_value_string_utf8) X(napi_set_element) X(napi_set_named_property)               \
  X(napi_throw_error) X(napi_typeof)

namespace host {
#define MEAP_POINTER(name) static decltype(&::name) name;
MEAP_NODE_API(MEAP_POINTER)
#undef MEAP_POINTER

// Returns whether the running program has all functions that this addon uses.
static bool find() {
  const HMODULE program = GetModuleHandleW(nullptr);
  bool all = true;
  const auto lookUp = [&](const char *name) {
    const FARPROC found = GetProcAddress(program, name);
    if (!found) all = false;
    return found;
  };
#define MEAP_FIND(name) name = (decltype(name))(void *)lookUp(#name);
  MEAP_NODE_API(MEAP_FIND)
#undef MEAP_FIND
  return all;
}
}  // namespace host

#define napi_add_env_cleanup_hook host::napi_add_env_cleanup_hook
#define napi_create_array host::napi_create_array
#define napi_create_double host::napi_create_double
#define napi_create_external_arraybuffer host::napi_create_external_arraybuffer
#define napi_create_function host::napi_create_function
#define napi_create_string_utf8 host::napi_create_string_utf8
#define napi_get_array_length host::napi_get_array_length
#define napi_get_arraybuffer_info host::napi_get_arraybuffer_info
#define napi_get_cb_info host::napi_get_cb_info
#define napi_get_element host::napi_get_element
#define napi_get_typedarray_info host::napi_get_typedarray_info
#define napi_get_value_bool host::napi_get_value_bool
#define napi_get_value_double host::napi_get_value_double
#define napi_get_value_string_utf8 host::napi_get_value_string_utf8
#define napi_set_element host::napi_set_element
#define napi_set_named_property host::napi_set_named_property
#define napi_throw_error host::napi_throw_error
#define napi_typeof host::napi_typeof
#else
namespace host {
static bool find() { return true; }
}  // namespace host
#endif
