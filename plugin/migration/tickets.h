#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/keyed_mutex.h"
#include "engine/client.h"
#include "migration/hand_offs.h"
#include "migration/imports.h"
#include "migration/ticket_job.h"
#include "volumes/mounts.h"

namespace ferry::migration {

/// The tickets of this host: names that stand for migrations of several volumes. Thread-safe.
class Tickets {
 public:
  struct Parts {  ///< all must outlive this object
    volumes::Catalogue& catalogue;
    PeerFactory& peers;
    Imports& imports;
    const volumes::Mounts& mounts;
    engine::Client& client;
    HandOffs& hand_offs;
    std::uint16_t port;               ///< on which peers reach this host; 0: none
    std::function<void()> committed;  ///< volumes have labels to be registered, or left something to the trash
    TicketPauses pauses{};
    const Sources* sources = nullptr;                              ///< needed for services
    std::function<void(const std::string& container)> returned{};  ///< see ServiceEnd
  };
  explicit Tickets(Parts parts) : parts_(std::move(parts)) {}

  /// Carries on those that a restart interrupted. To be called before volumes are served: from then on it holds theirs.
  void resume();

  /// Checks within 5 s (of a peer's export: 3.5 s, since somebody waits for that) all that can be known at once, adds
  /// the ticket in State::importing and starts it.
  Result<> begin(const std::string& name, const TicketRequest& request);
  /// A ticket for `volume`'s import, which has failed, to be started again.
  Result<> begin_retry(const std::string& name, const std::string& volume);

  /// A ticket that brings back a volume that was handed off. `reclaim.peer`: where it is, if that is not known here.
  Result<> begin_reclaim(const std::string& name, const ReclaimRequest& reclaim);

  /// What a ticket brings that only waits for the source to hand it off.
  struct Waiting {
    transport::PeerAddress peer;
    std::string peer_uuid;
    std::string hand_off;
    std::vector<HandOffRequest::Volume> volumes;
  };
  /// Of the ticket that holds the volume, if that waits so.
  std::optional<Waiting> waiting_for_source(const std::string& volume) const;
  /// Has that ticket wait no longer, if it is of that hand-off: its volumes become this host's.
  void take_by_force(const std::string& volume, const std::string& hand_off);

  /// Of a service: makes a plain volume for the ticket, as create_volume() does, of which the content does not matter.
  Result<> make_volume(const std::string& ticket, volumes::VolumeRecord record) {
    FERRY_TRY(driver_of(ticket));  // without the Engine no container can be made with it
    return create_volume(ticket, std::move(record));
  }
  /// Whether running containers have it, see TicketJob::Environment.
  Result<engine::Mounted> is_mounted(const std::string& volume) const;
  /// The name that the Engine has for Ferry, see create_volume().
  Result<std::string> driver_of(const std::string& ticket) const;
  /// Of a service, once its container is made: the ticket is one that brings its volumes from now on. A volume without
  /// an action is one that was there before. `status`: what Status has said up to now.
  Result<> carry_on(const std::string& name, TicketPlan plan, const nlohmann::json& status);

  /// Of a service that had left: `plan` is as for carry_on(), without a hand-off.
  Result<> begin_return(const std::string& name, TicketPlan plan);

  /// Of a ticket of HandOffs: if the destination has the volumes, and only did not say so, the hand-off is over.
  void confirm_hand_off(const std::string& ticket);

  /// Before its record is removed. One that runs is cancelled: its new volumes go, and those to be updated stay what
  /// they were. Code::busy: it is decided already that they become what has come.
  Result<> cancel(const std::string& name);
  void abandon_all();

  /// To be asked first by every Create: whether the Engine passes on what a ticket has asked it for, and then whether
  /// the volume could be made. See create_volume().
  std::optional<Result<>> create_expected(const std::string& name);

  /// The running ticket that makes or changes the volume; empty: none.
  std::string holder(const std::string& volume) const;
  /// Waits until no ticket holds the volume; an error with percent and ETA if one still does at the deadline.
  Result<> wait(const std::string& volume, Deadline deadline) const;

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< a ticket's whole Status
  /// The `migration` of a volume that a running ticket holds; null if none does.
  nlohmann::json volume_status(const std::string& volume) const;

 private:
  using Job = std::shared_ptr<TicketJob>;
  Job holder_job(const std::string& volume) const;
  Result<TicketPlan> check(const TicketRequest& request) const;
  Result<std::vector<VolumeDescription>> describe_all(const TicketRequest& request, Peer& peer,
                                                      Deadline deadline) const;
  tl::unexpected<Error> refuse_itself(const TicketPlan& plan, const std::string& volume) const;
  Result<std::string> choose_action(const TicketPlan& plan, const TicketVolume& volume) const;
  Result<std::string> take_over(const TicketPlan& plan, const TicketVolume& volume,
                                const volumes::VolumeRecord& record) const;
  Result<> check_held(const TicketPlan& plan, Deadline deadline) const;
  Result<> check_undecided(const std::string& name) const;
  Result<> check_room(const TicketPlan& plan) const;
  nlohmann::json retry_status(const volumes::VolumeRecord& ticket) const;
  Job add(const std::string& name, TicketPlan plan);
  void start(const std::string& name, TicketPlan plan) { add(name, std::move(plan))->start(); }
  void drop(const std::string& name);
  Result<> complete(TicketPlan& plan) const;
  Result<> create_volume(const std::string& ticket, volumes::VolumeRecord record);

  const Parts parts_;
  std::mutex beginning_;
  KeyedMutex names_;  // held while one is cancelled
  mutable std::mutex mutex_;
  std::map<std::string, Job> jobs_;                        // protected by mutex_: running and ended ones
  std::map<std::string, volumes::VolumeRecord> expected_;  // protected by mutex_: what the Engine is asked to create
};

}  // namespace ferry::migration
