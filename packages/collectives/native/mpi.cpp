// MPI collectives for Node-API. One thread of its own makes every MPI call, in the order in which JavaScript asked, so
// that the event loop never waits, communication goes on while kernels compute, and the MPI library needs no locks.
#include <mpi.h>
#include <node_api.h>
#include <sched.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace {

using Clock = std::chrono::steady_clock;

enum Kind { allReduce, reduceScatter, allGather, broadcast, barrier, numKinds };

struct Operation {
  Kind kind = barrier;
  // What is sent, and where the result goes; the same memory for allReduce and broadcast, a part of it in allGather.
  const void *send = nullptr;
  void *receive = nullptr;
  int64_t count = 0;  // elements: of the smaller array where two differ
  napi_typedarray_type type = napi_uint8_array;
  int root = 0;
  double timeoutSeconds = 0;
  std::string error;
  bool timedOut = false;
  // Of the JavaScript side.
  napi_deferred deferred = nullptr;
  napi_ref arrays[2] = {};
};

// Never freed: a process may exit while the thread waits for others.
std::mutex &mutex = *new std::mutex;
std::condition_variable &changed = *new std::condition_variable;
std::deque<std::unique_ptr<Operation>> &queue = *new std::deque<std::unique_ptr<Operation>>;
std::string &startError = *new std::string;
bool running = false, closing = false, ended = false, broken = false;
int rank = 0, size = 1;
napi_threadsafe_function settled;
MPI_Op sumOfBfloat16;

// bfloat16 numbers are added in float32 and rounded to nearest even.
void addBfloat16(void *in, void *inout, int *n, MPI_Datatype *) {
  const uint16_t *a = (const uint16_t *)in;
  uint16_t *b = (uint16_t *)inout;
  for (int i = 0; i < *n; i++) {
    const uint32_t bits[2] = {(uint32_t)a[i] << 16, (uint32_t)b[i] << 16};
    float x[2];
    memcpy(x, bits, sizeof x);
    const float y = x[0] + x[1];
    uint32_t sum;
    memcpy(&sum, &y, sizeof sum);
    b[i] = y == y ? (uint16_t)((sum + 0x7fff + ((sum >> 16) & 1)) >> 16) : 0x7fc0;
  }
}

std::string messageOf(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, length);
}

int begin(const Operation &op, MPI_Request *request) {
  const bool isHalf = op.type == napi_uint16_array;
  const MPI_Datatype type = op.type == napi_float32_array   ? MPI_FLOAT
                            : op.type == napi_float64_array ? MPI_DOUBLE
                            : isHalf                        ? MPI_UINT16_T
                                                            : MPI_BYTE;
  const MPI_Op sum = isHalf ? sumOfBfloat16 : MPI_SUM;
  const int n = (int)op.count;
  switch (op.kind) {
    case allReduce: return MPI_Iallreduce(MPI_IN_PLACE, op.receive, n, type, sum, MPI_COMM_WORLD, request);
    case reduceScatter:
      return MPI_Ireduce_scatter_block(op.send, op.receive, n, type, sum, MPI_COMM_WORLD, request);
    case allGather: {
      // MPI forbids memory that overlaps, but for what lies in its place already.
      int width;
      MPI_Type_size(type, &width);
      const bool isInPlace = op.send == (char *)op.receive + (size_t)rank * op.count * width;
      const void *send = isInPlace ? MPI_IN_PLACE : op.send;
      return MPI_Iallgather(send, n, type, op.receive, n, type, MPI_COMM_WORLD, request);
    }
    case broadcast: return MPI_Ibcast(op.receive, n, type, op.root, MPI_COMM_WORLD, request);
    default: return MPI_Ibarrier(MPI_COMM_WORLD, request);
  }
}

// Tests instead of waiting, so that a rank which is gone is noticed after the timeout: MPI itself waits for ever.
void execute(Operation &op) {
  MPI_Request request;
  int code = begin(op, &request);
  const auto started = Clock::now();
  for (int done = 0; code == MPI_SUCCESS;) {
    code = MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS || done) break;
    const double seconds = std::chrono::duration<double>(Clock::now() - started).count();
    if (seconds > op.timeoutSeconds) {
      op.timedOut = true;
      return;
    }
    // The processor belongs to those who compute, of which there is one a core: a thread that only yields takes half.
    if (seconds < 50e-6) sched_yield();
    else usleep(50);
  }
  if (code != MPI_SUCCESS) op.error = messageOf(code);
}

void settle(napi_env env, napi_value, void *, void *data) {
  std::unique_ptr<Operation> op((Operation *)data);
  if (!env) return;
  for (napi_ref array : op->arrays) {
    if (array) napi_delete_reference(env, array);
  }
  napi_value value, text, code;
  if (op->error.empty() && !op->timedOut) {
    napi_get_undefined(env, &value);
    napi_resolve_deferred(env, op->deferred, value);
    return;
  }
  napi_create_string_utf8(env, op->error.c_str(), NAPI_AUTO_LENGTH, &text);
  napi_create_string_utf8(env, op->timedOut ? "TIMEOUT" : "MPI", NAPI_AUTO_LENGTH, &code);
  napi_create_error(env, code, text, &value);
  napi_reject_deferred(env, op->deferred, value);
}

