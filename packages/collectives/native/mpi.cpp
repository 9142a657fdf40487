// MPI collectives for Node-API. One thread makes every MPI call, in the order of the JavaScript calls: the event loop
// never waits, communication continues while kernels compute, and the MPI library needs no thread support.
#include <mpi.h>
#include <node_api.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
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
  // Source and destination: the same memory for allReduce and broadcast; in allGather, send may be a part of receive.
  const void *send = nullptr;
  void *receive = nullptr;
  int64_t count = 0;  // elements of the smaller array
  napi_typedarray_type type = napi_uint8_array;
  int root = 0;
  double timeoutSeconds = 0;
  std::string error;
  bool timedOut = false;
  Clock::time_point started;
  // Used on the JavaScript thread.
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

MPI_Datatype datatypeOf(const Operation &op) {
  switch (op.type) {
    case napi_float32_array: return MPI_FLOAT;
    case napi_float64_array: return MPI_DOUBLE;
    case napi_uint16_array: return MPI_UINT16_T;
    default: return MPI_BYTE;
  }
}

size_t widthOf(const Operation &op) {
  int width;
  MPI_Type_size(datatypeOf(op), &width);
  return (size_t)width;
}

// Polls instead of waiting, to end after the timeout: MPI itself waits forever for a rank that is gone.
int await(Operation &op, MPI_Request *request) {
  for (int done = 0;;) {
    const int code = MPI_Test(request, &done, MPI_STATUS_IGNORE);
    if (code != MPI_SUCCESS || done) return code;
    const double seconds = std::chrono::duration<double>(Clock::now() - op.started).count();
    if (seconds > op.timeoutSeconds) {
      op.timedOut = true;
      return MPI_SUCCESS;
    }
    // Each core has a computing thread: a thread that only yields would take half of its time.
    if (seconds < 50e-6) sched_yield();
    else usleep(50);
  }
}

void add(const Operation &op, const char *in, char *inout, int64_t n) {
  if (op.type == napi_float32_array) {
    for (int64_t i = 0; i < n; i++) ((float *)inout)[i] += ((const float *)in)[i];
  } else if (op.type == napi_float64_array) {
    for (int64_t i = 0; i < n; i++) ((double *)inout)[i] += ((const double *)in)[i];
  } else {
    int count = (int)n;
    addBfloat16((void *)in, inout, &count, nullptr);
  }
}

// Large arrays are split into one part per rank. Every rank sends each other rank the data it needs: (N - 1)/N of the array
// for the sum of its part, and as much again to gather all parts, which is the minimum (Patarasuk & Yuan 2009). The
// non-blocking sums of MPI libraries send up to twice as much, or let one rank add everything.
int64_t partStart(int64_t n, int r) {
  const int64_t width = (n + size - 1) / size;
  return std::min(n, r * width);
}

// Elements of a message. Up to `window` messages are in transit while one is added.
constexpr int64_t segment = 1 << 18;
constexpr int window = 4;

// Exchanges parts: sends every rank its part of `values`, or with `sendsOwn` this rank's part. `place` returns where to
// receive a piece, `arrived` is called when it is there. At any time, all ranks exchange with the partner at one distance.
template <class Place, class Arrived>
int trade(Operation &op, const char *values, int64_t n, bool sendsOwn, Place place, Arrived arrived) {
  const MPI_Datatype type = datatypeOf(op);
  const size_t width = widthOf(op);
  const int64_t segments = (partStart(n, 1) + segment - 1) / segment, total = segments * (size - 1);
  MPI_Request sends[window], receives[window];
  const auto distance = [&](int64_t j) { return 1 + (int)(j / segments); };
  // Returns the length of message j within a part, and its start in `at`.
  const auto piece = [&](int64_t j, int part, int64_t &at) {
    at = std::min(partStart(n, part) + j % segments * segment, partStart(n, part + 1));
    return (int)std::min(segment, partStart(n, part + 1) - at);
  };
  int code = MPI_SUCCESS;
  for (int64_t j = 0; j < total + window; j++) {
    const int slot = (int)(j % window);
    int64_t at;
    if (j >= window && j - window < total) {
      const int from = (rank - distance(j - window) + size) % size;
      if ((code = await(op, &receives[slot])) != MPI_SUCCESS || op.timedOut) return code;
      const int count = piece(j - window, sendsOwn ? from : rank, at);
      arrived(slot, at, count);
      if ((code = await(op, &sends[slot])) != MPI_SUCCESS || op.timedOut) return code;
    }
    if (j >= total) continue;
    const int to = (rank + distance(j)) % size, from = (rank - distance(j) + size) % size;
    int count = piece(j, sendsOwn ? from : rank, at);
    code = MPI_Irecv(place(slot, at), count, type, from, 0, MPI_COMM_WORLD, &receives[slot]);
    if (code != MPI_SUCCESS) return code;
    count = piece(j, sendsOwn ? rank : to, at);
    code = MPI_Isend(values + (size_t)at * width, count, type, to, 0, MPI_COMM_WORLD, &sends[slot]);
    if (code != MPI_SUCCESS) return code;
  }
  return code;
}

