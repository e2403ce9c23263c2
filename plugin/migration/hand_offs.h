#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "engine/client.h"
#include "engine/tracker.h"
#include "migration/hand_off.h"
#include "migration/peer.h"
#include "migration/sources.h"
#include "volumes/catalogue.h"
#include "volumes/mounts.h"

namespace ferry::migration {

/// A request as records have it, in an object with other members; without `port`, `name`, `after` and `export_id`.
nlohmann::json to_json(const HandOffRequest& request);
/// Throws nlohmann::json::exception.
HandOffRequest hand_off_request_of(const nlohmann::json& json);

/// The hand-offs of this host's volumes to others, each by its ID, as hand_off.h has them. A ticket of this host stands
/// for one that is not over: its record is the durable state, and by removing it the user takes the volumes back.
/// Thread-safe.
class HandOffs {
 public:
  struct Parts {  ///< all must outlive this object
    volumes::Catalogue& catalogue;
    const volumes::Mounts& mounts;
    engine::Client& client;
    const engine::Tracker& tracker;
    const Sources& sources;
    std::function<void()> created;                              ///< a ticket
    std::function<Result<>(const std::string& ticket)> remove;  ///< from the catalogue
  };
  /// `longest_silence`: after which a hold of which nothing is heard ends when somebody wants to mount the volume.
  explicit HandOffs(Parts parts, std::chrono::milliseconds longest_silence = std::chrono::minutes(15))
      : parts_(std::move(parts)), longest_silence_(longest_silence) {}

  static std::string ticket_of(const std::string& id);

  /// Reads what is there. To be called before volumes are served. `holding_ticket`: which ticket makes or changes a
  /// volume here; empty: none.
  void resume(std::function<std::string(const std::string& volume)> holding_ticket);

  /// From now on the volumes cannot be mounted; within 5 s. Code::busy: a container has one of them mounted, or another
  /// ticket holds it; unsupported: without the Docker Engine's socket nobody knows; those of Sources::describe; or the
  /// volume is of another epoch.
  Result<hand_off::Answer> hold(const std::string& id, const HandOffRequest& request);

  /// `commit`, `release` or `acknowledge`. An error means that it may have happened or not.
  Result<hand_off::Answer> ask(const std::string& id, hand_off::Request request);

  /// This host's volume becomes that of a host that has taken it over by force, if its epoch is lower. Code::busy: it
  /// is being made or changed.
  Result<FenceAnswer> fence(const FenceRequest& request);

  /// A volume that was handed off by that ID is this host's again, with the next epoch. Does nothing if it was not.
  Result<> take_by_force(const std::string& volume, const std::string& id);
  /// Of one that is this host's.
  Result<> raise_epoch(const std::string& volume, std::uint64_t epoch);

  hand_off::Source state_of(const std::string& id) const;
  /// For how long nothing was heard of who has asked for it; none: nothing is held by that ID.
  std::optional<std::chrono::milliseconds> silence(const std::string& id) const;

  /// Those by which an export hands off: its own ID, and of a service those that have followed it.
  std::vector<std::string> ids_of_export(const std::string& id) const;
  /// Whether what an export hands off is the destination's.
  bool is_given(const std::string& id) const;
  /// Whether it was, and all of its volumes were taken back by force.
  bool is_taken(const std::string& id) const;

  /// Something was heard of who holds the volume.
  void heard(const std::string& volume);

  /// Why it cannot be mounted, if a hand-off holds it; one of which nothing is heard any more is ended instead.
  Result<> check_mountable(const std::string& volume);
  /// The ticket of the hand-off that holds it, empty: none.
  std::string holder(const std::string& volume) const;

  /// The volume is at the destination, for sure: the hand-off of it, if it was given, is over.
  Result<> confirm(const std::string& volume);
  /// Of a service, before it is stopped for nothing: why hold() would refuse, as far as that is known while it runs.
  Result<> check_service(const HandOffRequest& request) const;
  /// What was given by the hand-off of that ticket, and not confirmed.
  std::optional<HandOffRequest> given(const std::string& ticket) const;

  /// Before its ticket is removed by the user.
  Result<> cancel(const std::string& ticket);

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< its whole Status

 private:
  struct Open {
    HandOffRequest request;  // without what was taken back by force
    std::size_t group = 0;   // how many volumes that can be taken back there were with that
    hand_off::Source state = hand_off::Source::held;
    std::string started;
    Deadline heard;
    std::uint64_t mark = 0;  // of the tracker, when it was held; 0: by an earlier process
    std::int64_t held_ns = 0;
    bool unclear = false;  // its record on disk may say that it is given
  };
  using Request = hand_off::Request;
  using Answer = hand_off::Answer;

  bool is_all_taken(const std::string& id) const;
  Result<> check(const HandOffRequest& request) const;
  Result<> reserve(const std::string& id, const HandOffRequest& request);
  Result<> check_versions(const HandOffRequest& request) const;
  Result<> check_unheld(const HandOffRequest& request) const;
  Result<> check_unmounted(const HandOffRequest& request) const;
  Result<std::string> find_writer(const Open& open) const;
  Result<Answer> make(const std::string& id, Request request);
  std::string fenced_name(const FenceRequest& request) const;
  Result<FenceAnswer> fence_locked(const std::string& name, const FenceRequest& request);
  Result<> give(const std::string& id);
  Result<> mark_volumes(const std::string& id, const Open& open);
  Result<> mark_parts(const std::string& id, const char* how);
  Result<> forget(const std::string& id);
  Result<> drop(const std::string& id, const Open& open);
  Result<> store(const std::string& id, const Open& open);
  std::optional<Open> find(const std::string& id) const;
  void set(const std::string& id, std::optional<Open> open);
  void drop_taken(const std::string& id, Open& open) const;
  std::string holder_id(const std::string& volume) const;
  bool is_mounted(const std::string& volume) const;

  const Parts parts_;
  const std::chrono::milliseconds longest_silence_;
  std::function<std::string(const std::string& volume)> holding_ticket_;  // constant after resume()
  std::mutex changing_;                                                   // one step at a time
  mutable std::mutex mutex_;
  std::map<std::string, Open> open_;  // protected by mutex_, by ID: held and given ones
  std::deque<std::string> released_;  // protected by mutex_: the last ones
};

}  // namespace ferry::migration
