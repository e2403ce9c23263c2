#pragma once

#include <filesystem>
#include <memory>

#include "migration/peer.h"
#include "transport/key_file.h"

namespace ferry::peer {

/// Makes peers that are reached over TLS with the pre-shared key of `keys`, which must outlive the factory and its
/// peers: at their own port, or through their sshd with what `ssh_directory` has (transport/ssh_transport.h).
/// Thread-safe.
std::unique_ptr<migration::PeerFactory> make_peer_factory(const transport::KeyFile& keys,
                                                          std::filesystem::path ssh_directory);

}  // namespace ferry::peer
