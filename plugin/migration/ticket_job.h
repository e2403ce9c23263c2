#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/periodic.h"
#include "base/time.h"
#include "engine/ledger.h"
#include "migration/hand_off_client.h"
#include "migration/peer.h"
#include "migration/service_end.h"
#include "migration/service_steps.h"
#include "migration/ticket_commit.h"
#include "migration/transfer.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

class FrozenCopy;

/// How long a ticket waits before it tries once more.
struct TicketPauses {
  std::chrono::milliseconds question{1000};   ///< to ask the source of a hand-off
  std::chrono::milliseconds trouble{5000};    ///< because of something of this host, such as a full disk
  std::chrono::milliseconds heartbeat{1000};  ///< for the source of a service to know that it is still wanted
  std::chrono::milliseconds health{500};      ///< to look at a container's health
};

/// Carries out a ticket: brings all of its volumes' content, one after the other, in a thread of its own, then decides
/// by one durable write of the ticket's record that they become so, and makes them so, all or none. Thread-safe.
class TicketJob {
 public:
  /// `mounted` tells whether running containers have a volume of this host: unknown if there is no Engine to ask, an
  /// error if it does not answer now. `create` makes an importing one, and `committed` is called when volumes have
  /// become what they are. The references must outlive this object.
  struct Environment {
    volumes::Catalogue& catalogue;
    std::function<Result<engine::Mounted>(const std::string& volume)> mounted;
    std::function<Result<>(volumes::VolumeRecord record)> create;
    std::function<void()> committed;
    std::function<std::string(const std::string& volume)> departing;  ///< the ticket of a hand-off of it; empty: none
    std::function<Result<FenceAnswer>(const FenceRequest& request)> fence;  ///< of a volume of this host
    std::uint16_t port = 0;                                                 ///< on which peers reach this host; 0: none
    TicketPauses pauses{};
    /// The end of a service here, of a plan that has one.
    std::function<std::unique_ptr<ServiceEnd>(const TicketPlan& plan)> service{};
    std::function<std::shared_ptr<Peer>()> another_peer{};  ///< a connection of its own to the same one
  };

  /// The ticket's record must be in the catalogue, in State::importing. From now on it holds its volumes.
  TicketJob(Environment environment, std::string name, TicketPlan plan, std::shared_ptr<Peer> peer);
  ~TicketJob();

  /// Once.
  void start();

  const std::string& name() const { return name_; }
  bool is_move() const { return plan().is_move(); }
  bool is_service() const { return service_ != nullptr; }
  const transport::PeerAddress& peer() const { return plan().request.peer; }
  /// Whether the volume is one that it makes or changes (a dry run does neither), and that is still to be done.
  bool holds(const std::string& volume) const;
  /// Until it has ended or the deadline has passed; true in the first case.
  bool wait(Deadline deadline) const;
  /// Whether the volumes become what has come, whatever happens.
  bool is_decided() const { return decided_; }
  /// Of a hand-off: whether they are what has come, and only the source has to be told.
  bool is_owner() const { return owned_; }
  /// Whether it has ended as done or failed.
  bool has_outcome() const;

  /// Of a hand-off: whether everything is here, and only the source's word is missing.
  bool waits_for_source() const { return prepared_ && !decided_; }
  std::string hand_off() const { return hand_off_.id(); }
  const std::string& peer_uuid() const { return plan().peer_uuid; }
  std::string trouble() const { return trouble_.text(); }  ///< what it waits for, beside the peer; empty: nothing
  const std::vector<HandOffRequest::Volume>& handed_off_volumes() const { return hand_off_.request().volumes; }
  /// If it waits so: does so no longer.
  void take_by_force();

  /// Ends it without an outcome, so that a later process carries on. cancel() only begins to.
  void cancel();
  void abandon();

  /// Of a hand-off that is not decided, after abandon(): see HandOffClient.
  Result<bool> withdraw(Peer& peer) { return hand_off_.withdraw(peer); }
  /// Of a hand-off, as the owner of its volumes and after abandon(): see HandOffClient.
  void confirm(Peer& peer) { hand_off_.confirm(peer); }

  /// Takes back what was done for volumes of which nothing is decided; to be called after abandon().
  Result<> undo();

  nlohmann::json status() const;                                  ///< all of the ticket's Status
  nlohmann::json volume_status(const std::string& volume) const;  ///< the `migration` of a volume that it makes

