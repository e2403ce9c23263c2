#pragma once

#include <cstddef>
#include <span>

#include "base/result.h"

namespace ferry::archive {

/// Where the bytes of an archive go, such as a file here or at the other end of sftp. Not thread-safe.
class Sink {
 public:
  virtual ~Sink() = default;
  /// Takes all of `bytes`, behind those that came before. After an error it is not called again.
  virtual Result<> write(std::span<const char> bytes) = 0;
};

/// Where the bytes of an archive come from. Not thread-safe.
class Source {
 public:
  virtual ~Source() = default;
  /// Puts the next bytes into `buffer`, which is not empty, and says how many; 0 is the end. After that or an error it
  /// is not called again.
  virtual Result<std::size_t> read(std::span<char> buffer) = 0;
};

}  // namespace ferry::archive
