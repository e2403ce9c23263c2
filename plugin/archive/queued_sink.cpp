#include "archive/queued_sink.h"

#include <algorithm>
#include <system_error>

namespace ferry::archive {

Result<std::unique_ptr<QueuedSink>> QueuedSink::open(Sink& below, std::size_t piece) {
  std::unique_ptr<QueuedSink> sink(new QueuedSink(below, piece));
  try {
    sink->thread_ = std::thread([raw = sink.get()] { raw->run(); });
  } catch (const std::system_error& error) {
    return fail(Code::unavailable, std::string("no thread for writing an archive: ") + error.what());
  }
  return sink;
}

QueuedSink::~QueuedSink() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

Result<> QueuedSink::write(std::span<const char> bytes) {
  while (!bytes.empty()) {
    const std::size_t n = std::min(bytes.size(), piece_ - filling_.size());
    filling_.append(bytes.data(), n);
    bytes = bytes.subspan(n);
    if (filling_.size() == piece_) FERRY_TRY(hand_over());
  }
  return {};
}

Result<> QueuedSink::finish() {
  if (!filling_.empty()) FERRY_TRY(hand_over());
  std::unique_lock lock(mutex_);
  return wait_for_room(lock);
}

Result<> QueuedSink::wait_for_room(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return passing_.empty(); });
  if (error_) return tl::unexpected(*error_);
  return {};
}

Result<> QueuedSink::hand_over() {
  std::unique_lock lock(mutex_);
  FERRY_TRY(wait_for_room(lock));
  passing_.swap(filling_);
  changed_.notify_all();
  return {};
}

void QueuedSink::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !passing_.empty(); });
    if (stopping_) return;
    lock.unlock();
    auto passed = below_.write(passing_);
    lock.lock();
    passing_.clear();
    if (!passed) error_ = passed.error();
    changed_.notify_all();
  }
}

}  // namespace ferry::archive
