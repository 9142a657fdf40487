// PJRT's objects, destroyed with the last reference. Each keeps alive what it belongs to.
#pragma once

#include <memory>

#include "tasks.h"

enum class Kind { plugin, client, buffer, executable, topology };

struct Client {
  static constexpr Kind kind = Kind::client;
  std::shared_ptr<Plugin> plugin;
  PJRT_Client *client = nullptr;
  std::vector<PJRT_Device *> devices;
  // Transfers and executions start in the order of the JavaScript calls.
  Queue queue;

  ~Client() {
    if (!client) return;
    ARGS(PJRT_Client_Destroy_Args, args);
    args.client = client;
    drop([&] { CALL(*plugin, PJRT_Client_Destroy, args); });
  }

  // Destructors have nobody to tell about failures.
  template <class F>
  static void drop(F call) {
    try {
      call();
    } catch (const Failure &) {
    }
  }
};

struct Buffer {
  static constexpr Kind kind = Kind::buffer;
  std::shared_ptr<Client> client;
  PJRT_Buffer *buffer = nullptr;

  Buffer(std::shared_ptr<Client> owner, PJRT_Buffer *own) : client(std::move(owner)), buffer(own) {}
  Buffer(const Buffer &) = delete;
  ~Buffer() {
    ARGS(PJRT_Buffer_Destroy_Args, args);
    args.buffer = buffer;
    Client::drop([&] { CALL(*client->plugin, PJRT_Buffer_Destroy, args); });
  }

  bool isDeleted() const {
    ARGS(PJRT_Buffer_IsDeleted_Args, args);
    args.buffer = buffer;
    CALL(*client->plugin, PJRT_Buffer_IsDeleted, args);
    return args.is_deleted;
  }
};

struct Topology {
  static constexpr Kind kind = Kind::topology;
  std::shared_ptr<Plugin> plugin;
  PJRT_TopologyDescription *topology = nullptr;

  ~Topology() {
    if (!topology) return;
    ARGS(PJRT_TopologyDescription_Destroy_Args, args);
    args.topology = topology;
    Client::drop([&] { CALL(*plugin, PJRT_TopologyDescription_Destroy, args); });
  }
};

// Loaded for a client, or compiled ahead of time.
struct Executable {
  static constexpr Kind kind = Kind::executable;
  std::shared_ptr<Plugin> plugin;
  std::shared_ptr<Client> client;
  PJRT_LoadedExecutable *loaded = nullptr;
  PJRT_Executable *executable = nullptr;
  size_t numOutputs = 0;
  size_t numDevices = 0;

  ~Executable() {
    if (executable) {
      ARGS(PJRT_Executable_Destroy_Args, args);
      args.executable = executable;
      Client::drop([&] { CALL(*plugin, PJRT_Executable_Destroy, args); });
    }
    if (loaded) {
      ARGS(PJRT_LoadedExecutable_Destroy_Args, args);
      args.executable = loaded;
      Client::drop([&] { CALL(*plugin, PJRT_LoadedExecutable_Destroy, args); });
    }
  }

  // Completes an executable of which `loaded` or `executable` is set.
  void describe() {
    if (!executable) {
      ARGS(PJRT_LoadedExecutable_GetExecutable_Args, args);
      args.loaded_executable = loaded;
      CALL(*plugin, PJRT_LoadedExecutable_GetExecutable, args);
      executable = args.executable;
    }
    ARGS(PJRT_Executable_NumOutputs_Args, outputs);
    outputs.executable = executable;
    CALL(*plugin, PJRT_Executable_NumOutputs, outputs);
    numOutputs = outputs.num_outputs;
    numDevices = devices().size();
  }

  // The addressable devices that run it, in the order of its arguments and outputs.
  std::vector<PJRT_Device *> devices() const {
    if (!loaded) return {};
    ARGS(PJRT_LoadedExecutable_AddressableDevices_Args, args);
    args.executable = loaded;
    CALL(*plugin, PJRT_LoadedExecutable_AddressableDevices, args);
    return {args.addressable_devices, args.addressable_devices + args.num_addressable_devices};
  }
};
