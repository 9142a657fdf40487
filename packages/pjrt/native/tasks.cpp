#include "tasks.h"

#include <signal.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

namespace {

napi_value stringOf(napi_env env, const std::string &text) {
  napi_value value;
  napi_create_string_utf8(env, text.data(), text.size(), &value);
  return value;
}

}  // namespace

std::shared_ptr<Environment> Environment::create(napi_env env) {
  auto *held = new std::shared_ptr<Environment>(new Environment(env));
  Environment &own = **held;
  napi_value name = stringOf(env, "@meap/pjrt");
  napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, nullptr, run,
                                  &own.toJavaScript);
  napi_unref_threadsafe_function(env, own.toJavaScript);
  napi_set_instance_data(env, held, nullptr, nullptr);
  // The environment may be closed before threads have ended: they keep it alive.
  napi_add_env_cleanup_hook(env, close, held);
  return *held;
}

Environment &Environment::of(napi_env env) {
  void *held;
  napi_get_instance_data(env, &held);
  return **(std::shared_ptr<Environment> *)held;
}

void Environment::close(void *data) {
  auto *held = (std::shared_ptr<Environment> *)data;
  Environment &own = **held;
  {
    const std::lock_guard<std::mutex> lock(own.mutex);
    own.closed = true;
  }
  napi_release_threadsafe_function(own.toJavaScript, napi_tsfn_abort);
  // Not freed: finalizers, which run later, use it.
}

bool Environment::isProcessEnding() {
  const std::lock_guard<std::mutex> lock(mutex);
  return closed && isMain;
}

void Environment::post(std::function<void(napi_env)> work) {
  auto *data = new std::function<void(napi_env)>(std::move(work));
  const std::lock_guard<std::mutex> lock(mutex);
  if (!closed && napi_call_threadsafe_function(toJavaScript, data, napi_tsfn_nonblocking) == napi_ok) return;
  // Leaked: it holds references to JavaScript objects of an environment that is gone.
}

void Environment::run(napi_env env, napi_value, void *, void *data) {
  auto *work = (std::function<void(napi_env)> *)data;
  // Without an environment the function is being torn down.
  if (!env) return;
  (*work)(env);
  delete work;
}

void Environment::initialize(napi_value constructor, bool isMainThread) {
  if (errorClass) napi_delete_reference(env, errorClass);
  napi_create_reference(env, constructor, 1, &errorClass);
  isMain = isMainThread;
}

napi_value Environment::errorOf(const Failure &failure) {
  napi_value arguments[] = {stringOf(env, failure.code), stringOf(env, failure.message)};
  napi_value constructor, error;
  napi_get_reference_value(env, errorClass, &constructor);
  napi_new_instance(env, constructor, 2, arguments, &error);
  return error;
}

void Environment::raise(const Failure &failure) { napi_throw(env, errorOf(failure)); }

void Environment::addPending() {
  if (numPending++ == 0) napi_ref_threadsafe_function(env, toJavaScript);
}

void Environment::removePending() {
  if (--numPending == 0) napi_unref_threadsafe_function(env, toJavaScript);
}

std::shared_ptr<Promise> Promise::create(napi_env env, napi_value *value, std::vector<napi_value> held) {
  auto promise = std::make_shared<Promise>();
  promise->environment = Environment::of(env).shared_from_this();
  napi_create_promise(env, &promise->deferred, value);
  for (const napi_value object : held) {
    napi_ref reference;
    napi_create_reference(env, object, 1, &reference);
    promise->references.push_back(reference);
  }
  promise->environment->addPending();
  return promise;
}

void Promise::settle(std::function<void(napi_env, napi_deferred)> conclude) {
  environment->post([own = environment, deferred = deferred, references = references,
                     conclude = std::move(conclude)](napi_env env) {
    napi_handle_scope scope;
    napi_open_handle_scope(env, &scope);
    for (const napi_ref reference : references) napi_delete_reference(env, reference);
    conclude(env, deferred);
    own->removePending();
    napi_close_handle_scope(env, scope);
  });
}

void Promise::resolve(std::function<napi_value(napi_env)> makeValue) {
  settle([own = environment, makeValue = std::move(makeValue)](napi_env env, napi_deferred deferred) {
    try {
      napi_resolve_deferred(env, deferred, makeValue(env));
    } catch (const Failure &failure) {
      napi_reject_deferred(env, deferred, own->errorOf(failure));
    }
  });
}

