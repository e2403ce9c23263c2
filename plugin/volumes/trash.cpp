#include "volumes/trash.h"

#include <sys/stat.h>

#include <charconv>
#include <ctime>
#include <filesystem>
#include <vector>

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

std::vector<fs::path> entries_of(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  if (error) spdlog::warn("cannot read {}: {}", directory.string(), error.message());
  return entries;
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
  const std::time_t now = std::time(nullptr);
  // An orphan is deleted under another name, so that an import either adopts all of it or nothing.
  for (const auto& orphan : entries_of(layout_.orphans())) {
    if (change_time(orphan) > now - std::chrono::seconds(orphan_retention).count()) continue;
    const fs::path expired = layout_.trash() / ("0-" + orphan.filename().string());
    if (auto moved = rename_durably(orphan, expired); !moved) spdlog::warn("{}", moved.error().message);
  }
  for (const auto& entry : entries_of(layout_.trash())) {
    if (removal_time(entry.filename().string()) > now - retention_.count()) continue;
    auto removed = remove_tree(entry, &stopping_);
    if (stopping_) return;
    if (!removed) spdlog::warn("cannot delete {}: {}", entry.string(), removed.error().message);
  }
}

}  // namespace ferry::volumes
