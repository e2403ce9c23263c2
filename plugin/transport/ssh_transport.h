#pragma once

#include <filesystem>
#include <memory>

#include "transport/key_file.h"
#include "transport/peer_address.h"
#include "transport/transport.h"

namespace ferry::transport {

/// Through an sshd to Ferry's Unix socket on that host (peer_socket.h), and inside of that the same TLS as without: the
/// sshd's users need not have Ferry's key, and Ferry's socket need not know whom an sshd has let in.
///
/// Each connection is an SSH connection of its own, four at most being set up at a time (sshd's MaxStartups). `keys`
/// must outlive the transport. `directory` has private keys and known_hosts (ssh_keys.h, ssh_known_hosts.h); it is
/// read for each connection.
std::unique_ptr<Transport> make_ssh_transport(PeerAddress address, const KeyFile& keys,
                                              std::filesystem::path directory);

}  // namespace ferry::transport
