// A pool of threads that, between two layers, wait a while before they go to sleep.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

namespace bimacosr {

// Not to be used from two threads at a time: every engine has its own. A child of fork() begins
// with new threads, since a fork copies none. A system that gives no more threads than some slows
// it down, and changes nothing else.
class ThreadPool {
 public:
  // `threads` includes the caller; at least 1.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls work(task, thread) for each task from 0 to tasks - 1, in any order, and returns when all
  // are done. `work` must not throw. Each thread begins with its own stretch of the tasks, the same
  // for the same number of tasks, so that what it wrote in one call lies in its cache in the next;
  // then it takes from the others.
  void run(int tasks, const std::function<void(int task, int thread)>& work);

 private:
  void start();
  void stop();
  void forget();
  void serve(int thread);
  bool enter();
  void take_tasks(int thread);

  const int threads_;
  std::unique_ptr<std::vector<std::thread>> workers_;
  int owner_ = 0;  // process that started them
  std::atomic<unsigned> round_{0};
  std::atomic<bool> ending_{false};
  const std::function<void(int, int)>* work_ = nullptr;
  // What threads write while they work lies in cache lines of its own.
  struct alignas(64) Share {
    std::atomic<int> next{0};
    int end = 0;
  };
  const std::unique_ptr<Share[]> shares_;
  alignas(64) std::atomic<int> gate_{0};  // workers at work, and whether more may come
};

}  // namespace bimacosr