 private:
  struct Item {
    TicketVolume volume;
    std::optional<sync::UpdateOf> update;
    std::unique_ptr<Transfer> transfer;
    std::shared_ptr<const sync::Version> before;  // that its plan is for; none if nothing is overwritten
    bool mounts_unknown = false;                  // nobody could be asked
    nlohmann::json outcome = nullptr;             // protected by mutex_: of its transfer
    const char* state = "waiting";                // protected by mutex_
  };

  const TicketPlan& plan() const { return commit_.plan(); }
  void run();
  Result<> transfer_all();
  Result<> bring();
  Result<> receive();
  Result<> receive_round();
  Result<> estimate_all();
  Result<nlohmann::json> estimate(Item& item);
  Result<> prepare_all();
  Result<> transfer(Item& item);
  Result<> check_unmounted();
  Result<engine::Mounted> ask_mounted(const std::string& volume);
  Result<bool> has_stayed(unsigned attempt);
  Result<> decide(nlohmann::json outcomes);
  Result<> commit();
  Result<> hold_source();
  Result<> bring_live();
  Result<> bring_live_round(const char* volumes_step, const char* layer_step);
  std::uint64_t bytes_sent() const;
  void note_round(SteadyClock::time_point began, Rounds::Writes writes);
  void cancel_transfers();
  Result<> begin_last_round();
  void begin_round(Freeze freeze, const std::string& frozen = "");
  bool freezes() const;
  Result<> transfer_frozen();
  void beat();
  void stop_heart();
  Result<bool> was_lost();
  Result<> undo_service(const Error& why);
  tl::unexpected<Error> not_given() const;
  Result<> begin_again();
  Result<> complete_service();
  Result<> run_service();
  void note_running(const std::string& warning);
  Result<> finish();
  Result<> be_prepared();
  Result<> give();
  Result<> be_owner();
  Result<> tell_owner();
  Result<> fence(const TicketVolume& volume);
  nlohmann::json outcomes() const;
  Result<> while_unavailable(const std::function<Result<>()>& action);
  Result<> until_done(const std::function<Result<>()>& action);
  Result<> wait_because(const Error& error);
  void end(const char* state, const Error* error);
  nlohmann::json item_status(const Item& item) const;
  nlohmann::json status_locked() const;
  void add_pieces(nlohmann::json& migration, nlohmann::json& volumes) const;
  bool is_active() const;  // with mutex_ held
  void set_state(Item& item, const char* state);
  void set_step(const char* step);
  std::unique_ptr<Transfer> make_transfer(const Item& item, Freeze freeze, const std::string& frozen = "") const;

  const Environment environment_;
  const std::string name_;
  TicketCommit commit_;  // of the thread, but for what of its plan is constant
  const std::string peer_text_;
  const nlohmann::json base_;
  const std::shared_ptr<Peer> peer_;
  std::shared_ptr<Peer>
      content_peer_;  // that content comes from; of a service, where it may be broken off, one of its own
  std::vector<Item> items_;
  std::atomic<bool> cancelled_{false};
  Trouble trouble_;     // what it waits for, beside the peer
  const bool resumed_;  // decided by an earlier process
  HandOffClient hand_off_;
  std::unique_ptr<ServiceEnd> service_;      // none: only volumes come
  std::shared_ptr<Peer> heart_peer_;         // of the following; protected by mutex_ but for the thread
  std::unique_ptr<Periodic> heart_;          // while the source holds a container
  SteadyClock::time_point hold_began_{};     // of the thread: when the source was first asked to stop its service
  std::atomic<bool> lost_{false};            // it does so no longer
  std::shared_ptr<FrozenCopy> frozen_copy_;  // protected by mutex_: of volumes that are in use
  std::atomic<bool> decided_;
  std::atomic<bool> prepared_;        // of a hand-off: only the source knows whether it is decided
  std::atomic<bool> owned_;           // of a hand-off: everything is in its place here, only the source has to be told
  std::atomic<bool> unclear_{false};  // its record on disk may say that it is decided
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool ended_ = false;                       // protected by mutex_
  nlohmann::json outcome_ = nullptr;         // protected by mutex_: the final Status
  bool has_failed_ = false;                  // protected by mutex_: and that will say so
  ServiceSteps steps_;                       // protected by mutex_: of a service
  Rounds rounds_;                            // protected by mutex_: of a service
  std::optional<std::int64_t> downtime_ms_;  // protected by mutex_: of a service
  std::string service_warning_;              // protected by mutex_
  std::mutex thread_mutex_;
  std::thread thread_;  // protected by thread_mutex_
};

}  // namespace ferry::migration
