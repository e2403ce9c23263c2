#pragma once

#include <string>

#include "base/result.h"
#include "transport/ssh_session.h"

namespace ferry::transport {

/// Why an sshd did not open a channel to the Unix socket `path`, of which libssh2 said `reason`. OpenSSH answers
/// "connect failed" whether it is not allowed to or nothing listens there (serverloop.c, server_input_channel_open), so
/// this looks, by SFTP, whether the socket exists. Code::denied where a retry would be in vain.
Error explain_far_end(SshSession& session, const std::string& path, const std::string& reason);

}  // namespace ferry::transport
