#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/types.h"
#include "migration/options.h"
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
  std::string instance{};    ///< of a local volume: no other of its name has it; empty: it is not known
};

/// A source volume that a peer has opened for this host.
class OpenSource : public sync::Source {};

/// Another host's Ferry. Thread-safe. Code::unavailable errors are worth a retry, others are final.
class Peer {
 public:
  virtual ~Peer() = default;
  /// `timeout` is for everything, connecting included, here and in describe().
  /// UUID of the peer's catalogue; equal to the own one if the peer is this host. Its connection is kept for a
  /// describe() that follows.
  virtual Result<std::string> identify(std::chrono::milliseconds timeout) = 0;
  /// Also checks that the volume could be opened now. `room`: its content is counted, for a second at most, only if it
  /// may be more bytes than that.
  virtual Result<VolumeDescription> describe(const ImportRequest& request, std::uint64_t room,
                                             std::chrono::milliseconds timeout) = 0;
  virtual Result<std::unique_ptr<OpenSource>> open(const ImportRequest& request) = 0;
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
  virtual std::shared_ptr<Destination> destination(const transport::PeerAddress& address, const std::string& id,
                                                   const std::vector<std::string>& volumes) = 0;
};

}  // namespace ferry::migration
