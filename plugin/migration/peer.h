#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
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

/// Makes peers; implemented by peer/.
class PeerFactory {
 public:
  virtual ~PeerFactory() = default;
  virtual std::shared_ptr<Peer> peer(const transport::PeerAddress& address) = 0;
};

}  // namespace ferry::migration
