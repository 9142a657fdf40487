// PJRT for Node-API: thin functions over externals. Classes, checks of arguments and names are in TypeScript (src/).
#include "values.h"

namespace {

// The arguments of a call from JavaScript.
struct Arguments {
  napi_env env;
  napi_value values[6];
  napi_value operator[](size_t i) const { return values[i]; }
};

// A function for JavaScript from one that may throw Failure.
template <napi_value (*function)(Arguments)>
napi_value guarded(napi_env env, napi_callback_info info) {
  Arguments arguments{env, {}};
  size_t count = sizeof arguments.values / sizeof *arguments.values;
  napi_get_cb_info(env, info, &count, arguments.values, nullptr, nullptr);
  try {
    return function(arguments);
  } catch (const Failure &failure) {
    Environment::of(env).raise(failure);
  } catch (const std::exception &error) {
    Environment::of(env).raise({"INTERNAL", error.what()});
  }
  return nullptr;
}

// ------------------------------------------------- plugin -------------------------------------------------

napi_value initialize(Arguments a) {
  bool isMainThread = true;
  napi_get_value_bool(a.env, a[1], &isMainThread);
  Environment::of(a.env).initialize(a[0], isMainThread);
  return nullptr;
}

napi_value exiting(Arguments a) {
  setExitCode((int)integerFrom(a.env, a[0]));
  return nullptr;
}

// (path) -> { handle, version: [major, minor], attributes }
napi_value loadPlugin(Arguments a) {
  const auto plugin = Plugin::load(textFrom(a.env, a[0]));
  const napi_value result = objectOf(a.env);
  const int version[] = {plugin->major(), plugin->minor()};
  setField(a.env, result, "version", arrayOf(a.env, version, 2, [&](int n) { return numberOf(a.env, n); }));
  napi_value attributes = objectOf(a.env);
  if (plugin->has(&PJRT_Api::PJRT_Plugin_Attributes)) {
    ARGS(PJRT_Plugin_Attributes_Args, args);
    CALL(*plugin, PJRT_Plugin_Attributes, args);
    attributes = recordOf(a.env, args.attributes, args.num_attributes);
  }
  setField(a.env, result, "attributes", attributes);
  setField(a.env, result, "handle", wrap(a.env, plugin));
  return result;
}

napi_value release(Arguments a) {
  handleOf(a.env, a[0]).object.reset();
  return nullptr;
}

// Releases on another thread, since destroying a client waits for its work.
napi_value releaseApart(Arguments a) {
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  auto object = std::move(handleOf(a.env, a[0]).object);
  handleOf(a.env, a[0]).object.reset();
  auto held = std::make_shared<std::shared_ptr<void>>(std::move(object));
  runApart(promise, [promise, held] {
    held->reset();
    promise->resolve();
  });
  return value;
}

// ------------------------------------------------- devices -------------------------------------------------

napi_value describeDevice(napi_env env, const Plugin &plugin, PJRT_DeviceDescription *description) {
  const napi_value result = objectOf(env);
  ARGS(PJRT_DeviceDescription_Id_Args, id);
  id.device_description = description;
  CALL(plugin, PJRT_DeviceDescription_Id, id);
  setField(env, result, "id", numberOf(env, id.id));
  ARGS(PJRT_DeviceDescription_ProcessIndex_Args, process);
  process.device_description = description;
  CALL(plugin, PJRT_DeviceDescription_ProcessIndex, process);
  setField(env, result, "processIndex", numberOf(env, process.process_index));
  ARGS(PJRT_DeviceDescription_Kind_Args, kind);
  kind.device_description = description;
  CALL(plugin, PJRT_DeviceDescription_Kind, kind);
  setField(env, result, "kind", stringOf(env, kind.device_kind, kind.device_kind_size));
  ARGS(PJRT_DeviceDescription_DebugString_Args, text);
  text.device_description = description;
  CALL(plugin, PJRT_DeviceDescription_DebugString, text);
  setField(env, result, "description", stringOf(env, text.debug_string, text.debug_string_size));
  ARGS(PJRT_DeviceDescription_Attributes_Args, attributes);
  attributes.device_description = description;
  CALL(plugin, PJRT_DeviceDescription_Attributes, attributes);
  setField(env, result, "attributes", recordOf(env, attributes.attributes, attributes.num_attributes));
  return result;
}

PJRT_DeviceDescription *descriptionOf(const Plugin &plugin, PJRT_Device *device) {
  ARGS(PJRT_Device_GetDescription_Args, args);
  args.device = device;
  CALL(plugin, PJRT_Device_GetDescription, args);
  return args.device_description;
}

int idOf(const Plugin &plugin, PJRT_Device *device) {
  ARGS(PJRT_DeviceDescription_Id_Args, args);
  args.device_description = descriptionOf(plugin, device);
  CALL(plugin, PJRT_DeviceDescription_Id, args);
  return args.id;
}

PJRT_Device *deviceAt(const Client &client, int64_t index) {
  if (index < 0 || (size_t)index >= client.devices.size()) throw Failure{"OUT_OF_RANGE", "no such device"};
  return client.devices[index];
}

// (client, index) -> the statistics that the device has
napi_value deviceMemoryStats(Arguments a) {
  const auto client = unwrap<Client>(a.env, a[0]);
  ARGS(PJRT_Device_MemoryStats_Args, args);
  args.device = deviceAt(*client, integerFrom(a.env, a[1]));
  CALL(*client->plugin, PJRT_Device_MemoryStats, args);
  const napi_value result = objectOf(a.env);
  setField(a.env, result, "bytesInUse", numberOf(a.env, args.bytes_in_use));
  const auto add = [&](const char *name, int64_t value, bool isSet) {
    if (isSet) setField(a.env, result, name, numberOf(a.env, value));
  };
  add("peakBytesInUse", args.peak_bytes_in_use, args.peak_bytes_in_use_is_set);
  add("numAllocations", args.num_allocs, args.num_allocs_is_set);
  add("largestAllocation", args.largest_alloc_size, args.largest_alloc_size_is_set);
  add("bytesLimit", args.bytes_limit, args.bytes_limit_is_set);
  add("bytesReserved", args.bytes_reserved, args.bytes_reserved_is_set);
  add("largestFreeBlock", args.largest_free_block_bytes, args.largest_free_block_bytes_is_set);
  add("poolBytes", args.pool_bytes, args.pool_bytes_is_set);
  return result;
}

// ------------------------------------------------- client -------------------------------------------------

napi_value describeClient(napi_env env, const std::shared_ptr<Client> &client) {
  const Plugin &plugin = *client->plugin;
  const napi_value result = objectOf(env);
  ARGS(PJRT_Client_PlatformName_Args, name);
  name.client = client->client;
  CALL(plugin, PJRT_Client_PlatformName, name);
  setField(env, result, "platformName", stringOf(env, name.platform_name, name.platform_name_size));
  ARGS(PJRT_Client_PlatformVersion_Args, version);
  version.client = client->client;
  CALL(plugin, PJRT_Client_PlatformVersion, version);
  setField(env, result, "platformVersion", stringOf(env, version.platform_version, version.platform_version_size));
  ARGS(PJRT_Client_ProcessIndex_Args, process);
  process.client = client->client;
  CALL(plugin, PJRT_Client_ProcessIndex, process);
  setField(env, result, "processIndex", numberOf(env, process.process_index));
  const auto describe = [&](PJRT_Device *device) {
    return describeDevice(env, plugin, descriptionOf(plugin, device));
  };
  setField(env, result, "devices", arrayOf(env, client->devices.data(), client->devices.size(), describe));
  setField(env, result, "handle", wrap(env, client));
  return result;
}

// (plugin, options) -> promise of { handle, platformName, platformVersion, processIndex, devices }
napi_value createClient(Arguments a) {
  const auto plugin = unwrap<Plugin>(a.env, a[0]);
  const auto options = std::make_shared<NamedValues>(a.env, a[1]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [plugin, options, promise] {
    const auto client = std::make_shared<Client>();
    client->plugin = plugin;
    ARGS(PJRT_Client_Create_Args, args);
    args.create_options = options->values.data();
    args.num_options = options->values.size();
    CALL(*plugin, PJRT_Client_Create, args);
    client->client = args.client;
    ARGS(PJRT_Client_AddressableDevices_Args, devices);
    devices.client = args.client;
    CALL(*plugin, PJRT_Client_AddressableDevices, devices);
    client->devices.assign(devices.addressable_devices,
                           devices.addressable_devices + devices.num_addressable_devices);
    promise->resolve([client](napi_env env) { return describeClient(env, client); });
  });
  return value;
}

// ----------------------------------------------- executables -----------------------------------------------

napi_value describeExecutable(napi_env env, const std::shared_ptr<Executable> &executable) {
  const Plugin &plugin = *executable->plugin;
  const napi_value result = objectOf(env);
  setField(env, result, "numOutputs", numberOf(env, executable->numOutputs));
  const auto devices = executable->devices();
  const auto id = [&](PJRT_Device *device) { return numberOf(env, idOf(plugin, device)); };
  setField(env, result, "deviceIds", arrayOf(env, devices.data(), devices.size(), id));
  ARGS(PJRT_Executable_Name_Args, name);
  name.executable = executable->executable;
  CALL(plugin, PJRT_Executable_Name, name);
  setField(env, result, "name", stringOf(env, name.executable_name, name.executable_name_size));
  setField(env, result, "handle", wrap(env, executable));
  return result;
}

// What compilation needs, copied from JavaScript.
struct Source {
  std::string program, format, options;

