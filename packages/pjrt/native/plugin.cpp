#include "plugin.h"

#include <dlfcn.h>

#include <map>
#include <mutex>

namespace {

const char *nameOf(PJRT_Error_Code code) {
  switch (code) {
    case PJRT_Error_Code_CANCELLED: return "CANCELLED";
    case PJRT_Error_Code_INVALID_ARGUMENT: return "INVALID_ARGUMENT";
    case PJRT_Error_Code_DEADLINE_EXCEEDED: return "DEADLINE_EXCEEDED";
    case PJRT_Error_Code_NOT_FOUND: return "NOT_FOUND";
    case PJRT_Error_Code_ALREADY_EXISTS: return "ALREADY_EXISTS";
    case PJRT_Error_Code_PERMISSION_DENIED: return "PERMISSION_DENIED";
    case PJRT_Error_Code_RESOURCE_EXHAUSTED: return "RESOURCE_EXHAUSTED";
    case PJRT_Error_Code_FAILED_PRECONDITION: return "FAILED_PRECONDITION";
    case PJRT_Error_Code_ABORTED: return "ABORTED";
    case PJRT_Error_Code_OUT_OF_RANGE: return "OUT_OF_RANGE";
    case PJRT_Error_Code_UNIMPLEMENTED: return "UNIMPLEMENTED";
    case PJRT_Error_Code_INTERNAL: return "INTERNAL";
    case PJRT_Error_Code_UNAVAILABLE: return "UNAVAILABLE";
    case PJRT_Error_Code_DATA_LOSS: return "DATA_LOSS";
    case PJRT_Error_Code_UNAUTHENTICATED: return "UNAUTHENTICATED";
    default: return "UNKNOWN";
  }
}

// The table begins with its own size, then the version: what is needed to judge the rest.
const size_t SMALLEST_TABLE = offsetof(PJRT_Api, PJRT_Error_Destroy);
const size_t SMALLEST_VERSION =
    offsetof(PJRT_Api_Version, minor_version) + sizeof(((PJRT_Api_Version *)nullptr)->minor_version);

// What no use of a plugin can do without. Other functions are required when they are called.
void requireCore(const Plugin &plugin) {
#define REQUIRE(name) plugin.require(&PJRT_Api::name, #name)
  REQUIRE(PJRT_Error_Destroy);
  REQUIRE(PJRT_Error_Message);
  REQUIRE(PJRT_Error_GetCode);
  REQUIRE(PJRT_Plugin_Initialize);
  REQUIRE(PJRT_Event_Destroy);
  REQUIRE(PJRT_Event_OnReady);
#undef REQUIRE
}

}  // namespace

std::shared_ptr<Plugin> Plugin::load(const std::string &path) {
  // Never freed: worker threads may load plugins while the process exits.
  static std::mutex &mutex = *new std::mutex;
  static auto &loaded = *new std::map<const PJRT_Api *, std::shared_ptr<Plugin>>;
  const std::lock_guard<std::mutex> lock(mutex);
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Failure{"FAILED_PRECONDITION", std::string("the library does not load: ") + dlerror()};
  const auto getApi = (const PJRT_Api *(*)())dlsym(library, "GetPjrtApi");
  if (!getApi) throw Failure{"INVALID_ARGUMENT", "it is not a PJRT plugin: it does not export GetPjrtApi"};
  const PJRT_Api *api = getApi();
  if (!api) throw Failure{"INTERNAL", "the plugin returns no table of functions"};
  const auto found = loaded.find(api);
  if (found != loaded.end()) return found->second;
  if (api->struct_size < SMALLEST_TABLE || api->pjrt_api_version.struct_size < SMALLEST_VERSION) {
    throw Failure{"FAILED_PRECONDITION", "the plugin's table has " + std::to_string(api->struct_size) +
                                             " bytes, too few for a version of PJRT"};
  }
  std::shared_ptr<Plugin> plugin(new Plugin(api));
  if (plugin->major() != PJRT_API_MAJOR) {
    throw Failure{"FAILED_PRECONDITION", "the plugin speaks PJRT " + std::to_string(plugin->major()) + "." +
                                             std::to_string(plugin->minor()) + ", expected version 0"};
  }
  requireCore(*plugin);
  ARGS(PJRT_Plugin_Initialize_Args, args);
  CALL(*plugin, PJRT_Plugin_Initialize, args);
  loaded[api] = plugin;
  return plugin;
}

void Plugin::check(PJRT_Error *error) const {
  if (!error) return;
  Failure failure{"UNKNOWN", ""};
  ARGS(PJRT_Error_Message_Args, text);
  text.error = error;
  api->PJRT_Error_Message(&text);
  failure.message.assign(text.message, text.message_size);
  ARGS(PJRT_Error_GetCode_Args, code);
  code.error = error;
  PJRT_Error *nested = api->PJRT_Error_GetCode(&code);
  if (!nested) failure.code = nameOf(code.code);
  for (PJRT_Error *one : {nested, error}) {
    if (!one) continue;
    ARGS(PJRT_Error_Destroy_Args, destroy);
    destroy.error = one;
    api->PJRT_Error_Destroy(&destroy);
  }
  throw failure;
}

void Plugin::destroyEvent(PJRT_Event *event) const {
  if (!event) return;
  ARGS(PJRT_Event_Destroy_Args, args);
  args.event = event;
  api->PJRT_Event_Destroy(&args);
}

void Plugin::throwMissing(const char *name) const {
  throw Failure{"UNIMPLEMENTED", "the plugin lacks " + std::string(name) + ": it speaks PJRT " +
                                     std::to_string(major()) + "." + std::to_string(minor()) +
                                     "; use a newer version of it"};
}
