#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/time.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "migration/transfer.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

nlohmann::json to_json(const ImportRequest& request);
/// What Status shows of a migration that has just been asked for.
nlohmann::json new_import_status(const ImportRequest& request);
nlohmann::json new_import_status(const std::string& from, const std::string& volume);
/// What of that the record of a volume has, so that an import that a restart interrupted keeps its id and start.
nlohmann::json kept_status(const volumes::Catalogue& catalogue, const std::string& name, nlohmann::json otherwise);
/// Of what to_json wrote; Code::corrupt otherwise.
Result<ImportRequest> import_request(const nlohmann::json& json);

/// One import: brings the volume's content in a thread of its own, however often the peer goes away meanwhile, and
/// writes the outcome into the catalogue. Thread-safe.
class ImportJob {
 public:
  /// Starts. The record of `name` must be in the catalogue, in State::importing, which the job turns into ready or
  /// failed. The reference must outlive this object.
  /// `from`: where the content comes from, for people; `status`: new_import_status or what has become of it.
  ImportJob(volumes::Catalogue& catalogue, std::string name, std::string from, nlohmann::json status,
            std::unique_ptr<ContentTransfer> transfer);
  /// As abandon().
  ~ImportJob();

  /// Begins to stop it without an outcome, so that a later process or job carries on. Does not wait.
  void cancel();
  /// As cancel(), and returns when the job's thread is gone.
  void abandon();

  /// Until the job has ended or the deadline has passed; true in the first case.
  bool wait(Deadline deadline) const;

  /// The member `migration` of Status, while it runs and after.
  nlohmann::json status() const;

 private:
  void run();
  Result<> commit(const Brought& brought);
  void fail_import(const Error& error);
  Result<> store_failure(const nlohmann::json& status);

  volumes::Catalogue& catalogue_;
  const std::string name_;
  const std::string peer_;
  const nlohmann::json base_;  // what of the status stays the same
  const std::unique_ptr<ContentTransfer> transfer_;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool ended_ = false;                // protected by mutex_
  nlohmann::json outcome_ = nullptr;  // protected by mutex_: final status
  std::thread thread_;
};

}  // namespace ferry::migration
