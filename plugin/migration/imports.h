#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "migration/archive_store.h"
#include "migration/import_job.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// Bytes that are free in the file system of a directory.
Result<std::uint64_t> free_bytes(const std::filesystem::path& directory);

/// Code::no_space unless the file system of `directory` has so many bytes free.
Result<> check_room(const std::filesystem::path& directory, std::uint64_t bytes);

/// The imports of this host: checks them, starts them, carries on those that a restart interrupted. Thread-safe.
class Imports {
 public:
  /// The references must outlive this object.
  Imports(volumes::Catalogue& catalogue, PeerFactory& peers, const ArchiveStore& archives)
      : catalogue_(catalogue), peers_(peers), archives_(archives) {}

  /// Carries on every import that the catalogue has as State::importing.
  void resume();

  /// Checks within 5 s all that can be known at once, adds the volume in State::importing and starts the import.
  Result<> begin(const std::string& name, const CreateRequest& request);
  /// Whether the volume is imported from an archive: what has come of it is of no use to another import.
  static bool is_of_archive(const volumes::VolumeRecord& record);
  /// The same from an archive. Of a foreign one labels and options are not known, and its mode is rw.
  Result<> begin_from_archive(const std::string& name, const CreateRequest& request);

  /// Starts an import that has failed again, as it was asked for, after the checks of begin(). Code::not_found or
  /// invalid_argument: there is none.
  Result<> restart(const std::string& name);

  /// Ends the import without an outcome, if one runs. What it has written stays.
  void abandon(const std::string& name);
  void abandon_all();

  /// Waits for a running import until the deadline; an error with percent and ETA if it has not ended by then.
  Result<> wait(const std::string& name, Deadline deadline) const;

  /// The running import's part of Status; null if none runs.
  nlohmann::json status(const std::string& name) const;

 private:
  using Job = std::shared_ptr<ImportJob>;
  Job find(const std::string& name) const;
  void start(const std::string& name, const ImportRequest& request);
  void start(const std::string& name, const ArchiveImportRequest& request);
  void add(const std::string& name, Job job);
  Result<volumes::VolumeRecord> look_into(const std::string& name, ArchiveImportRequest& request) const;
  struct Checked {
    VolumeDescription source;
    std::string peer_uuid;
  };
  Result<Checked> check(const std::string& name, const ImportRequest& request, Peer& peer) const;
  Result<> restart_from_archive(const volumes::VolumeRecord& failed);
  Result<> resume_from_archive(const volumes::VolumeRecord& record);
  void discount(const std::string& name);
  Result<std::string> find_orphan(const volumes::VolumeRecord& record) const;

  volumes::Catalogue& catalogue_;
  PeerFactory& peers_;
  const ArchiveStore& archives_;
  std::mutex restarting_;
  mutable std::mutex mutex_;
  std::map<std::string, Job> jobs_;  // protected by mutex_: running and ended ones
};

}  // namespace ferry::migration
