#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "migration/freezes.h"
#include "migration/hand_offs.h"
#include "migration/peer.h"
#include "migration/service_departures.h"
#include "migration/services.h"
#include "migration/sources.h"
#include "peer/turned_links.h"
#include "transport/key_file.h"

namespace ferry::peer {

/// What exports need at either end. All must outlive the factory.
struct ExportEnds {
  const migration::Sources& here;  ///< what the destination reads
  std::string uuid;                ///< of this host's catalogue
  TurnedLinks& links;              ///< of hosts that export to this one
  migration::HandOffs& hand_offs;  ///< of volumes of this host
  bool may_fence = true;           ///< whether a peer may have this host's volumes fenced (`freeze` in ALLOW)
  const migration::Services* services = nullptr;       ///< of this host; null: none of them is exported
  migration::ServiceDepartures* departures = nullptr;  ///< likewise
  migration::Freezes* freezes = nullptr;               ///< null: nothing stands still for what is exported
};

/// Makes peers that are reached over TLS with the pre-shared key of `keys`, which must outlive the factory and its
/// peers: at their own port, or through their sshd with what `ssh_directory` has (transport/ssh_transport.h).
/// Thread-safe. Without `exports` it knows no destinations, and no hosts that export to this one.
std::unique_ptr<migration::PeerFactory> make_peer_factory(const transport::KeyFile& keys,
                                                          std::filesystem::path ssh_directory,
                                                          std::optional<ExportEnds> exports = {});

}  // namespace ferry::peer
