#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "archive/progress.h"
#include "base/time.h"
#include "migration/archive_store.h"
#include "migration/content_transfer.h"
#include "migration/meter.h"
#include "migration/options.h"
#include "volumes/layout.h"

namespace ferry::migration {

/// Extracts an archive into the staging of a new volume: from its beginning each time, since it is one compressed
/// stream. Thread-safe.
class ArchiveTransfer final : public ContentTransfer {
 public:
  /// The limit counts bytes of the archive. The references must outlive this object.
  ArchiveTransfer(const volumes::Layout& layout, const ArchiveStore& store, std::string name,
                  ArchiveImportRequest request);

  Result<Brought> run() override;
  void cancel() override;
  const std::atomic<bool>& cancelled() const override { return progress_.cancelled; }
  void set_phase(const char* phase) override { phase_ = phase; }
  nlohmann::json status() const override;

 private:
  Result<Brought> attempt();
  bool pause(std::chrono::milliseconds duration);
  void note(const Error& error);
  std::shared_ptr<ArchiveInput> set_input(std::shared_ptr<ArchiveInput> input);
  Result<> empty_staging();

  const volumes::Layout& layout_;
  const ArchiveStore& store_;
  const std::string name_;
  const ArchiveImportRequest request_;
  archive::Progress progress_;
  Meter meter_;
  std::atomic<const char*> phase_{"connecting"};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<ArchiveInput> input_;    // protected by mutex_, as are the following: while it is read
  std::string trouble_;                    // why the last attempt failed, while the next runs
  SteadyClock::time_point content_began_;  // of this attempt
};

}  // namespace ferry::migration
