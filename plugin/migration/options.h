#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/archive_address.h"
#include "migration/rounds.h"
#include "migration/service.h"
#include "sync/compression.h"
#include "transport/peer_address.h"
#include "volumes/record.h"

namespace ferry::migration {

/// How writers of the source are held while it is read. `refuse`: there must be none; `pause` and `stop`: they stand
/// still for the last round, see FreezeKind.
enum class Freeze { refuse, none, pause, stop };

inline constexpr std::array all_freezes = {Freeze::refuse, Freeze::none, Freeze::pause, Freeze::stop};
/// As an option has it (but for `refuse`, which is none), a record, and the peer protocol.
const char* to_string(Freeze freeze);

inline bool holds_writers(Freeze freeze) { return freeze == Freeze::pause || freeze == Freeze::stop; }

/// How content is copied.
struct Terms {
  Freeze freeze = Freeze::refuse;  ///< of a copy of volumes that its user asks for: pause, unless told otherwise
  std::uint64_t limit = 0;         ///< bytes per second; 0: none
  sync::Compression compression = sync::Compression::automatic;
  std::uint64_t max_freeze_ms = 10'000;  ///< see FreezeRequest::longest
  RoundLimits rounds{};                  ///< before what writes stands still
};

/// An import as the user asked for it.
struct ImportRequest {
  transport::PeerAddress peer;
  std::string volume;  ///< at the peer
  Terms terms;
  std::string container{};  ///< not empty: its writable layer (Sources::open_layer) in place of a volume
  std::string frozen{};     ///< the freeze of that ID lasts while it is read; empty: none
};

/// An import from an archive.
struct ArchiveImportRequest {
  ArchiveAddress address;
  Terms terms;
  std::string id{};  ///< archive::FrontMatter::digests when it was looked at; empty: a foreign one
};

/// A ticket that writes a volume of this host into an archive.
struct ArchiveExportRequest {
  ArchiveAddress address;
  std::string volume;
  Terms terms;
  bool replace = false;  ///< a file of that name may be lost
};

/// A ticket as the user asked for it: volumes of a peer that are imported here or updated together; or volumes of this
/// host, and then the same happens at the peer.
struct TicketRequest {
  struct Volume {
    std::string source;  ///< name at the source
    std::string target;  ///< name at the destination
    bool stays = false;  ///< of a service: it is copied, and not handed off
  };
  transport::PeerAddress peer;
  std::vector<Volume> volumes;  ///< at least one; different targets
  Terms terms;
  bool replace = false;  ///< changes at the destination may be lost
  bool dry_run = false;
  bool move = false;        ///< the volumes become the destination's, see hand_off.h
  std::uint64_t epoch = 0;  ///< that they must have at the source; 0: any
  /// Of a whole service of this host, which is handed off. Its volumes are those that travel, once they are known, and
  /// the target of one that is anonymous is empty.
  std::optional<ServiceOptions> service{};
  std::string container{};  ///< of a service, once it is known: the ID of its container

  bool hands_off() const { return move && !dry_run; }
};

/// A ticket that brings a whole service of a peer.
struct ServiceMoveRequest {
  transport::PeerAddress peer;
  ServiceOptions options;
  Terms terms;
};

/// A volume that was handed off and is to come back.
struct ReclaimRequest {
  std::string volume;                          ///< or the ticket of a service that has left
  std::optional<transport::PeerAddress> peer;  ///< where it is; none: as this host knows
  Terms terms;
  bool replace = false;  ///< what was written here before it was fenced by force may be lost
  bool force = false;    ///< without that host's word
};

/// What the options of one `docker volume create` ask for.
/// A plain volume, or one of the following optional ones, or `retry`.
struct CreateRequest {
  std::optional<volumes::Mode> mode;  ///< as given
  volumes::StringMap own_options;     ///< those that belong to the volume, not to the migration
  std::optional<ImportRequest> import;
  std::optional<ArchiveImportRequest> archive_import;
  std::optional<ArchiveExportRequest> archive_export;  ///< a ticket
  std::optional<TicketRequest> ticket;
  std::optional<TicketRequest> exported;      ///< a ticket, too
  std::optional<ReclaimRequest> reclaim;      ///< a ticket, too
  std::optional<ServicePlanRequest> plan;     ///< a ticket, too
  std::optional<ServiceMoveRequest> service;  ///< a ticket, too
  std::string retry;                          ///< a volume of which the import failed; empty: none

  bool is_plain() const {
    return !import && !archive_import && !archive_export && !ticket && !exported && !reclaim && !plan && !service &&
           retry.empty();
  }
};

/// Terms and a peer as a record keeps them, in an object with other members.
void add_to_json(nlohmann::json& json, const Terms& terms);
void add_to_json(nlohmann::json& json, const transport::PeerAddress& peer);
/// Both throw nlohmann::json::exception.
Terms terms_of(const nlohmann::json& json);
transport::PeerAddress peer_of(const nlohmann::json& json);

/// Checks the options of `create NAME`. Every refusal is one sentence that names the option and says what would be
/// right, also for options of the documentation that this version does not have. Asks nobody.
Result<CreateRequest> parse_options(const std::string& name, const volumes::StringMap& options);

}  // namespace ferry::migration
