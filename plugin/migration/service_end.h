#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "engine/containers.h"
#include "engine/ledger.h"
#include "migration/container_holds.h"
#include "migration/peer.h"
#include "migration/ticket_plan.h"
#include "migration/transfer.h"
#include "sync/version.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// What a ticket that brings a service does to the container that was made for it, or that had left and comes back,
/// beside bringing its volumes of Ferry's. What it brings itself are pieces, see TicketService, each of which is
/// exchanged with a directory of the container's; the old ones are kept until clean_up(). The job's thread decides
/// about the order, and every call can be repeated. Not thread-safe but for cancel(), which ends what is under way with
/// Code::cancelled for good, interrupt(), which does so to a piece that is being brought, and statuses().
class ServiceEnd {
 public:
  struct Parts {  ///< all must outlive this object
    const volumes::Catalogue& catalogue;
    engine::Client& client;
    /// Where this process sees a path of the host below the Engine's data root.
    std::function<Result<std::filesystem::path>(const std::string& path)> visible;
    /// Where it sees the content of a volume of the local driver, and whether containers that run have it.
    std::function<Result<std::filesystem::path>(const std::string& volume)> local{};
    std::function<Result<engine::Mounted>(const std::string& volume)> mounted{};
    std::function<void(const std::string& container)> returned{};  ///< one that had left is this host's again
  };
  /// `plan` must have a service.
  ServiceEnd(Parts parts, std::string ticket, const TicketPlan& plan);

  /// The name that the container has until it gets its own.
  static std::string first_name(const std::string& hand_off) { return "ferry-" + hand_off; }

  /// Brings the pieces beside the ticket, or what differs of them since the last time. `came`: which are known to have
  /// come, see TicketService; those that have got their places already are taken out again. Code::busy: somebody has
  /// started the container, or has written to one of its volumes of the local driver.
  Result<> bring(Freeze freeze, const std::vector<std::uint64_t>& came, const std::shared_ptr<Peer>& peer);
  /// TicketService::came of what has been brought.
  Result<std::vector<std::uint64_t>> identify() const;
  /// Puts them into the container, which must not have run since. Errors as of bring().
  Result<> place(const std::vector<std::uint64_t>& came);
  /// Code::already_exists: another container has the name by now.
  Result<> take_name() const;
  /// Code::busy: somebody has started it.
  Result<> check_untouched() const;
  /// Starts it, if that is wanted, and says whether there is nothing to wait for any more: one with a health check is
  /// waited for until that has an opinion. `warning`: what came of it, if that is not good.
  Result<bool> run(std::string& warning) const;
  /// What was in the places of the pieces goes.
  Result<> clean_up() const;
  /// Removes the container, if it has never run; one that had left gets back what it had.
  Result<> undo() const;
  void cancel();
  void interrupt();
  /// Of each piece `source` and `local`, the volume's name, empty of the layer; once it has begun to be brought with
  /// what a volume's Transfer says, once it has come with what add_receipt() does. Thread-safe.
  std::vector<nlohmann::json> statuses() const;

 private:
  struct Piece {
    std::string name;  ///< what is brought has it in the place of a volume's
    ImportRequest request;
    std::string lineage;                           ///< at the source; empty: none
    std::string local;                             ///< a volume of the local driver; empty: it is the layer
    std::uint64_t before = 0;                      ///< of a service that comes back
    std::optional<sync::Version> version{};        ///< of a local volume, what is there
    std::shared_ptr<Transfer> transfer = nullptr;  ///< protected by mutex_: the last one
    nlohmann::json outcome = nullptr;              ///< protected by mutex_: of that
    bool is_layer() const { return local.empty(); }
  };
  Result<engine::Container> untouched() const;
  Result<std::filesystem::path> place_of(const Piece& piece, const engine::Container& container) const;
  Result<> bring(Piece& piece, Freeze freeze, const std::shared_ptr<Peer>& peer);
  Result<> check_unwritten(Piece& piece, const std::filesystem::path& place) const;
  Result<> check_unmounted(const Piece& piece) const;
  Result<> bring_back() const;
  Result<> take_out_again(Piece& piece, std::uint64_t came);
  tl::unexpected<Error> cannot_place(const Error& error) const;
  Result<> take_out(const Piece& piece, const engine::Container* container) const;
  std::filesystem::path staged(const Piece& piece) const { return parts_.catalogue.layout().staging(piece.name); }

  const Parts parts_;
  const engine::Containers containers_;
  const ContainerHolds holds_;
  const std::string ticket_;
  const TicketService service_;
  const std::string peer_uuid_;
  std::vector<Piece> pieces_;
  mutable engine::Interrupt interrupt_;
  mutable std::mutex mutex_;
  bool cancelled_ = false;  // protected by mutex_
};

}  // namespace ferry::migration
