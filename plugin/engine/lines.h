#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::engine {

/// Cuts a stream that arrives in pieces of any size into lines. Keeps at most `limit` bytes. Not thread-safe.
class Lines {
 public:
  using Taker = std::function<Result<>(std::string_view line)>;

  explicit Lines(std::size_t limit) : limit_(limit) {}

  /// Calls `taker` for each line that `piece` completes, without its line feed; empty lines are left out.
  /// Stops at the taker's first error and returns it; a line longer than the limit is Code::corrupt.
  Result<> add(std::string_view piece, const Taker& taker);

 private:
  Result<> keep(std::string_view text);

  const std::size_t limit_;
  std::string partial_;
};

}  // namespace ferry::engine