void work() {
  int provided, code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided);
  if (code == MPI_SUCCESS) {
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    MPI_Op_create(addBfloat16, 1, &sumOfBfloat16);
  }
  std::unique_lock<std::mutex> lock(mutex);
  if (code != MPI_SUCCESS) startError = "MPI_Init_thread failed";
  running = true;
  changed.notify_all();
  while (!startError.size()) {
    changed.wait(lock, [] { return closing || !queue.empty(); });
    if (queue.empty()) break;
    std::unique_ptr<Operation> op = std::move(queue.front());
    queue.pop_front();
    lock.unlock();
    // After a failure ranks no longer agree on what comes next.
    if (broken) op->error = "an earlier operation failed";
    else execute(*op);
    lock.lock();
    if (op->timedOut || !op->error.empty()) broken = true;
    // JavaScript owns it from here on.
    napi_call_threadsafe_function(settled, op.release(), napi_tsfn_blocking);
  }
  lock.unlock();
  if (startError.empty() && !broken) {
    MPI_Op_free(&sumOfBfloat16);
    MPI_Finalize();
  }
  napi_release_threadsafe_function(settled, napi_tsfn_release);
  lock.lock();
  ended = true;
  changed.notify_all();
}

napi_value throwError(napi_env env, const std::string &message) {
  napi_throw_error(env, nullptr, message.c_str());
  return nullptr;
}

// start(): [rank, size, library]
napi_value start(napi_env env, napi_callback_info) {
  if (running) return throwError(env, "MPI is started already");
  napi_value name;
  napi_create_string_utf8(env, "mpi", NAPI_AUTO_LENGTH, &name);
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settle, &settled);
  // An idle connection does not keep the process; outstanding operations do, through hold().
  napi_unref_threadsafe_function(env, settled);
  std::thread(work).detach();
  std::unique_lock<std::mutex> lock(mutex);
  changed.wait(lock, [] { return running; });
  if (!startError.empty()) {
    changed.wait(lock, [] { return ended; });
    return throwError(env, startError);
  }
  char library[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(library, &length);
  napi_value result, values[3];
  napi_create_int32(env, rank, &values[0]);
  napi_create_int32(env, size, &values[1]);
  napi_create_string_utf8(env, library, (size_t)length, &values[2]);
  napi_create_array_with_length(env, 3, &result);
  for (uint32_t i = 0; i < 3; i++) napi_set_element(env, result, i, values[i]);
  return result;
}

// submit(kind, root, timeoutSeconds, send, receive): a promise. The caller has checked types and lengths.
napi_value submit(napi_env env, napi_callback_info info) {
  napi_value in[5];
  size_t count = 5;
  napi_get_cb_info(env, info, &count, in, nullptr, nullptr);
  auto op = std::make_unique<Operation>();
  int32_t kind = -1;
  napi_get_value_int32(env, in[0], &kind);
  napi_get_value_int32(env, in[1], &op->root);
  napi_get_value_double(env, in[2], &op->timeoutSeconds);
  if (!running || closing) return throwError(env, "MPI is not running");
  if (kind < 0 || kind >= numKinds || op->root < 0 || op->root >= size) return throwError(env, "no such operation");
  op->kind = (Kind)kind;
  void *data[2] = {};
  size_t lengths[2] = {};
  for (int i = 0; i < 2 && op->kind != barrier; i++) {
    napi_typedarray_type type;
    if (napi_get_typedarray_info(env, in[3 + i], &type, &lengths[i], &data[i], nullptr, nullptr) != napi_ok) {
      return throwError(env, "expected typed arrays");
    }
    if (i == 1 && type != op->type) return throwError(env, "expected arrays of one type");
    op->type = type;
    napi_create_reference(env, in[3 + i], 1, &op->arrays[i]);
  }
  op->send = data[0];
  op->receive = data[1];
  op->count = (int64_t)(lengths[0] < lengths[1] ? lengths[0] : lengths[1]);
  const size_t larger = lengths[0] > lengths[1] ? lengths[0] : lengths[1];
  const bool differ = op->kind == reduceScatter || op->kind == allGather;
  if (larger != (size_t)op->count * (differ ? (size_t)size : 1) || larger > INT32_MAX) {
    return throwError(env, "lengths do not fit");
  }
  napi_value promise;
  napi_create_promise(env, &op->deferred, &promise);
  {
    std::lock_guard<std::mutex> lock(mutex);
    queue.push_back(std::move(op));
  }
  changed.notify_all();
  return promise;
}

// stop(): ends MPI after what was submitted.
napi_value stop(napi_env, napi_callback_info) {
  std::unique_lock<std::mutex> lock(mutex);
  if (!running || closing) return nullptr;
  closing = true;
  changed.notify_all();
  changed.wait(lock, [] { return ended; });
  return nullptr;
}

// hold(on): whether an operation is outstanding, so that the process stays for its end.
napi_value hold(napi_env env, napi_callback_info info) {
  napi_value in[1];
  size_t count = 1;
  bool on = false;
  napi_get_cb_info(env, info, &count, in, nullptr, nullptr);
  napi_get_value_bool(env, in[0], &on);
  if (on) napi_ref_threadsafe_function(env, settled);
  else napi_unref_threadsafe_function(env, settled);
  return nullptr;
}

napi_value initialise(napi_env env, napi_value exports) {
  const std::pair<const char *, napi_callback> functions[] = {
      {"start", start}, {"submit", submit}, {"stop", stop}, {"hold", hold}};
  for (const auto &[name, function] : functions) {
    napi_value value;
    napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value);
    napi_set_named_property(env, exports, name, value);
  }
  return exports;
}

}  // namespace

NAPI_MODULE(meap_mpi, initialise)
