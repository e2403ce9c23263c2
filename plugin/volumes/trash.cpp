#include "volumes/trash.h"

#include <sys/stat.h>

#include <charconv>
#include <ctime>
#include <filesystem>

#include "base/files.h"
#include "base/log.h"

namespace ferry::volumes {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::hours orphan_retention{1};

/// Unix time of removal from a trash entry's name "SECONDS-ID"; 0 if it has another form, so that it is deleted.
std::time_t removal_time(const std::string& name) {
  std::time_t seconds = 0;
  std::from_chars(name.data(), name.data() + name.size(), seconds);
  return seconds;
}

// A rename changes a directory's ctime, and nothing in an orphan changes after it was moved there.
std::time_t change_time(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 ? info.st_ctim.tv_sec : 0;
}

template <class TimeOf>
void delete_older(const fs::path& directory, std::chrono::seconds retention, TimeOf time_of) {
  const std::time_t limit = std::time(nullptr) - retention.count();
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    if (time_of(entry.path()) > limit) continue;
    if (auto removed = remove_tree(entry.path()); !removed)
      spdlog::warn("cannot delete {}: {}", entry.path().string(), removed.error().message);
  }
}

}  // namespace

Trash::Trash(Layout layout, std::chrono::seconds retention)
    : layout_(std::move(layout)), retention_(retention), thread_([this] { run(); }) {}

Trash::~Trash() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Trash::wake() {
  const std::lock_guard guard(mutex_);
  wanted_ = true;
  changed_.notify_all();
}

void Trash::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wanted_ = false;
    lock.unlock();
    sweep();
    lock.lock();
    changed_.wait_for(lock, std::chrono::minutes(1), [this] { return stopping_ || wanted_; });
  }
}

void Trash::sweep() {
  delete_older(layout_.trash(), retention_, [](const fs::path& path) { return removal_time(path.filename().string()); });
  delete_older(layout_.orphans(), orphan_retention, change_time);
}

}  // namespace ferry::volumes
