#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace ferry {

/// A few threads that run tasks in the order in which they were submitted. Thread-safe. The destructor waits for the
/// tasks that run; those that have not begun never will, and their futures throw std::future_error.
class ThreadPool {
 public:
  /// With fewer threads if the system has no more; throws std::system_error if it has none.
  explicit ThreadPool(unsigned threads) {
    try {
      for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { run(); });
    } catch (const std::system_error&) {
      if (threads_.empty()) throw;
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    {
      const std::lock_guard guard(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  /// The future gives what the task returns, or throws what it throws.
  template <class Task>
  std::future<std::invoke_result_t<Task&>> submit(Task task) {
    // std::function copies what it holds, and a packaged_task cannot be copied
    auto packaged = std::make_shared<std::packaged_task<std::invoke_result_t<Task&>()>>(std::move(task));
    auto future = packaged->get_future();
    {
      const std::lock_guard guard(mutex_);
      tasks_.emplace_back([packaged = std::move(packaged)] { (*packaged)(); });
    }
    changed_.notify_one();
    return future;
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !tasks_.empty(); });
      if (stopping_) return;
      const auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;  // protected by mutex_
  bool stopping_ = false;                    // protected by mutex_
  std::vector<std::thread> threads_;
};

}  // namespace ferry
