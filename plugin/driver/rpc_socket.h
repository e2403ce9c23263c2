#pragma once

#include <sys/types.h>

#include <filesystem>

#include "base/fd.h"
#include "base/result.h"

namespace ferry::driver {

/// The file of a listening Unix socket. For one owner, not thread-safe.
class RpcSocket {
 public:
  explicit RpcSocket(std::filesystem::path path) : path_(std::move(path)) {}

  /// Binds a socket with mode 0600 and listens. Replaces a socket file on which nobody answers; one on which somebody
  /// does is Code::busy, another kind of file Code::already_exists.
  Result<Fd> listen();

  /// Removes the file, unless somebody else has replaced it since.
  void unlink();

 private:
  Result<> remove_stale() const;

  const std::filesystem::path path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;  ///< 0: not listening
};

}  // namespace ferry::driver
