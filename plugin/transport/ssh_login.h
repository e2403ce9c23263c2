#pragma once

#include <filesystem>
#include <memory>

#include "transport/ssh_session.h"

namespace ferry::transport {

/// A session of the user of `address`, with what `directory` has: private keys and known_hosts (ssh_keys.h,
/// ssh_known_hosts.h), which are read each time. Errors are those of SshSession; Code::denied: there is no key.
Result<std::unique_ptr<SshSession>> log_in_by_ssh(const PeerAddress& address, const std::filesystem::path& directory,
                                                  Deadline deadline);

}  // namespace ferry::transport
