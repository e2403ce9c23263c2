#include <fcntl.h>
#include <unistd.h>

#include <optional>
#include <vector>

#include "base/directory.h"
#include "base/files.h"
#include "base/log.h"

namespace ferry {

namespace {

/// Empties one directory and all below it. Iterative, so that a tree of any depth costs no stack; it climbs back
/// through
/// "..", so that it costs no descriptors.
class Emptier {
 public:
  Emptier(DirectoryReader top, const std::string& path, const std::atomic<bool>* stop)
      : current_(std::move(top)), path_(path), stop_(stop) {}

  Result<> run() {
    while (true) {
      if (stop_ != nullptr && *stop_) return fail(Code::cancelled, "cancelled while removing " + printable(path_));
      const auto name = current_.next();
      if (!name) return fail(name.error().code, name.error().message + " below " + printable(path_));
      if (*name != nullptr) {
        FERRY_TRY(remove(*name));
      } else {
        if (below_.empty()) return {};
        FERRY_TRY(climb());
      }
    }
  }

 private:
  Result<> remove(const std::string& name) {
    if (::unlinkat(current_.fd(), name.c_str(), 0) == 0 || errno == ENOENT) return {};
    if (errno != EISDIR) return fail_errno("remove " + printable(name) + " below " + printable(path_));
    if (::unlinkat(current_.fd(), name.c_str(), AT_REMOVEDIR) == 0) return {};
    if (errno != ENOTEMPTY && errno != EEXIST)
      return fail_errno("rmdir " + printable(name) + " below " + printable(path_));
    FERRY_ASSIGN(current_, DirectoryReader::open(current_.fd(), name));
    below_.push_back(name);
    return {};
  }

  Result<> climb() {
    FERRY_ASSIGN(current_, DirectoryReader::open(current_.fd(), ".."));
    if (::unlinkat(current_.fd(), below_.back().c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
      return fail_errno("rmdir " + printable(below_.back()) + " below " + printable(path_));
    below_.pop_back();
    return {};
  }

  DirectoryReader current_;
  const std::string& path_;
  const std::atomic<bool>* const stop_;
  std::vector<std::string> below_;  // names of the directories from the top to the current one
};

}  // namespace

Result<> remove_tree_at(int directory, const std::string& path, const std::atomic<bool>* stop) {
  if (::unlinkat(directory, path.c_str(), 0) == 0 || errno == ENOENT) return {};
  if (errno != EISDIR) return fail_errno("remove " + printable(path));
  {
    FERRY_ASSIGN(DirectoryReader top, DirectoryReader::open(directory, path));
    FERRY_TRY(Emptier(std::move(top), path, stop).run());
  }
  if (::unlinkat(directory, path.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT)
    return fail_errno("rmdir " + printable(path));
  return {};
}

Result<> remove_tree(const std::filesystem::path& path, const std::atomic<bool>* stop) {
  return remove_tree_at(AT_FDCWD, path.string(), stop);
}

}  // namespace ferry
