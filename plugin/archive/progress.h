#pragma once

#include <atomic>
#include <cstdint>

#include "base/result.h"

namespace ferry::archive {

/// Of an archive that is being written or read. Totals are 0 as long as they are not known; those of a foreign archive
/// never are. Bytes are those of files, holes included. Thread-safe.
struct Progress {
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> bytes_done{0};
  std::atomic<std::uint64_t> entries_total{0};
  std::atomic<std::uint64_t> entries_done{0};
  /// Set by whoever wants it to end soon, with Code::cancelled. A Sink or Source that waits has to be woken up
  /// otherwise.
  std::atomic<bool> cancelled{false};

  Result<> check() const {
    if (cancelled) return fail(Code::cancelled, "cancelled");
    return {};
  }
};

}  // namespace ferry::archive
