#pragma once

#include <filesystem>
#include <functional>
#include <mutex>
#include <string>

#include "base/result.h"
#include "volumes/catalogue.h"
#include "volumes/marker.h"

namespace ferry::volumes {

/// Keeps the marker in the propagated mount while the catalogue has volumes, and none while it is empty: a fresh
/// installation may be given another data source, one with volumes may not silently lose it. Thread-safe.
class MarkerKeeper {
 public:
  /// `catalogue` must outlive this object.
  MarkerKeeper(std::filesystem::path propagated, const Catalogue& catalogue)
      : propagated_(std::move(propagated)), catalogue_(catalogue) {}

  /// To be called at the start and after each create; costs next to nothing when nothing changes.
  Result<> update();

  /// Calls `remove`, which removes a volume, and passes on what it returns. The marker goes before the last volume
  /// does: one beside no volume at all means that volumes are missing.
  Result<> remove(const std::function<Result<>()>& remove);

  /// The host path of the data source, as soon as the Engine can be asked for it.
  Result<> set_source(const std::string& source);

 private:
  Result<> update_locked();
  Result<> take_away();
  Result<> write();

  const std::filesystem::path propagated_;
  const Catalogue& catalogue_;
  std::mutex mutex_;
  std::string source_;    // protected by mutex_; empty: not known
  bool written_ = false;  // protected by mutex_
};

}  // namespace ferry::volumes
