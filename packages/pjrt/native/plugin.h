// A loaded PJRT plugin: its function table, with checks of version and size, and its errors as C++ exceptions.
#pragma once

#include <cstring>
#include <memory>
#include <string>

#include "third_party/pjrt_c_api.h"

// An error for JavaScript: PJRT's code and text.
struct Failure {
  std::string code, message;
};

// `ARGS(PJRT_X_Args, name)` declares a zeroed argument struct that says how much of it this program knows.
#define ARGS(type, name) \
  type name;             \
  memset(&name, 0, sizeof name); \
  name.struct_size = type##_STRUCT_SIZE

// Calls a function of the plugin's table; throws Failure if it is missing or fails.
#define CALL(plugin, name, args) (plugin).check((plugin).require(&PJRT_Api::name, #name)(&args))

class Plugin {
 public:
  // Loads a plugin once per process and initializes it. It is never unloaded: its threads would run freed code.
  static std::shared_ptr<Plugin> load(const std::string &path);

  // Returns a function of the table; throws Failure if the plugin's table ends before it or has none.
  template <class F>
  F *require(F *PJRT_Api::*field, const char *name) const {
    const size_t end = (const char *)&(api->*field) - (const char *)api + sizeof(F *);
    if (end > api->struct_size || !(api->*field)) throwMissing(name);
    return api->*field;
  }

  template <class F>
  bool has(F *PJRT_Api::*field) const {
    const size_t end = (const char *)&(api->*field) - (const char *)api + sizeof(F *);
    return end <= api->struct_size && api->*field;
  }

  // Takes over an error of the plugin; throws it as Failure unless it is null.
  void check(PJRT_Error *error) const;

  void destroyEvent(PJRT_Event *event) const;

  int major() const { return api->pjrt_api_version.major_version; }
  int minor() const { return api->pjrt_api_version.minor_version; }

 private:
  explicit Plugin(const PJRT_Api *table) : api(table) {}
  [[noreturn]] void throwMissing(const char *name) const;

  const PJRT_Api *api;
};
