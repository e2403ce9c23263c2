#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/time.h"
#include "migration/hand_offs.h"
#include "migration/options.h"
#include "migration/peer.h"
#include "migration/tickets.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// The tickets by which this host's user takes volumes over without the word of the host that may have them: they get
/// a higher epoch and can be used at once, and that host is told, as soon as it can be reached, so that it fences its
/// own. Thread-safe.
class ForcedReclaims {
 public:
  struct Parts {  ///< all must outlive this object
    volumes::Catalogue& catalogue;
    PeerFactory& peers;
    HandOffs& hand_offs;
    Tickets& tickets;
    std::uint16_t port;  ///< on which peers reach this host; 0: none
  };
  explicit ForcedReclaims(Parts parts) : parts_(parts) {}
  ForcedReclaims(const ForcedReclaims&) = delete;
  ForcedReclaims& operator=(const ForcedReclaims&) = delete;
  ~ForcedReclaims() { stop(); }

  /// Carries on those that a restart interrupted, and begins to tell other hosts. Once.
  void start();
  /// For good.
  void stop();

  /// Takes over a volume that was handed off, or everything that a ticket of a hand-off brings which only waits for the
  /// source's word. Code::invalid_argument: there is nothing to take, or it is not known who is to be told.
  Result<> begin(const std::string& name, const ReclaimRequest& request);

  /// Before its record is removed. What was taken stays so. Code::busy, once: the other host has not been told yet, and
  /// is not told any more if this is asked again.
  Result<> cancel(const std::string& name);

  nlohmann::json status(const volumes::VolumeRecord& ticket) const;  ///< its whole Status

  /// What the host whose catalogue has that UUID has not been told yet. It is asked for when that host contacts this
  /// one.
  std::vector<FenceRequest> untold(const std::string& uuid) const;
  /// Its answer to one of these, of the volume that has that name there.
  void note(const std::string& id, const std::string& volume, const FenceAnswer& answer);

 private:
  struct Volume {
    std::string here;
    std::string there;
    std::string taken;     ///< ID of the hand-off that is undone; empty: none, or it is undone
    std::string id;        ///< 32 hex digits: of the fence
    std::string received;  ///< ID of the hand-off whose ticket brings it by force; empty: none, or it has
    bool local;            ///< there it is a volume of the local driver, which nobody can fence
  };
  struct Plan {
    transport::PeerAddress peer;
    std::string uuid;      ///< of the catalogue of the host that has to be told; empty: not known
    bool is_there = true;  ///< the host that `peer` leads to must be that one
    /// The way to that one, as this host knows it, if the user has named another; none: as `peer`, or not known.
    std::optional<transport::PeerAddress> former = {};
    std::vector<Volume> volumes;
  };
  struct Told {
    std::set<std::string> volumes;  ///< names there, of those that were answered
    std::vector<std::string> warnings;
    std::string lost;  ///< why a volume is the other host's after all; empty: none is
    void add(const Told& more);
  };
  struct Open {
    std::uint64_t number;  ///< another one for each, also of the same name
    Plan plan;
    Told told;
    Deadline due;
    std::chrono::milliseconds pause;
    std::string trouble;
    bool asked = false;     ///< to be removed
    bool answered = false;  ///< since somebody has begun to tell it
  };
  static nlohmann::json to_json(const Plan& plan);
  static Plan plan_of(const nlohmann::json& json);
  static bool is_of(const volumes::VolumeRecord& ticket, const Plan& plan);
  Result<Plan> make_plan(const ReclaimRequest& request);
  Result<> take(const Plan& plan);
  Result<bool> see_taken(const std::string& name, std::uint64_t number, Plan& plan, Told& told);
  bool is_untaken(const Plan& plan);
  Result<> check_unheld(const Volume& volume) const;
  bool is_held(const Plan& plan) const;
  void add(const std::string& name, Plan plan);
  void run();
  Result<> tell(const std::string& name, std::uint64_t number, Plan& plan, Peer& peer, Told& told);
  Open* find_open(const std::string& name, std::uint64_t number);  // with mutex_ held
  static std::string lost(const Volume& volume, const std::string& host);
  Result<> tell(const Plan& plan, const Volume& volume, Peer& peer, Told& told);
  Result<std::optional<FenceRequest>> request_of(const Volume& volume) const;
  Result<bool> take_answer(const transport::PeerAddress& who, const Volume& volume, const FenceAnswer& answer,
                           Told& told);
  void end(const std::string& name, const Plan& plan, const Told& told);
  static nlohmann::json status_of(const Plan& plan);

  const Parts parts_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;             // protected by mutex_
  std::map<std::string, Open> open_;  // protected by mutex_: by ticket, those of which somebody has to be told
  std::uint64_t added_ = 0;           // protected by mutex_
  std::shared_ptr<Peer> told_;        // protected by mutex_: who is being told
  std::thread thread_;                // of start() and stop()
};

}  // namespace ferry::migration
