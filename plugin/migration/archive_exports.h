#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_mutex.h"
#include "migration/archive_export_job.h"
#include "migration/archive_store.h"
#include "migration/job_table.h"
#include "migration/options.h"
#include "migration/sources.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// The tickets of this host that write a volume into an archive. Thread-safe.
class ArchiveExports {
 public:
  /// The references must outlive this object.
  ArchiveExports(volumes::Catalogue& catalogue, const ArchiveStore& store, const Sources& sources)
      : catalogue_(catalogue), store_(store), sources_(sources) {}
  ~ArchiveExports() { abandon_all(); }

  /// Begins those anew that a restart interrupted. To be called before volumes are served.
  void resume();

  /// Checks within 5 s all that can be known at once, adds the ticket in State::importing and starts it.
  Result<> begin(const std::string& name, const ArchiveExportRequest& request);

  /// Before its record is removed: of an archive that is not complete nothing is left, if its place can be reached.
  Result<> cancel(const std::string& name);
  void abandon_all() { jobs_.abandon_all(); }

  nlohmann::json status(const volumes::VolumeRecord& ticket) const { return jobs_.status(ticket); }  ///< all of it

 private:
  void start(const std::string& name, const std::string& id, const ArchiveExportRequest& request,
             std::unique_ptr<ArchiveOutput> output = nullptr);
  Result<std::unique_ptr<ArchiveOutput>> find_place(const ArchiveExportRequest& request, const std::string& id,
                                                    Deadline deadline) const;

  volumes::Catalogue& catalogue_;
  const ArchiveStore& store_;
  const Sources& sources_;
  KeyedMutex names_;  // held while one is cancelled
  JobTable<ArchiveExportJob> jobs_;
};

}  // namespace ferry::migration
