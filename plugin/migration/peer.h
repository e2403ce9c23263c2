#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/types.h"
#include "migration/freeze.h"
#include "migration/hand_off.h"
#include "migration/options.h"
#include "migration/service.h"
#include "sync/receiver.h"
#include "transport/peer_address.h"
#include "volumes/record.h"

namespace ferry::migration {

/// What a host says of one of its volumes before it is migrated.
struct VolumeDescription {
  std::string volume;
  std::string driver;   ///< "ferry" or "local"
  std::string lineage;  ///< empty for a local volume: it gets one at its first migration
  std::uint64_t epoch = 1;
  volumes::Mode mode = volumes::Mode::rw;
  volumes::StringMap labels;
  volumes::StringMap options;
  bool labels_known = true;  ///< false: that host has no Docker Engine to ask
  std::uint64_t bytes = 0;   ///< a lower bound of its content, 0 unless it may matter (see Peer::describe)
  bool owner = true;         ///< it is no copy, or was handed off to that host
  std::string instance{};    ///< of a local volume: no other of its name has it; empty: it is not known
};

/// What the destination of a hand-off wants to have.
struct HandOffRequest {
  struct Volume {
    std::string source;       ///< name at the source
    std::string target;       ///< name at the destination
    std::uint64_t epoch = 1;  ///< that it is known to have; the destination's will be one more
    std::string lineage;      ///< that it is known to have; empty: of a local volume
    bool local = false;       ///< it belongs to the `local` driver: it has no epoch, and cannot be held
  };
  std::vector<Volume> volumes;                 ///< at least one without a container; different sources
  std::string uuid;                            ///< of the destination's catalogue
  std::string host;                            ///< the destination, for people; at the source
  std::optional<transport::PeerAddress> peer;  ///< where it can be reached, if that is known; at the source
  std::uint16_t port = 0;                      ///< on which it listens; 0: on none
  std::string name{};                          ///< what it calls itself; empty: it does not tell
  std::string container{};  ///< that goes along; then there may be no volume. Empty: none, see ServiceDepartures
  std::string after{};      ///< ID of the one before, which the source has ended without being asked to; empty: none
  std::string as{};         ///< what the container is called at the destination; empty: it does not tell
  bool layer = true;        ///< of the container: what it has changed of its image goes along
  std::string export_id{};  ///< of the export that it is a part of; empty: of none; at the source
};

/// That a host has taken a volume over by force from the one that is told so.
struct FenceRequest {
  std::string volume;                          ///< its name at the host that is told
  std::string lineage;                         ///< that it has
  std::uint64_t epoch = 1;                     ///< that it has at the other host now
  std::string target;                          ///< its name there
  std::string id;                              ///< 32 hex digits; of a repeated request the same
  std::uint16_t port = 0;                      ///< on which the other host listens; 0: on none
  std::string host;                            ///< that one, for people; at the host that is told
  std::optional<transport::PeerAddress> peer;  ///< where that can be reached, if it is known; at the host that is told
  std::string name{};                          ///< what that calls itself; empty: it does not tell
};

struct FenceAnswer {
  enum class Stand {
    fenced,  ///< it cannot be mounted any more
    gone,    ///< that host has no such volume, or a copy only
    newer,   ///< it keeps the volume, since that has this epoch or a later one
    left,    ///< it had handed the volume off already, to another host
  };
  Stand stand = Stand::gone;
  std::uint64_t epoch = 0;  ///< of `newer`, and that of `left` has at the other host
  bool mounted = false;     ///< of `fenced`: a running container there has it mounted still
  std::string to;           ///< of `left`: that host, for people
};

/// A source volume that a peer has opened for this host.
class OpenSource : public sync::Source {};

/// Another host's Ferry. Thread-safe. Code::unavailable errors are worth a retry, others are final.
class Peer {
 public:
  virtual ~Peer() = default;
  /// `timeout` is for everything, connecting included, here and in describe().
  /// UUID of the peer's catalogue; equal to the own one if the peer is this host. Its connection is kept for a
  /// describe() that follows. What the peer has taken over by force from this host is fenced here before.
  virtual Result<std::string> identify(std::chrono::milliseconds timeout) = 0;
  /// Also checks that the volume could be opened now. `room`: its content is counted, for a second at most, only if it
  /// may be more bytes than that.
  virtual Result<VolumeDescription> describe(const ImportRequest& request, std::uint64_t room,
                                             std::chrono::milliseconds timeout) = 0;
  virtual Result<std::unique_ptr<OpenSource>> open(const ImportRequest& request) = 0;
  /// Of a container of the peer.
  virtual Result<ServiceDescription> describe_service(const std::string& container, ServiceDetail detail,
                                                      std::chrono::milliseconds timeout) = 0;
  /// The image of a container of the peer, see engine::Images::save. An error of the sink is passed on.
  virtual Result<> image(const std::string& container, std::size_t known,
                         const std::function<Result<>(std::string_view)>& sink) = 0;
  /// What would become of the service of this host at the peer, see ServicePlanner::plan.
  virtual Result<nlohmann::json> plan_service(const ServiceDescription& service, const ServiceOptions& options,
                                              std::chrono::milliseconds timeout) = 0;
  /// How the hand-off of that ID stands at the source after `request`, one that a destination makes. Before an answer
  /// has come it may have been carried out or not. `wanted` counts with Request::hold only.
  virtual Result<hand_off::Answer> hand_off(const std::string& id, hand_off::Request request,
                                            const HandOffRequest& wanted, std::chrono::milliseconds timeout) = 0;
  /// What becomes of the freeze of that ID (32 hex digits) at the source; see Freezes. `wanted` counts with
  /// FreezeStep::begin only. Of FreezeStep::begin: whether anything stands still; of end: whether it has lasted; else
  /// true.
  virtual Result<bool> freeze(const std::string& id, FreezeStep step, const FreezeRequest& wanted,
                              std::chrono::milliseconds timeout) = 0;
  /// Has the host fence a volume that this one has taken over. Before an answer has come it may have happened or not.
  virtual Result<FenceAnswer> fence(const FenceRequest& request, std::chrono::milliseconds timeout) = 0;
  /// Makes every call that is under way, of the opened sources too, and every later one, fail soon: after 5 s at most,
  /// while a connection is made. From any thread.
  virtual void abort() = 0;
};

/// The host to which volumes of this one are exported. begin(), offer() and status() by one thread at a time; the rest
/// from any. `timeout` is for everything, connecting included, which takes 5 s at most.
class Destination {
 public:
  virtual ~Destination() = default;
  /// Has it begin to read the volumes, if it has not yet, and offers them. The error is what it refuses;
  /// Code::unavailable is worth a retry: it may have begun.
  virtual Result<> begin(const TicketRequest& request, std::chrono::milliseconds timeout) = 0;
  /// Lets it read the volumes from now on, until abort().
  virtual Result<> offer() = 0;
  /// Of the ticket that it makes of the export, see docs/status.md. Code::not_found: it has none (any more).
  virtual Result<nlohmann::json> status(std::chrono::milliseconds timeout) = 0;
  /// Has it cancel the export, or forget one that has ended; nothing that was asked before can begin it afterwards.
  /// Code::busy: it is decided already. Possible after abort(), too.
  virtual Result<> end(std::chrono::milliseconds timeout) = 0;
  /// Why it cannot read the volumes now, though it should; empty: nothing is known.
  virtual std::string trouble() const = 0;
  /// It can read no more; begin() and status() under way fail soon, and later ones at once.
  virtual void abort() = 0;
};

/// Makes peers; implemented by peer/.
class PeerFactory {
 public:
  virtual ~PeerFactory() = default;
  virtual std::shared_ptr<Peer> peer(const transport::PeerAddress& address) = 0;
  /// For the export of that ID (32 hex digits), of volumes of this host.
  virtual std::shared_ptr<Destination> destination(const TicketRequest& request, const std::string& id) = 0;
};

}  // namespace ferry::migration
