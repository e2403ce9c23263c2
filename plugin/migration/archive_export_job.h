#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "archive/archive_writer.h"
#include "archive/progress.h"
#include "base/time.h"
#include "migration/archive_store.h"
#include "migration/meter.h"
#include "migration/options.h"
#include "migration/sources.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// What Status shows of an export to an archive that has just been asked for.
nlohmann::json new_archive_export_status(const ArchiveExportRequest& request);

/// Writes a volume into an archive, in a thread of its own, and from the beginning again whenever its place was lost;
/// then writes the outcome into the ticket's record. Thread-safe.
class ArchiveExportJob {
 public:
  /// The ticket's record must be in the catalogue, in State::importing. The references must outlive this object. `id`:
  /// see ArchiveStore::create. `output` is what the first attempt writes to, unless it takes a while until then; none:
  /// it makes one, as all others do.
  ArchiveExportJob(volumes::Catalogue& catalogue, const ArchiveStore& store, const Sources& sources, std::string name,
                   std::string id, ArchiveExportRequest request, std::unique_ptr<ArchiveOutput> output = nullptr);
  ArchiveExportJob(const ArchiveExportJob&) = delete;
  ArchiveExportJob& operator=(const ArchiveExportJob&) = delete;
  ~ArchiveExportJob() { abandon(); }

  /// Once; does nothing after abandon().
  void start();
  /// Ends it without an outcome, so that a later process begins anew. stop_soon() only begins to.
  void stop_soon();
  void abandon();

  nlohmann::json status() const;  ///< all of the ticket's Status

 private:
  class Output;
  void run();
  Result<nlohmann::json> write_until_done();
  Result<nlohmann::json> attempt();
  Result<VolumeDescription> describe();
  Result<nlohmann::json> outcome_of(const VolumeDescription& description, const archive::Written& written,
                                    const sync::Seal& seal);
  Result<bool> has_finished();
  Result<> store_finishing(nlohmann::json outcome);
  void end(const Result<nlohmann::json>& outcome);
  bool pause(std::chrono::milliseconds duration);
  void note(const Error& error);
  std::unique_ptr<ArchiveOutput> take_first_output();
  std::shared_ptr<ArchiveOutput> set_output(std::shared_ptr<ArchiveOutput> output);
  nlohmann::json status_locked() const;

  volumes::Catalogue& catalogue_;
  const ArchiveStore& store_;
  const Sources& sources_;
  const std::string name_;
  const std::string id_;
  const ArchiveExportRequest request_;
  const nlohmann::json first_;                   // Status when it was asked for
  std::unique_ptr<ArchiveOutput> first_output_;  // of the thread, once there is one
  const Deadline first_output_ends_;             // then it may have been idle for too long
  archive::Progress progress_;
  Meter meter_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<ArchiveOutput> output_;  // protected by mutex_, as are the following: while it is written
  SteadyClock::time_point content_began_;  // of this attempt
  std::string trouble_;                    // why the last attempt failed, while the next runs
  nlohmann::json outcome_ = nullptr;       // the final Status
  nlohmann::json finishing_;               // of the thread: the outcome, once all is written; as in the record
  int changes_ = 0;                        // of the thread: how often the volume changed while it was read
  const Deadline labels_deadline_;
  std::mutex thread_mutex_;
  std::thread thread_;  // protected by thread_mutex_
};

}  // namespace ferry::migration