void Promise::resolve() {
  resolve([](napi_env env) {
    napi_value undefined;
    napi_get_undefined(env, &undefined);
    return undefined;
  });
}

void Promise::reject(Failure failure) {
  settle([own = environment, failure = std::move(failure)](napi_env env, napi_deferred deferred) {
    napi_reject_deferred(env, deferred, own->errorOf(failure));
  });
}

void attempt(Promise &promise, const std::function<void()> &work) {
  try {
    work();
  } catch (Failure &failure) {
    promise.reject(std::move(failure));
  } catch (const std::exception &error) {
    promise.reject({"INTERNAL", error.what()});
  }
}

namespace {

std::atomic<int> numApart{0};
std::atomic<int> exitCode{0};

// The plugin of TPUs samples each thread by a timer, and ignores the signal without a profiler. Node.js resets signals as
// it exits: then the next one would end the process.
void deleteProfilingTimers() {
#ifdef __linux__
  std::vector<int> found;
  do {
    found.clear();
    FILE *timers = fopen("/proc/self/timers", "r");
    if (!timers) return;
    char line[128];
    int id = 0, number = 0;
    while (fgets(line, sizeof line, timers)) {
      if (sscanf(line, "ID: %d", &id) == 1) continue;
      if (sscanf(line, "signal: %d", &number) == 1 && number == SIGPROF) found.push_back(id);
    }
    fclose(timers);
    for (const int timer : found) syscall(SYS_timer_delete, timer);
  } while (!found.empty());
#endif
}

// At the end of a process, libraries destroy what a compilation still uses: it would crash.
void leaveIfRunning() {
  if (numApart == 0) return;
  fflush(nullptr);
  _exit(exitCode);
}

}  // namespace

void setExitCode(int code) {
  exitCode = code;
  deleteProfilingTimers();
}

void runApart(std::shared_ptr<Promise> promise, std::function<void()> work) {
  // Handlers run in reverse order: this one before the destructors of all that has been constructed by now.
  atexit(leaveIfRunning);
  attempt(*promise, [&] {
    numApart++;
    try {
      std::thread([promise, work = std::move(work)] {
        attempt(*promise, work);
        numApart--;
      }).detach();
    } catch (...) {
      numApart--;
      throw;
    }
  });
}

Queue::Queue() : state(std::make_shared<State>()) {
  std::thread([own = state] {
    for (;;) {
      std::function<void()> work;
      {
        std::unique_lock<std::mutex> lock(own->mutex);
        own->changed.wait(lock, [&] { return own->ended || !own->works.empty(); });
        if (own->works.empty()) return;
        work = std::move(own->works.front());
        own->works.pop_front();
      }
      work();
    }
  }).detach();
}

Queue::~Queue() {
  const std::lock_guard<std::mutex> lock(state->mutex);
  state->ended = true;
  state->changed.notify_all();
}

void Queue::add(std::function<void()> work) {
  const std::lock_guard<std::mutex> lock(state->mutex);
  state->works.push_back(std::move(work));
  state->changed.notify_one();
}

void settleWith(std::shared_ptr<Plugin> plugin, PJRT_Event *event, std::function<void()> onReady,
                std::function<void(Failure)> onFailure) {
  if (!event) return onReady();
  struct Waiting {
    std::shared_ptr<Plugin> plugin;
    PJRT_Event *event;
    std::function<void()> onReady;
    std::function<void(Failure)> onFailure;
  };
  auto *waiting = new Waiting{plugin, event, std::move(onReady), std::move(onFailure)};
  ARGS(PJRT_Event_OnReady_Args, args);
  args.event = event;
  args.user_arg = waiting;
  args.callback = [](PJRT_Error *error, void *data) {
    const std::unique_ptr<Waiting> own((Waiting *)data);
    try {
      own->plugin->check(error);
      own->onReady();
    } catch (Failure &failure) {
      own->onFailure(std::move(failure));
    }
    own->plugin->destroyEvent(own->event);
  };
  try {
    CALL(*plugin, PJRT_Event_OnReady, args);
  } catch (Failure &failure) {
    waiting->onFailure(std::move(failure));
    plugin->destroyEvent(event);
    delete waiting;
  }
}
