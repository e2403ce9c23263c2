#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::sync {

/// Bytes made piece by piece, so that nothing buffers a whole payload. Not thread-safe.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  /// Appends the next piece to `out`; false at the end, when nothing was appended. A failure that the receiver should
  /// hear of is part of the bytes (append_failure), not an error here.
  virtual bool next(std::string& out) = 0;
};

/// Takes bytes as they arrive; an error stops the transfer.
using ByteSink = std::function<Result<>(std::string_view)>;

}  // namespace ferry::sync
