#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/periodic.h"
#include "engine/interrupt.h"
#include "migration/container_holds.h"
#include "migration/hand_offs.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// The source's end of moves of whole services: what HandOffs does for volumes, with a container that does not run
/// meanwhile. A ticket of this host keeps how the container was before, from before it is stopped until it runs again
/// or its user removes the ticket; what becomes of it follows from the hand-off of that ID, which alone decides:
///
///     held, given, left       the container stays stopped
///     none, or ended          it is brought back to what it was, as often as it takes, and the ticket goes
///
/// Whoever asks for a hold has to be heard again within `longest_silence`, else it ends. Thread-safe.
class ServiceDepartures {
 public:
  struct Parts {  ///< all must outlive this object
    volumes::Catalogue& catalogue;
    HandOffs& hand_offs;
    const ContainerHolds& containers;
    std::function<void()> created;                              ///< a ticket
    std::function<Result<>(const std::string& ticket)> remove;  ///< from the catalogue
    std::chrono::milliseconds longest_silence{5000};
    std::chrono::milliseconds look{1000};  ///< how often it looks what is to be brought back
  };
  explicit ServiceDepartures(Parts parts) : parts_(std::move(parts)) { read_unwanted(); }
  ~ServiceDepartures() { stop(); }

  static std::string ticket_of(const std::string& id);

  /// Begins to bring containers back. Once, after HandOffs::resume().
  void start();
  /// For good: what is under way ends with Code::cancelled, and another process carries on.
  void stop();

  /// HandOffs::hold with a container, `request.container`, which is stopped first. Code::unavailable: it is still being
  /// stopped; Code::denied: it comes after one that this host's user has ended; beside HandOffs' errors those of
  /// ContainerHolds::note.
  Result<hand_off::Answer> hold(const std::string& id, const HandOffRequest& request);
  /// HandOffs::ask. A container that somebody has started ends the hand-off instead of its commit.
  Result<hand_off::Answer> ask(const std::string& id, hand_off::Request request);
  /// Whether the destination of that export may ask for the hand-off of that ID, which another one must not have.
  bool is_of_export(const std::string& id, const std::string& export_id) const;
  /// Takes back what that export hands off, and refuses what may still be asked for. Code::busy as of cancel().
  Result<> cancel_export(const std::string& id);
  /// Code::busy or unavailable: the container `name` of that ID is being handed off, or was; its ticket says so.
  Result<> check_departure(const std::string& container, const std::string& name) const;
  /// What has left by a ticket, of this kind or one that has exported it.
  struct Departed {
    std::string ticket;
    std::string id;  ///< of the hand-off
    HeldContainer container;
    std::string as;     ///< what it is called at the destination
    bool layer = true;  ///< its layer went along
    std::string to;     ///< the destination, for people
    std::string uuid;
    std::optional<transport::PeerAddress> peer;
    std::vector<HandOffRequest::Volume> volumes;
    std::int64_t stopped_ns = 0;  ///< realtime_ns() once the container did not run any more
  };
  /// Code::not_found: there is no such ticket; busy: it has not left yet; unsupported: by an earlier version, which has
  /// not kept what is needed.
  Result<Departed> departed(const std::string& ticket) const;
  /// See ContainerHolds.
  Result<bool> is_held(const HeldContainer& container) const { return parts_.containers.is_held(container); }
  /// The container is this host's again: the ticket of its departure goes.
  void forget(const std::string& container) const;
  /// Whether there is a container in the hand-off of that ID.
  bool has(const std::string& id) const { return parts_.catalogue.find(ticket_of(id)) != nullptr; }

  /// Before its ticket is removed by the user: takes the service back, if that is still possible. Code::busy: it is the
  /// destination's already, which has not confirmed yet; or the container is not back yet.
  Result<> cancel(const std::string& ticket);

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< its whole Status

 private:
  class Busy;
  Result<HeldContainer> note(const std::string& id, const HandOffRequest& request, ContainerHolds::Claim& claim);
  void look();
  void end_if_silent(const volumes::VolumeRecord& ticket);
  void look_at(const volumes::VolumeRecord& ticket);
  Result<> bring_back(const volumes::VolumeRecord& ticket);
  void note_unwanted(const std::string& id);
  void read_unwanted();
  bool is_unwanted(const std::string& id) const;
  void set_trouble(const std::string& id, const std::string& text);

  const Parts parts_;
  engine::Interrupt stopping_;
  std::mutex storing_;  // locked before mutex_
  mutable std::mutex mutex_;
  std::set<std::string> busy_;  // protected by mutex_: IDs of which something is under way
  std::deque<std::string>
      unwanted_;  // protected by mutex_: IDs that this host's user has ended, the last ones; on disk
  std::map<std::string, std::string> trouble_;  // protected by mutex_: by ID, why a container is not back yet
  std::unique_ptr<Periodic> looking_;           // last: it uses the others
};

}  // namespace ferry::migration
