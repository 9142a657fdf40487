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

// These names hide the functions that a binary would link to.
namespace {
#define MEAP_USING(name) using host::name;
MEAP_NODE_API(MEAP_USING)
#undef MEAP_USING
}  // namespace
#else
namespace host {
static bool find() { return true; }
}  // namespace host
#endif
