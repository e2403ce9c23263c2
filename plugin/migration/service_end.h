#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>

#include "engine/containers.h"
#include "migration/container_holds.h"
#include "migration/peer.h"
#include "migration/ticket_plan.h"
#include "migration/transfer.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// What a ticket that brings a service does to the container that was made for it, or that had left and comes back,
/// beside bringing its volumes; the
/// job's thread decides about the order, and every call can be repeated. Not thread-safe but for cancel(), which ends
/// what is under way with Code::cancelled for good, and interrupt(), which does so to a layer that is being brought.
class ServiceEnd {
 public:
  struct Parts {  ///< all must outlive this object
    const volumes::Catalogue& catalogue;
    engine::Client& client;
    /// Where this process sees a path of the host below the Engine's data root.
    std::function<Result<std::filesystem::path>(const std::string& path)> visible;
    std::function<void(const std::string& container)> returned{};  ///< one that had left is this host's again
  };
  /// `plan` must have a service.
  ServiceEnd(Parts parts, std::string ticket, const TicketPlan& plan);

  /// The name that the container has until it gets its own.
  static std::string first_name(const std::string& hand_off) { return "ferry-" + hand_off; }

  /// Brings the layer into the ticket's staging directory, or what differs of it since the last time. `placed`: which
  /// one is known to have come, see TicketService::layer; if it has got its place already it is taken out again.
  Result<> bring_layer(Freeze freeze, std::uint64_t placed, const std::shared_ptr<Peer>& peer);
  /// Which one has come; 0: none is to be brought.
  Result<std::uint64_t> identify() const;
  /// Puts it into the container, which must not have run since. Code::busy: somebody has started it.
  Result<> place(std::uint64_t layer) const;
  /// Code::already_exists: another container has the name by now.
  Result<> take_name() const;
  /// Code::busy: somebody has started it.
  Result<> check_untouched() const;
  /// Starts it, if that is wanted, and says whether there is nothing to wait for any more: one with a health check is
  /// waited for until that has an opinion. `warning`: what came of it, if that is not good.
  Result<bool> run(std::string& warning) const;
  /// What the Engine had made in the layer's place goes.
  Result<> clean_up() const;
  /// Removes the container, if it has never run; one that had left gets back the layer that it had.
  Result<> undo() const;
  void cancel();
  void interrupt();
  /// Of the layer, as of a volume's Transfer; null before it is brought. Thread-safe.
  nlohmann::json layer_status() const;

 private:
  Result<engine::Container> untouched() const;
  Result<std::filesystem::path> upper_of(const engine::Container& container) const;
  Result<> bring_back() const;
  Result<> take_layer_out(const engine::Container& container) const;
  std::filesystem::path staged() const { return parts_.catalogue.layout().staging(ticket_); }

  const Parts parts_;
  const engine::Containers containers_;
  const ContainerHolds holds_;
  const std::string ticket_;
  const TicketService service_;
  const ImportRequest layer_;
  const std::string peer_uuid_;
  mutable engine::Interrupt interrupt_;
  mutable std::mutex mutex_;
  bool cancelled_ = false;              // protected by mutex_
  std::shared_ptr<Transfer> transfer_;  // protected by mutex_: the last one
};

}  // namespace ferry::migration
