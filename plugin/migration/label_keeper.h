#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "base/result.h"
#include "engine/client.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// Makes the Engine show the labels and options of imported volumes. Labels never reach a plugin, and the Engine cannot
/// change them after `create`, so a volume with `labels_pending` is registered anew: its wanted labels and options are
/// written durably (VolumeRecord::reregistration), then DELETE, which the driver answers without deleting anything while
/// that record exists, then POST /volumes/create, for which the Engine finds the volume there already and just records
/// what it is given. A crash at any point is carried on from the record. Labels given with the user's own create win.
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

  /// The options that the Engine shall show: the source's, and what the user gave that is not Ferry's own.
  static volumes::StringMap wanted_options(const volumes::VolumeRecord& record, const volumes::StringMap& given);

 private:
  enum class Outcome { done, later };
  void run();
  bool settle_all();
  Result<Outcome> settle(const std::string& name);
  Result<> arm(const std::string& name, const volumes::Reregistration& wanted);
  Result<> disarm(const std::string& name, bool labels_pending);
  Result<Outcome> reregister(const std::string& name, const volumes::Reregistration& wanted);

  volumes::Catalogue& catalogue_;
  engine::Client& client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;  // protected by mutex_
  bool wanted_ = true;     // protected by mutex_
  std::thread thread_;
};

}  // namespace ferry::migration
