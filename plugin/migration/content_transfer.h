#pragma once

#include <atomic>
#include <nlohmann/json.hpp>

#include "base/result.h"
#include "sync/receiver.h"

namespace ferry::migration {

/// What has come, and is complete and durable in staging.
struct Brought {
  sync::Receipt receipt;
  bool verified = true;  ///< by digests of who sent it: foreign archives have none
};

/// Brings the content of a volume from wherever it is, for as long as that takes. Thread-safe.
class ContentTransfer {
 public:
  virtual ~ContentTransfer() = default;

  /// Until everything is there, or it fails for a reason that stays (Code::cancelled: cancel()). Called once at a time.
  virtual Result<Brought> run() = 0;

  /// Makes run() end soon. Does not wait.
  virtual void cancel() = 0;
  virtual const std::atomic<bool>& cancelled() const = 0;

  /// What comes after run(), see `phase` in docs/status.md. A literal.
  virtual void set_phase(const char* phase) = 0;

  /// The members of `migration` in Status that change while it runs.
  virtual nlohmann::json status() const = 0;
};

}  // namespace ferry::migration
