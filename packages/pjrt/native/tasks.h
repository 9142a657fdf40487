// Work off the JavaScript thread. Promises are settled on it, in the order in which work ends.
#pragma once

#include <node_api.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "plugin.h"

// Of one JavaScript environment: the main thread or a worker.
class Environment : public std::enable_shared_from_this<Environment> {
 public:
  static std::shared_ptr<Environment> create(napi_env env);
  static Environment &of(napi_env env);

  // Calls `work` on the JavaScript thread, unless it has ended. From any thread.
  void post(std::function<void(napi_env)> work);

  // Throws a failure in JavaScript.
  void raise(const Failure &failure);
  napi_value errorOf(const Failure &failure);
  void initialize(napi_value errorClass, bool isMainThread);

  // Pending promises keep the process alive. On the JavaScript thread.
  void addPending();
  void removePending();

  // Whether this is the main thread's environment and is being torn down.
  bool isProcessEnding();

  const napi_env env;

 private:
  explicit Environment(napi_env own) : env(own) {}
  static void close(void *data);
  static void run(napi_env env, napi_value, void *, void *data);

  std::mutex mutex;
  bool closed = false, isMain = true;
  napi_threadsafe_function toJavaScript = nullptr;
  size_t numPending = 0;
  napi_ref errorClass = nullptr;
};

// A promise, settled once, from any thread.
class Promise {
 public:
  // Returns the promise in `value`; it keeps the JavaScript objects in `held` alive until it is settled.
  static std::shared_ptr<Promise> create(napi_env env, napi_value *value, std::vector<napi_value> held = {});

  void resolve(std::function<napi_value(napi_env)> makeValue);
  void resolve();
  void reject(Failure failure);

 private:
  void settle(std::function<void(napi_env, napi_deferred)> conclude);

  std::shared_ptr<Environment> environment;
  napi_deferred deferred = nullptr;
  std::vector<napi_ref> references;
};

// Rejects the promise with what `work` throws.
void attempt(Promise &promise, const std::function<void()> &work);

// Runs `work` on a thread of its own: for calls that may take seconds, such as compilation.
void runApart(std::shared_ptr<Promise> promise, std::function<void()> work);

// The code with which the process exits if such work is in progress.
void setExitCode(int code);

// Runs work in order on one thread: the calls of a client that may wait for the device.
class Queue {
 public:
  Queue();
  // Ends the thread after the work in progress; may be called on that thread.
  ~Queue();
  void add(std::function<void()> work);

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::deque<std::function<void()>> works;
    bool ended = false;
  };
  std::shared_ptr<State> state;
};

// Settles the promise when the event is ready, and destroys the event. A null event is ready.
void settleWith(std::shared_ptr<Plugin> plugin, PJRT_Event *event, std::function<void()> onReady,
                std::function<void(Failure)> onFailure);
