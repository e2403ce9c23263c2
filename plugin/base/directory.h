#pragma once

#include <dirent.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace ferry {

/// Reads the names in a directory one by one, as readdir(3) finds them. Not thread-safe.
class DirectoryReader {
 public:
  /// Opens `name` below the open directory `parent`, which may be AT_FDCWD. A symlink is not followed: Code::not_found.
  /// `flags` are further ones of openat(2), such as O_NOATIME.
  static Result<DirectoryReader> open(int parent, const std::string& name, int flags = 0);

  /// The next name but "." and "..", valid until the next call; null at the end.
  Result<const char*> next();

  /// The directory's descriptor, as long as this object lives.
  int fd() const { return ::dirfd(stream_.get()); }

 private:
  struct Close {
    void operator()(DIR* stream) const { ::closedir(stream); }
  };
  explicit DirectoryReader(DIR* stream) : stream_(stream) {}

  std::unique_ptr<DIR, Close> stream_;
};

/// All names in an open directory but "." and "..", sorted bytewise. Leaves its offset and its atime alone (O_NOATIME:
/// for its owner and for root).
Result<std::vector<std::string>> names_in(int directory);

}  // namespace ferry
