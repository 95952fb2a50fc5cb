#include "bimacosr/threads.h"

#include <chrono>
#include <cstdint>
#include <system_error>

#ifdef _WIN32
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace bimacosr {

namespace {

// Layers follow each other faster than a thread falls asleep and wakes: 10 to 90 microseconds of
// pauses, as the processor has it, and then a time in which others may have the processor.
constexpr int kPauses = 2000;
constexpr std::chrono::microseconds kAwake{200};

// In ThreadPool::gate_, beside the number of threads at work.
constexpr int kOpen = 1 << 16;

inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Waits until `value` is no longer `old`.
template <typename T>
void wait_while(const std::atomic<T>& value, T old) {
  using std::chrono::steady_clock;
  const auto is_old = [&] { return value.load(std::memory_order_acquire) == old; };
  for (int i = 0; i < kPauses && is_old(); i++) pause();
  if (!is_old()) return;
  const steady_clock::time_point end = steady_clock::now() + kAwake;
  while (is_old() && steady_clock::now() < end) std::this_thread::yield();
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(int threads)
    : threads_(threads < 1 ? 1 : threads), shares_(std::make_unique<Share[]>(threads_)) {}

ThreadPool::~ThreadPool() { stop(); }

// After a fork the parent's threads are only names here. They must be neither joined nor detached,
// since the child's own threads may get the same names; so their handles are never destroyed.
void ThreadPool::forget() { static_cast<void>(workers_.release()); }

void ThreadPool::start() {
  const int process = static_cast<int>(getpid());
  if (process == owner_) return;
  forget();
  workers_ = std::make_unique<std::vector<std::thread>>();
  owner_ = process;
  gate_ = 0;
  round_ = 0;
  try {
    for (int i = 1; i < threads_; i++) workers_->emplace_back([this, i] { serve(i); });
  } catch (const std::system_error&) {
    // the system gives no more threads: those that there are do the work
  }
}

void ThreadPool::stop() {
  if (owner_ != static_cast<int>(getpid())) {
    forget();
    return;
  }
  ending_ = true;
  round_.fetch_add(1);
  round_.notify_all();
  for (std::thread& worker : *workers_) worker.join();
}

void ThreadPool::take_tasks(int thread) {
  for (int i = 0; i < threads_; i++) {
    Share& share = shares_[(thread + i) % threads_];
    // looked at first, since a counter that everybody raises travels from core to core
    while (share.next.load(std::memory_order_relaxed) < share.end) {
      const int task = share.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= share.end) break;
      (*work_)(task, thread);
    }
  }
}

bool ThreadPool::enter() {
  int now = gate_.load(std::memory_order_acquire);
  while (now & kOpen)
    if (gate_.compare_exchange_weak(now, now + 1, std::memory_order_acq_rel)) return true;
  return false;
}

void ThreadPool::serve(int thread) {
  for (unsigned seen = 0;;) {
    wait_while(round_, seen);
    seen = round_.load(std::memory_order_acquire);
    if (ending_) return;
    if (!enter()) continue;
    take_tasks(thread);
    if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
  }
}

void ThreadPool::run(int tasks, const std::function<void(int, int)>& work) {
  if (threads_ == 1 || tasks == 1) {
    for (int task = 0; task < tasks; task++) work(task, 0);
    return;
  }
  start();
  work_ = &work;
  for (int i = 0; i < threads_; i++) {
    shares_[i].next.store(static_cast<int>(static_cast<int64_t>(tasks) * i / threads_),
                          std::memory_order_relaxed);
    shares_[i].end = static_cast<int>(static_cast<int64_t>(tasks) * (i + 1) / threads_);
  }
  gate_.store(kOpen, std::memory_order_release);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  take_tasks(0);
  // nothing is left for those who have not come yet: nobody waits until they wake
  int working = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
  for (; working != 0; working = gate_.load(std::memory_order_acquire)) wait_while(gate_, working);
}

}  // namespace bimacosr
