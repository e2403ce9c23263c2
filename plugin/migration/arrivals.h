#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "base/keyed_mutex.h"
#include "base/result.h"
#include "migration/options.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// The exports of other hosts to this one, each by its ID: a ticket of this host carries it out, as it would an import
/// of volumes or of a service, and can be seen and cancelled here too. Thread-safe.
class Arrivals {
 public:
  /// What a user's own create and remove of a ticket would do.
  struct Actions {
    std::function<Result<>(const std::string& ticket, const TicketRequest& request)> begin;
    std::function<Result<>(const std::string& ticket)> remove;
    std::function<nlohmann::json(const volumes::VolumeRecord& ticket)> status;  ///< all of it
  };

  /// All must outlive this object.
  Arrivals(const volumes::Catalogue& catalogue, Actions actions)
      : catalogue_(catalogue), actions_(std::move(actions)) {}

  /// Does nothing if it has been begun already. The error is what a user's own ticket would be refused for;
  /// Code::not_found: it was ended before.
  Result<> begin(const std::string& id, const TicketRequest& request);

  /// The ticket's Status; Code::not_found: there is none (any more).
  Result<nlohmann::json> status(const std::string& id) const;

  /// Cancels it, or forgets one that has ended; a begin() that comes later does nothing. Code::busy: it is decided that
  /// the volumes become what has come.
  Result<> end(const std::string& id);

  static std::string ticket_of(const std::string& id);

 private:
  volumes::Catalogue::Snapshot find(const std::string& id) const;
  bool has_ended(const std::string& id) const;

  const volumes::Catalogue& catalogue_;
  const Actions actions_;
  KeyedMutex ids_;  // held while one is begun or ended
  mutable std::mutex mutex_;
  std::deque<std::string> ended_;  // protected by mutex_; the last ones
};

}  // namespace ferry::migration
