#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>

#include "base/result.h"
#include "engine/client.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// Makes the Engine show the labels and options of imported volumes. Labels never reach a plugin, and the Engine cannot
/// change them after `create`, so a volume with `labels_pending` is registered anew: its wanted labels and options are
/// written durably (VolumeRecord::reregistration), then DELETE, which the driver answers without deleting anything
/// while that record exists, then POST /volumes/create, for which the Engine finds the volume there already and just
/// records what it is given. A crash at any point is carried on from the record. Labels given with the user's own
/// create win. A volume of the same name that the Engine has on another driver is left alone.
///
/// Works in a thread of its own, over every volume with labels_pending or a reregistration; thread-safe.
class LabelKeeper {
 public:
  /// The references must outlive this object.
  LabelKeeper(volumes::Catalogue& catalogue, engine::Client& client);
  ~LabelKeeper();

  void start();
  void stop();

  /// Looks for work now: after a create, and when containers that kept a volume referenced may have gone.
  void wake();

  /// Whether a Remove of the volume, which is just being answered, is the one that a DELETE of the keeper leads to: the
  /// first during that DELETE, or any after a DELETE whose answer never came (an end of either process, a timeout),
  /// because the Engine may carry that out late, until a later DELETE is answered: the Engine does those of one volume
  /// in turn. Such a Remove must delete nothing. Where the Engine then says that it has refused the only DELETE,
  /// the Remove was the user's after all, and the keeper has the volume removed again, unless a container has it by
  /// then; a create of that name within these milliseconds would not have become a new volume, and goes with it.
  bool is_own_remove(const std::string& name);

  /// Whether a Create of the volume is what the keeper's POST leads to. The volume is there unless the user has removed
  /// it at that moment; then it must not come back empty. A Create that asks for an import never is one.
  bool is_own_create(const std::string& name) const;

  /// The labels that the Engine shall show: the source's, and those that the user gave; `shown` are both, as of before.
  static volumes::StringMap wanted_labels(const volumes::VolumeRecord& record, const volumes::StringMap& shown);
  /// The options that the Engine shall show: the source's, and what the user gave that is not Ferry's own.
  static volumes::StringMap wanted_options(const volumes::VolumeRecord& record, const volumes::StringMap& shown);

 private:
  /// `blocked`: a container refers to the volume, or another volume has its name; to be tried again when that changes.
  enum class Outcome { done, later, blocked };
  void run();
  bool settle_all();
  void tell(const std::string& name, const Error& error);
  Result<Outcome> settle(const std::string& name);
  Result<> arm(const std::string& name, const volumes::Reregistration& wanted);
  Result<Outcome> disarm(const std::string& name);
  Result<Outcome> reregister(const std::string& name, const volumes::Reregistration& wanted);
  Result<std::optional<engine::Volume>> shown(const std::string& name, const volumes::VolumeRecord& record);
  Result<> remove(const std::string& name);
  Result<engine::Volume> create(const std::string& name, const volumes::Reregistration& wanted);

  volumes::Catalogue& catalogue_;
  engine::Client& client_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::string> unanswered_;         // protected by mutex_: volumes with a DELETE whose answer has not come
  std::string removing_;                     // protected by mutex_: the volume whose DELETE's Remove has not come yet
  std::string creating_;                     // protected by mutex_: the volume whose POST is under way
  bool stopping_ = false;                    // protected by mutex_
  bool wanted_ = true;                       // protected by mutex_
  std::map<std::string, std::string> told_;  // by volume: the last trouble; of the thread alone
  std::thread thread_;
};

}  // namespace ferry::migration