  Source(napi_env env, napi_value code, napi_value formatName, napi_value encodedOptions) {
    const Bytes bytes = memoryOf(env, code), encoded = memoryOf(env, encodedOptions);
    program.assign(bytes.data, bytes.size);
    format = textFrom(env, formatName);
    options.assign(encoded.data, encoded.size);
  }

  PJRT_Program view() {
    ARGS(PJRT_Program, own);
    own.code = &program[0];
    own.code_size = program.size();
    own.format = format.data();
    own.format_size = format.size();
    return own;
  }
};

// (client, code, format, options) -> promise of { handle, name, numOutputs, deviceIds }
napi_value compile(Arguments a) {
  const auto client = unwrap<Client>(a.env, a[0]);
  const auto source = std::make_shared<Source>(a.env, a[1], a[2], a[3]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [client, source, promise] {
    const auto executable = std::make_shared<Executable>();
    executable->plugin = client->plugin;
    executable->client = client;
    const PJRT_Program program = source->view();
    ARGS(PJRT_Client_Compile_Args, args);
    args.client = client->client;
    args.program = &program;
    args.compile_options = source->options.data();
    args.compile_options_size = source->options.size();
    CALL(*client->plugin, PJRT_Client_Compile, args);
    executable->loaded = args.executable;
    executable->describe();
    promise->resolve([executable](napi_env env) { return describeExecutable(env, executable); });
  });
  return value;
}

// (topology, code, format, options) -> promise of { handle, name, numOutputs, deviceIds: [] }
napi_value compileAhead(Arguments a) {
  const auto topology = unwrap<Topology>(a.env, a[0]);
  const auto source = std::make_shared<Source>(a.env, a[1], a[2], a[3]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [topology, source, promise] {
    const auto executable = std::make_shared<Executable>();
    executable->plugin = topology->plugin;
    const PJRT_Program program = source->view();
    ARGS(PJRT_Compile_Args, args);
    args.topology = topology->topology;
    args.program = &program;
    args.compile_options = source->options.data();
    args.compile_options_size = source->options.size();
    CALL(*topology->plugin, PJRT_Compile, args);
    executable->executable = args.executable;
    executable->describe();
    promise->resolve([executable](napi_env env) { return describeExecutable(env, executable); });
  });
  return value;
}

// (client, bytes) -> promise of { handle, name, numOutputs, deviceIds }
napi_value deserialize(Arguments a) {
  const auto client = unwrap<Client>(a.env, a[0]);
  const Bytes memory = memoryOf(a.env, a[1]);
  napi_value value;
  auto promise = Promise::create(a.env, &value, {a[1]});
  runApart(promise, [client, memory, promise] {
    const auto executable = std::make_shared<Executable>();
    executable->plugin = client->plugin;
    executable->client = client;
    ARGS(PJRT_Executable_DeserializeAndLoad_Args, args);
    args.client = client->client;
    args.serialized_executable = memory.data;
    args.serialized_executable_size = memory.size;
    CALL(*client->plugin, PJRT_Executable_DeserializeAndLoad, args);
    executable->loaded = args.loaded_executable;
    executable->describe();
    promise->resolve([executable](napi_env env) { return describeExecutable(env, executable); });
  });
  return value;
}

// (executable) -> promise of bytes
napi_value serialize(Arguments a) {
  const auto executable = unwrap<Executable>(a.env, a[0]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [executable, promise] {
    ARGS(PJRT_Executable_Serialize_Args, args);
    args.executable = executable->executable;
    CALL(*executable->plugin, PJRT_Executable_Serialize, args);
    std::string bytes(args.serialized_bytes, args.serialized_bytes_size);
    args.serialized_executable_deleter(args.serialized_executable);
    promise->resolve([bytes](napi_env env) { return bytesOf(env, bytes); });
  });
  return value;
}

// (executable) -> promise of { format, code }
napi_value optimizedProgram(Arguments a) {
  const auto executable = unwrap<Executable>(a.env, a[0]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [executable, promise] {
    ARGS(PJRT_Program, program);
    ARGS(PJRT_Executable_OptimizedProgram_Args, args);
    args.executable = executable->executable;
    args.program = &program;
    // The first call tells the size.
    CALL(*executable->plugin, PJRT_Executable_OptimizedProgram, args);
    std::string code(program.code_size, '\0');
    program.code = &code[0];
    CALL(*executable->plugin, PJRT_Executable_OptimizedProgram, args);
    const std::string format(program.format, program.format_size);
    promise->resolve([code, format](napi_env env) {
      const napi_value result = objectOf(env);
      setField(env, result, "format", stringOf(env, format.data(), format.size()));
      setField(env, result, "code", bytesOf(env, code));
      return result;
    });
  });
  return value;
}

// (executable) -> promise of a record of numbers
napi_value costAnalysis(Arguments a) {
  const auto executable = unwrap<Executable>(a.env, a[0]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [executable, promise] {
    ARGS(PJRT_Executable_GetCostAnalysis_Args, args);
    args.executable = executable->executable;
    CALL(*executable->plugin, PJRT_Executable_GetCostAnalysis, args);
    // The values belong to the executable.
    promise->resolve([executable, args](napi_env env) {
      return recordOf(env, args.properties, args.num_properties);
    });
  });
  return value;
}

// (executable) -> byte counts
napi_value compiledMemoryStats(Arguments a) {
  const auto executable = unwrap<Executable>(a.env, a[0]);
  ARGS(PJRT_Executable_GetCompiledMemoryStats_Args, args);
  args.executable = executable->executable;
  CALL(*executable->plugin, PJRT_Executable_GetCompiledMemoryStats, args);
  const napi_value result = objectOf(a.env);
  const auto add = [&](const char *name, int64_t bytes) { setField(a.env, result, name, numberOf(a.env, bytes)); };
  add("arguments", args.argument_size_in_bytes);
  add("outputs", args.output_size_in_bytes);
  add("aliased", args.alias_size_in_bytes);
  add("temporary", args.temp_size_in_bytes);
  add("generatedCode", args.generated_code_size_in_bytes);
  add("peak", args.peak_memory_in_bytes);
  return result;
}

// ------------------------------------------------- topology ------------------------------------------------

// (plugin, name, options) -> promise of { handle, platformName, platformVersion, devices }
napi_value createTopology(Arguments a) {
  const auto plugin = unwrap<Plugin>(a.env, a[0]);
  const auto name = std::make_shared<std::string>(textFrom(a.env, a[1]));
  const auto options = std::make_shared<NamedValues>(a.env, a[2]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  runApart(promise, [plugin, name, options, promise] {
    const auto topology = std::make_shared<Topology>();
    topology->plugin = plugin;
    ARGS(PJRT_TopologyDescription_Create_Args, args);
    args.topology_name = name->data();
    args.topology_name_size = name->size();
    args.create_options = options->values.data();
    args.num_options = options->values.size();
    CALL(*plugin, PJRT_TopologyDescription_Create, args);
    topology->topology = args.topology;
    promise->resolve([topology](napi_env env) {
      const Plugin &plugin = *topology->plugin;
      const napi_value result = objectOf(env);
      ARGS(PJRT_TopologyDescription_PlatformName_Args, platform);
      platform.topology = topology->topology;
      CALL(plugin, PJRT_TopologyDescription_PlatformName, platform);
      setField(env, result, "platformName", stringOf(env, platform.platform_name, platform.platform_name_size));
      ARGS(PJRT_TopologyDescription_PlatformVersion_Args, version);
      version.topology = topology->topology;
      CALL(plugin, PJRT_TopologyDescription_PlatformVersion, version);
      setField(env, result, "platformVersion",
               stringOf(env, version.platform_version, version.platform_version_size));
      ARGS(PJRT_TopologyDescription_GetDeviceDescriptions_Args, devices);
      devices.topology = topology->topology;
      CALL(plugin, PJRT_TopologyDescription_GetDeviceDescriptions, devices);
      const auto describe = [&](PJRT_DeviceDescription *one) { return describeDevice(env, plugin, one); };
      setField(env, result, "devices", arrayOf(env, devices.descriptions, devices.num_descriptions, describe));
      setField(env, result, "handle", wrap(env, topology));
      return result;
    });
  });
  return value;
}

// ------------------------------------------------- buffers -------------------------------------------------

// Bytes of an element of each type with whole bytes; 0 for others.
size_t widthOf(int64_t type) {
  switch (type) {
    case PJRT_Buffer_Type_PRED:
    case PJRT_Buffer_Type_S8:
    case PJRT_Buffer_Type_U8: return 1;
    case PJRT_Buffer_Type_S16:
    case PJRT_Buffer_Type_U16:
    case PJRT_Buffer_Type_F16:
    case PJRT_Buffer_Type_BF16: return 2;
    case PJRT_Buffer_Type_S32:
    case PJRT_Buffer_Type_U32:
    case PJRT_Buffer_Type_F32: return 4;
    case PJRT_Buffer_Type_S64:
    case PJRT_Buffer_Type_U64:
    case PJRT_Buffer_Type_F64: return 8;
    default: return 0;
  }
}

// (client, device index, typed array, type, shape) -> promise of a buffer, resolved when the array may be changed
napi_value put(Arguments a) {
  const auto client = unwrap<Client>(a.env, a[0]);
  PJRT_Device *device = deviceAt(*client, integerFrom(a.env, a[1]));
  const Bytes memory = memoryOf(a.env, a[2]);
  const int64_t type = integerFrom(a.env, a[3]);
  const auto shape = integersFrom(a.env, a[4]);
  size_t size = widthOf(type);
  for (const int64_t length : shape) size *= length;
  if (size != memory.size) throw Failure{"INVALID_ARGUMENT", "the array's size is not that of its shape"};
  napi_value value;
  auto promise = Promise::create(a.env, &value, {a[2]});
  client->queue.add([client, device, memory, type, shape, promise] {
    attempt(*promise, [&] {
      ARGS(PJRT_Client_BufferFromHostBuffer_Args, args);
      args.client = client->client;
      args.data = memory.data;
      args.type = (PJRT_Buffer_Type)type;
      args.dims = shape.data();
      args.num_dims = shape.size();
      args.host_buffer_semantics = PJRT_HostBufferSemantics_kImmutableUntilTransferCompletes;
      args.device = device;
      CALL(*client->plugin, PJRT_Client_BufferFromHostBuffer, args);
      const auto buffer = std::make_shared<Buffer>(client, args.buffer);
      settleWith(
          client->plugin, args.done_with_host_buffer,
          [promise, buffer] { promise->resolve([buffer](napi_env env) { return wrap(env, buffer); }); },
          [promise](Failure failure) { promise->reject(std::move(failure)); });
    });
  });
  return value;
}

// (buffer, typed array) -> promise, resolved when the array has the values in row-major order
napi_value read(Arguments a) {
  const auto buffer = unwrap<Buffer>(a.env, a[0]);
  const Bytes memory = memoryOf(a.env, a[1]);
  napi_value value;
  auto promise = Promise::create(a.env, &value, {a[1]});
  buffer->client->queue.add([buffer, memory, promise] {
    attempt(*promise, [&] {
      const Plugin &plugin = *buffer->client->plugin;
      if (buffer->isDeleted()) throw Failure{"FAILED_PRECONDITION", "the buffer was donated to an execution"};
      ARGS(PJRT_Buffer_Dimensions_Args, shape);
      shape.buffer = buffer->buffer;
      CALL(plugin, PJRT_Buffer_Dimensions, shape);
      // Devices may store other orders.
      std::vector<int64_t> minorToMajor;
      for (size_t i = shape.num_dims; i > 0; i--) minorToMajor.push_back(i - 1);
      ARGS(PJRT_Buffer_MemoryLayout, layout);
      layout.type = PJRT_Buffer_MemoryLayout_Type_Tiled;
      layout.tiled.struct_size = PJRT_Buffer_MemoryLayout_Tiled_STRUCT_SIZE;
      layout.tiled.minor_to_major = minorToMajor.data();
      layout.tiled.minor_to_major_size = minorToMajor.size();
      ARGS(PJRT_Buffer_ToHostBuffer_Args, args);
      args.src = buffer->buffer;
      args.host_layout = &layout;
      args.dst = memory.data;
      args.dst_size = memory.size;
      // Without elements there is nothing to copy, and no address: a null one would ask for the size.
      if (memory.size == 0) return promise->resolve();
      CALL(plugin, PJRT_Buffer_ToHostBuffer, args);
      settleWith(
          buffer->client->plugin, args.event, [promise, buffer] { promise->resolve(); },
          [promise](Failure failure) { promise->reject(std::move(failure)); });
    });
  });
  return value;
}

// (buffer) -> promise, resolved when the values are computed
napi_value ready(Arguments a) {
  const auto buffer = unwrap<Buffer>(a.env, a[0]);
  ARGS(PJRT_Buffer_ReadyEvent_Args, args);
  args.buffer = buffer->buffer;
  CALL(*buffer->client->plugin, PJRT_Buffer_ReadyEvent, args);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  settleWith(
      buffer->client->plugin, args.event, [promise, buffer] { promise->resolve(); },
      [promise](Failure failure) { promise->reject(std::move(failure)); });
  return value;
}

// (buffer, device index) -> promise of a buffer
napi_value copyToDevice(Arguments a) {
  const auto buffer = unwrap<Buffer>(a.env, a[0]);
  PJRT_Device *device = deviceAt(*buffer->client, integerFrom(a.env, a[1]));
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  buffer->client->queue.add([buffer, device, promise] {
    attempt(*promise, [&] {
      ARGS(PJRT_Buffer_CopyToDevice_Args, args);
      args.buffer = buffer->buffer;
      args.dst_device = device;
      CALL(*buffer->client->plugin, PJRT_Buffer_CopyToDevice, args);
      const auto copy = std::make_shared<Buffer>(buffer->client, args.dst_buffer);
      promise->resolve([copy](napi_env env) { return wrap(env, copy); });
    });
  });
  return value;
}

// (buffer) -> { type, shape, deviceId }
napi_value describeBuffer(Arguments a) {
  const auto buffer = unwrap<Buffer>(a.env, a[0]);
  const Plugin &plugin = *buffer->client->plugin;
  const napi_value result = objectOf(a.env);
  ARGS(PJRT_Buffer_ElementType_Args, type);
  type.buffer = buffer->buffer;
  CALL(plugin, PJRT_Buffer_ElementType, type);
  setField(a.env, result, "type", numberOf(a.env, type.type));
  ARGS(PJRT_Buffer_Dimensions_Args, shape);
  shape.buffer = buffer->buffer;
  CALL(plugin, PJRT_Buffer_Dimensions, shape);
  const auto convert = [&](int64_t length) { return numberOf(a.env, length); };
  setField(a.env, result, "shape", arrayOf(a.env, shape.dims, shape.num_dims, convert));
  ARGS(PJRT_Buffer_Device_Args, device);
  device.buffer = buffer->buffer;
  CALL(plugin, PJRT_Buffer_Device, device);
  setField(a.env, result, "deviceId", numberOf(a.env, idOf(plugin, device.device)));
  return result;
}

// (buffer) -> whether an execution has taken its memory
napi_value isDonated(Arguments a) { return booleanOf(a.env, unwrap<Buffer>(a.env, a[0])->isDeleted()); }

// ------------------------------------------------ execution ------------------------------------------------

using BufferLists = std::vector<std::vector<std::shared_ptr<Buffer>>>;

BufferLists start(const Executable &executable, const BufferLists &arguments, const std::vector<int64_t> &kept) {
  const size_t numDevices = arguments.size(), numArguments = arguments.empty() ? 0 : arguments[0].size();
  std::vector<std::vector<PJRT_Buffer *>> inputs(numDevices), outputs(numDevices);
  std::vector<PJRT_Buffer *const *> inputLists;
  std::vector<PJRT_Buffer **> outputLists;
  for (size_t d = 0; d < numDevices; d++) {
    for (size_t i = 0; i < numArguments; i++) {
      if (arguments[d][i]->isDeleted()) {
        throw Failure{"FAILED_PRECONDITION",
                      "argument " + std::to_string(i) + " was donated to an earlier execution"};
      }
      inputs[d].push_back(arguments[d][i]->buffer);
    }
    outputs[d].resize(executable.numOutputs);
    inputLists.push_back(inputs[d].data());
    outputLists.push_back(outputs[d].data());
  }
  ARGS(PJRT_ExecuteOptions, options);
  options.non_donatable_input_indices = kept.data();
  options.num_non_donatable_input_indices = kept.size();
  ARGS(PJRT_LoadedExecutable_Execute_Args, args);
  args.executable = executable.loaded;
  args.options = &options;
  args.argument_lists = inputLists.data();
  args.num_devices = numDevices;
  args.num_args = numArguments;
  args.output_lists = outputLists.data();
  CALL(*executable.plugin, PJRT_LoadedExecutable_Execute, args);
  BufferLists results;
  for (const auto &list : outputs) {
    results.emplace_back();
    for (PJRT_Buffer *one : list) results.back().push_back(std::make_shared<Buffer>(executable.client, one));
  }
  return results;
}

// (executable, buffers of each device, indices of arguments not to donate) -> promise of buffers of each device,
// resolved when the execution has been started
napi_value execute(Arguments a) {
  const auto executable = unwrap<Executable>(a.env, a[0]);
  BufferLists arguments;
  forEach(a.env, a[1], [&](napi_value list) {
    arguments.emplace_back();
    forEach(a.env, list, [&](napi_value one) { arguments.back().push_back(unwrap<Buffer>(a.env, one)); });
    if (arguments.back().size() != arguments[0].size()) {
      throw Failure{"INVALID_ARGUMENT", "the devices have different numbers of arguments"};
    }
  });
  if (!executable->loaded || arguments.size() != executable->numDevices) {
    throw Failure{"INVALID_ARGUMENT", "got arguments for " + std::to_string(arguments.size()) +
                                          " devices, expected " + std::to_string(executable->numDevices)};
  }
  const auto kept = integersFrom(a.env, a[2]);
  napi_value value;
  auto promise = Promise::create(a.env, &value);
  executable->client->queue.add([executable, arguments = std::move(arguments), kept, promise] {
    attempt(*promise, [&] {
      const auto results = start(*executable, arguments, kept);
      promise->resolve([results](napi_env env) {
        const auto wrapOne = [&](const std::shared_ptr<Buffer> &one) { return wrap(env, one); };
        return arrayOf(env, results.data(), results.size(), [&](const std::vector<std::shared_ptr<Buffer>> &list) {
          return arrayOf(env, list.data(), list.size(), wrapOne);
        });
      });
    });
  });
  return value;
}

napi_value initModule(napi_env env, napi_value exports) {
  Environment::create(env);
  const auto add = [&](const char *name, napi_callback callback) {
    napi_value function;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
    napi_set_named_property(env, exports, name, function);
  };
#define EXPORT(name) add(#name, guarded<name>)
  EXPORT(initialize);
  EXPORT(exiting);
  EXPORT(loadPlugin);
  EXPORT(release);
  EXPORT(releaseApart);
  EXPORT(deviceMemoryStats);
  EXPORT(createClient);
  EXPORT(compile);
  EXPORT(compileAhead);
  EXPORT(deserialize);
  EXPORT(serialize);
  EXPORT(optimizedProgram);
  EXPORT(costAnalysis);
  EXPORT(compiledMemoryStats);
  EXPORT(createTopology);
  EXPORT(put);
  EXPORT(read);
  EXPORT(ready);
  EXPORT(copyToDevice);
  EXPORT(describeBuffer);
  EXPORT(isDonated);
  EXPORT(execute);
#undef EXPORT
  return exports;
}

}  // namespace

NAPI_MODULE(meap_pjrt, initModule)
