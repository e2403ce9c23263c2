#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "migration/options.h"
#include "migration/peer.h"

namespace ferry::migration {

/// A volume of a ticket.
struct TicketVolume {
  std::string target;          ///< its name here
  std::string action;          ///< "create", "update" or "replace"
  VolumeDescription source;    ///< as the peer described it, but with the lineage that it gets here
  std::string source_lineage;  ///< that it has there; empty: none
  bool is_copy = false;        ///< of a service that moves: the original stays with other containers of the source
  bool is_update() const { return action != "create"; }
};

/// Of a ticket that brings a whole service: what there is beside its volumes of Ferry's. What comes in pieces that get
/// the place of a directory of the container is its layer, if `store` is not empty, and then `locals`. All but `came`
/// is constant.
struct TicketService {
  ServiceOptions options{};
  std::string container{};  ///< ID of the container at the source
  std::string made{};       ///< ID of the one that was made of it here
  std::string store{};      ///< where the Engine keeps the layer of the one here; empty: none is brought
  /// By piece, which directory it is that has come, see identify_layer(); empty: they have not yet.
  std::vector<std::uint64_t> came{};
  /// Not null: the one here was not made for it, but had left, and comes back; as HeldContainer has it.
  nlohmann::json held = nullptr;
  // Of one that comes back:
  std::vector<TicketVolume> locals{};   ///< the target is a volume of the local driver here
  std::vector<std::uint64_t> before{};  ///< by piece, which directory was there
  std::int64_t left_ns = 0;             ///< realtime_ns() when it had stood still, so that nothing was to be written
  bool replace = false;                 ///< what was written to `locals` here since then may be lost

  bool returns() const { return !held.is_null(); }
};

/// What a ticket's record keeps, so that another process carries on.
struct TicketPlan {
  TicketRequest request;
  std::string peer_uuid;
  std::vector<TicketVolume> volumes;
  /// Not null: it is decided that the volumes become what has come, and this is what Status says of each then.
  nlohmann::json committing = nullptr;
  /// By volume, if it is decided: whether an update has a plan (sync/plan.h); without one nothing of it differs. Empty
  /// in a record of an earlier version, where a plan that is missing means that.
  std::vector<bool> planned{};
  /// Of a hand-off, see hand_off.h. Its ID; empty: this is a copy.
  std::string hand_off{};
  std::string hand_off_before{};  ///< of a service: what its source has ended; empty: nothing
  /// Not null, and in place of `committing`: everything is here, and the source knows whether it is given.
  nlohmann::json prepared = nullptr;
  std::string failing{};  ///< of a service: why it has failed; what was made for it goes. Empty: it has not
  bool owned = false;     ///< what was given has been put into its place: only the source has to be told
  std::optional<TicketService> service{};  ///< of a hand-off

  bool is_move() const { return !hand_off.empty(); }
};

nlohmann::json to_json(const TicketPlan& plan);
Result<TicketPlan> ticket_plan(const nlohmann::json& json);  ///< Code::corrupt unless to_json() made it

ImportRequest request_of(const TicketPlan& plan, const TicketVolume& volume);

/// What the source of a hand-off is asked to hold. `uuid` is this host's catalogue's, `port` that on which peers reach
/// it.
HandOffRequest hand_off_request(const TicketPlan& plan, const std::string& uuid, std::uint16_t port);

/// What Status shows under `migration` of a ticket that has just been asked for.
nlohmann::json new_ticket_status(const TicketPlan& plan);

/// The part of an import's request that its volume's record keeps.
nlohmann::json import_of(const TicketPlan& plan, const TicketVolume& volume, const std::string& ticket);

}  // namespace ferry::migration
