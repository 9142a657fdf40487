// Prints the gigabytes a second at which threads read memory that no cache holds: the median of nine sums of 1 GiB.
//
//     read_memory THREADS
#include <sys/mman.h>
#include <time.h>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

constexpr int64_t BYTES = int64_t(1) << 30, LINE = 64, AHEAD = 4096;

// Independent sums of cache lines, with prefetching.
uint64_t sum(const uint64_t *from, int64_t bytes) {
  uint64_t sums[LINE] = {};
  for (int64_t i = 0; i < bytes / 8; i += LINE) {
    for (int64_t line = 0; line < LINE; line += 8) __builtin_prefetch(from + i + line + AHEAD / 8);
    for (int64_t j = 0; j < LINE; j++) sums[j] += from[i + j];
  }
  uint64_t total = 0;
  for (uint64_t s : sums) total += s;
  return total;
}

// Processor time of one thread, else the time that passed.
double now(int threads) {
  timespec time;
  clock_gettime(threads > 1 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &time);
  return time.tv_sec + time.tv_nsec * 1e-9;
}

}  // namespace

int main(int, char **arguments) {
  const int threads = atoi(arguments[1]);
  uint64_t *memory;
  if (posix_memalign((void **)&memory, 2 << 20, BYTES)) return 1;
#if defined(MADV_HUGEPAGE)
  madvise(memory, BYTES, MADV_HUGEPAGE);
#endif
  std::fill(memory, memory + BYTES / 8, 1);
  std::vector<double> seconds;
  for (int i = 0; i < 9; i++) {
    std::vector<uint64_t> sums(threads);
    const double started = now(threads);
    const auto read = [&](int t) {
      const int64_t part = BYTES / threads / 4096 * 4096;
      sums[t] = sum(memory + t * part / 8, part);
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; t++) others.emplace_back(read, t);
    read(0);
    for (auto &other : others) other.join();
    seconds.push_back(now(threads) - started);
    if (!sums[0]) return 1;
  }
  std::sort(seconds.begin(), seconds.end());
  printf("%.2f\n", BYTES / seconds[4] / 1e9);
}
