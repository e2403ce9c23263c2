#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_mutex.h"
#include "migration/archive_store.h"
#include "migration/options.h"
#include "migration/sources.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

class ArchiveExportJob;

/// The tickets of this host that write a volume into an archive. Thread-safe.
class ArchiveExports {
 public:
  /// The references must outlive this object.
  ArchiveExports(volumes::Catalogue& catalogue, const ArchiveStore& store, const Sources& sources)
      : catalogue_(catalogue), store_(store), sources_(sources) {}
  ~ArchiveExports();

  /// Whether the ticket is such an export's.
  static bool is_one(const volumes::VolumeRecord& ticket);

  /// Begins those anew that a restart interrupted. To be called before volumes are served.
  void resume();

  /// Checks within 5 s all that can be known at once, adds the ticket in State::importing and starts it.
  Result<> begin(const std::string& name, const ArchiveExportRequest& request);

  /// Before its record is removed: of an archive that is not complete nothing is left, if its place can be reached.
  Result<> cancel(const std::string& name);
  void abandon_all();

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< its whole Status

 private:
  using Job = std::shared_ptr<ArchiveExportJob>;
  Job find(const std::string& name) const;
  void start(const std::string& name, const std::string& id, const ArchiveExportRequest& request);

  volumes::Catalogue& catalogue_;
  const ArchiveStore& store_;
  const Sources& sources_;
  KeyedMutex names_;  // held while one is cancelled
  mutable std::mutex mutex_;
  bool stopping_ = false;            // protected by mutex_
  std::map<std::string, Job> jobs_;  // protected by mutex_: running and ended ones
};

}  // namespace ferry::migration
