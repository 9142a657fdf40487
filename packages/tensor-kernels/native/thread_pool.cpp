// One pool for the process. Workers spin briefly between jobs, since a training step issues thousands of short
// ones, then sleep.
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>
#include "kernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(_WIN32)
#include <malloc.h>
#define WIN32_LEAN_AND_MEAN
#define NOMINMAX
#include <windows.h>
#else
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace meap {
namespace {

struct Job {
  void (*body)(void *, int64_t);
  void *context;
  int64_t n;
};

// One word says all about the current job: its number, whether workers may still join, how many have.
constexpr uint64_t OPEN = 1 << 16, NUMBER = 1 << 17, JOINED = OPEN - 1;

// These live for ever: a destructor at exit would wait for workers, or find them killed while they held a lock. Whoever
// unloads the library stops the workers first, with setThreadCount(1).
std::mutex &ownership = *new std::mutex;  // one parallel region at a time
std::mutex &sleepMutex = *new std::mutex;
std::condition_variable &wake = *new std::condition_variable;
std::vector<std::thread> &workers = *new std::vector<std::thread>;
std::atomic<int> numWorkers{0};
std::atomic<uint64_t> state{0};
std::atomic<int64_t> next{0};
std::atomic<int> sleepers{0};
std::atomic<bool> stopping{false};
Job job;
thread_local bool inside = false;
std::atomic<int64_t> totalScratch{0};

void pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

void runJob() {
  const Job current = job;
  for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < current.n;) {
    current.body(current.context, i);
  }
}

void work(uint64_t seen) {
  inside = true;
  while (true) {
    auto isNew = [&] { return state.load() / NUMBER != seen; };
    for (int spin = 0; !isNew() && spin < 20000; spin++) pause();
    if (!isNew()) {
      std::unique_lock<std::mutex> lock(sleepMutex);
      sleepers++;
      wake.wait(lock, [&] { return isNew() || stopping; });
      sleepers--;
    }
    if (stopping) return;
    uint64_t now = state.load();
    seen = now / NUMBER;
    // A worker that comes late, because another process had its core, is not waited for and must not join.
    while (now / NUMBER == seen && now & OPEN) {
      if (!state.compare_exchange_weak(now, now + 1)) continue;
      runJob();
      state.fetch_sub(1);
      break;
    }
  }
}

void joinWorkers() {
  {
    std::lock_guard<std::mutex> lock(sleepMutex);
    stopping = true;
  }
  wake.notify_all();
  for (auto &worker : workers) worker.join();
  workers.clear();
  numWorkers = 0;
  stopping = false;
}

struct Scratch {
  struct Slot {
    void *data = nullptr;
    int64_t bytes = 0;
  } slots[8];
  void release() {
    for (auto &slot : slots) {
      totalScratch -= slot.bytes;
      freeBuffer(slot.data);
      slot = {};
    }
  }
  ~Scratch() { release(); }
};
thread_local Scratch threadScratch;

}  // namespace

void parallelFor(int64_t n, void (*body)(void *, int64_t), void *context) {
  if (n <= 0) return;
  // Nested regions, and a second JavaScript thread while the pool is taken, run on their own thread.
  if (n == 1 || inside || numWorkers == 0 || !ownership.try_lock()) {
    for (int64_t i = 0; i < n; i++) body(context, i);
    return;
  }
  job = {body, context, n};
  next.store(0);
  state.store((state.load() / NUMBER + 1) * NUMBER | OPEN);
  if (sleepers.load() > 0) {
    std::lock_guard<std::mutex> lock(sleepMutex);
    wake.notify_all();
  }
  inside = true;
  runJob();
  inside = false;
  state.fetch_and(~OPEN);
  // A worker that lost its core in the middle of a task needs one to finish it: give way after a while.
  for (int spin = 0; state.load() & JOINED; spin++) {
    if (spin < 20000) pause();
    else std::this_thread::yield();
  }
  ownership.unlock();
}

void *allocateBuffer(int64_t bytes) {
  constexpr int64_t hugePage = 2 << 20;
  const size_t alignment = bytes >= hugePage ? hugePage : 64;
#if defined(_WIN32)
  void *data = _aligned_malloc((size_t)(bytes ? bytes : 64), alignment);
#else
  void *data = nullptr;
  if (posix_memalign(&data, alignment, bytes ? bytes : 64)) return nullptr;
#endif
#if defined(__linux__)
  // Whole huge pages only: the rest of a last one would be memory that nothing uses.
  if (bytes >= hugePage) madvise(data, bytes / hugePage * hugePage, MADV_HUGEPAGE);
#endif
  return data;
}

void freeBuffer(void *data) {
#if defined(_WIN32)
  _aligned_free(data);
#else
  free(data);
#endif
}

void discardBuffer(void *data, int64_t bytes) {
#if defined(_WIN32)
  SYSTEM_INFO system;
  GetSystemInfo(&system);
  const uintptr_t page = system.dwPageSize;
#else
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
#endif
  const uintptr_t from = ((uintptr_t)data + page - 1) / page * page, to = ((uintptr_t)data + bytes) / page * page;
  if (to <= from) return;
#if defined(_WIN32)
  // Unlocking what is not locked takes the pages out of the working set, those reset without writing them anywhere.
  VirtualAlloc((void *)from, to - from, MEM_RESET, PAGE_READWRITE);
  VirtualUnlock((void *)from, to - from);
#elif defined(__APPLE__)
  madvise((void *)from, to - from, MADV_FREE);
#else
  madvise((void *)from, to - from, MADV_DONTNEED);
#endif
}

void *scratch(int slot, int64_t bytes) {
  auto &entry = threadScratch.slots[slot];
  if (entry.bytes < bytes) {
    freeBuffer(entry.data);
    totalScratch -= entry.bytes;
    entry.bytes = (bytes + 4095) / 4096 * 4096;
    entry.data = allocateBuffer(entry.bytes);
    if (!entry.data) abort();
    totalScratch += entry.bytes;
  }
  return entry.data;
}

int64_t scratchBytes() { return totalScratch; }
void releaseScratch() { threadScratch.release(); }
int threadCount() { return numWorkers + 1; }

void setThreadCount(int threads) {
  std::lock_guard<std::mutex> lock(ownership);
  if (threads == threadCount()) return;
  joinWorkers();
  for (int i = 1; i < threads; i++) workers.emplace_back(work, state.load() / NUMBER);
  numWorkers = (int)workers.size();
}

}  // namespace meap