// Computes this rank's part of the sum, always in the same order: its own values, then those of the ranks before it.
int sumOwnPart(Operation &op, const char *values, int64_t n, char *sum) {
  const size_t width = widthOf(op);
  const int64_t first = partStart(n, rank);
  const char *own = values + (size_t)first * width;
  if (own != sum) memcpy(sum, own, (size_t)(partStart(n, rank + 1) - first) * width);
  // Never freed: after a timeout MPI may still write to it.
  static char *buffer = (char *)malloc(window * segment * sizeof(double));
  if (!buffer) return MPI_ERR_NO_MEM;
  const auto place = [&](int slot, int64_t) { return buffer + (size_t)slot * segment * width; };
  return trade(op, values, n, false, place, [&](int slot, int64_t at, int count) {
    add(op, place(slot, at), sum + (size_t)(at - first) * width, count);
  });
}

// Gathers all parts on all ranks; each rank already has its own part in place.
int gatherParts(Operation &op, char *values, int64_t n) {
  const size_t width = widthOf(op);
  const auto place = [&](int, int64_t at) { return values + (size_t)at * width; };
  return trade(op, values, n, true, place, [](int, int64_t, int) {});
}

// Smaller sums use MPI, which keeps the number of messages low.
constexpr int64_t largeBytes = 1 << 16;

int perform(Operation &op) {
  const size_t width = widthOf(op);
  const int n = (int)op.count;
  MPI_Request request;
  int code;
  switch (op.kind) {
    case allReduce:
      if (size > 1 && op.count * (int64_t)width >= largeBytes) {
        char *values = (char *)op.receive;
        code = sumOwnPart(op, values, op.count, values + (size_t)partStart(op.count, rank) * width);
        return code != MPI_SUCCESS || op.timedOut ? code : gatherParts(op, values, op.count);
      }
      code = MPI_Iallreduce(MPI_IN_PLACE, op.receive, n, datatypeOf(op),
                            op.type == napi_uint16_array ? sumOfBfloat16 : MPI_SUM, MPI_COMM_WORLD, &request);
      break;
    case reduceScatter: return sumOwnPart(op, (const char *)op.send, op.count * size, (char *)op.receive);
    case allGather: {
      // MPI forbids overlapping memory, except for a part that is already in place.
      const bool isInPlace = op.send == (char *)op.receive + (size_t)op.count * rank * width;
      const MPI_Datatype type = datatypeOf(op);
      code = MPI_Iallgather(isInPlace ? MPI_IN_PLACE : op.send, n, type, op.receive, n, type, MPI_COMM_WORLD, &request);
      break;
    }
    case broadcast:
      code = MPI_Ibcast(op.receive, n, datatypeOf(op), op.root, MPI_COMM_WORLD, &request);
      break;
    default: code = MPI_Ibarrier(MPI_COMM_WORLD, &request);
  }
  return code == MPI_SUCCESS ? await(op, &request) : code;
}

void execute(Operation &op) {
  op.started = Clock::now();
  const int code = perform(op);
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
    // After a failure the ranks no longer agree on the next operation.
    if (broken) op->error = "an earlier operation failed";
    else execute(*op);
    lock.lock();
    if (op->timedOut || !op->error.empty()) broken = true;
    // JavaScript owns the operation from here.
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
  if (running) return throwError(env, "MPI has already been started");
  napi_value name;
  napi_create_string_utf8(env, "mpi", NAPI_AUTO_LENGTH, &name);
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, settle, &settled);
  // An idle connection does not keep the process alive; pending operations do, through hold().
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

// submit(kind, root, timeoutSeconds, send, receive) returns a promise. The caller has checked types and lengths.
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

// stop() ends MPI after all submitted operations.
napi_value stop(napi_env, napi_callback_info) {
  std::unique_lock<std::mutex> lock(mutex);
  if (!running || closing) return nullptr;
  closing = true;
  changed.notify_all();
  changed.wait(lock, [] { return ended; });
  return nullptr;
}

// hold(on) keeps the process alive while operations are pending.
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
