#include "transport/ssh_far_end.h"

#include <libssh2_sftp.h>

namespace ferry::transport {

namespace {

/// An sshd whose SFTP server does not start leaves libssh2 waiting.
constexpr std::chrono::milliseconds time_to_look{1000};

enum class Seen { yes, no, forbidden, unknown };

/// What the user who has logged in sees at `path`.
Seen look_at(SshSession& session, const std::string& path) {
  session.hurry(time_to_look);
  LIBSSH2_SFTP* sftp = nullptr;
  if (session.repeat_until_made(sftp, [&] { return ::libssh2_sftp_init(session.get()); }) != 0) return Seen::unknown;
  LIBSSH2_SFTP_ATTRIBUTES facts{};
  const int result = session.repeat([&] {
    return ::libssh2_sftp_stat_ex(sftp, path.data(), static_cast<unsigned>(path.size()), LIBSSH2_SFTP_LSTAT, &facts);
  });
  if (result == 0) return Seen::yes;
  if (result != LIBSSH2_ERROR_SFTP_PROTOCOL) return Seen::unknown;
  switch (::libssh2_sftp_last_error(sftp)) {
    case LIBSSH2_FX_NO_SUCH_FILE:
    case LIBSSH2_FX_NO_SUCH_PATH: return Seen::no;
    case LIBSSH2_FX_PERMISSION_DENIED: return Seen::forbidden;
    default: return Seen::unknown;
  }
}

constexpr const char* what_forbids =
    "AllowStreamLocalForwarding or DisableForwarding in its sshd_config, or a restriction of the key in "
    "authorized_keys";

}  // namespace

Error explain_far_end(SshSession& session, const std::string& path, const std::string& reason) {
  const std::string server = session.server();
  if (reason.find("unknown channel type") != std::string::npos)
    return {Code::unsupported, server + " cannot lead to a Unix socket; OpenSSH can since version 6.7"};
  if (reason.find("prohibited") != std::string::npos)
    return {Code::denied, server + " refuses to lead to " + path + ": " + what_forbids};
  switch (look_at(session, path)) {
    case Seen::no:
      return {Code::unavailable, "Ferry does not run on " + session.address().endpoint.host +
                                     ", or is too old: " + server + " finds no " + path};
    case Seen::forbidden:
      return {Code::denied, "user " + session.address().user + " may not connect to " + path + " behind " + server +
                                "; only root may, and who is in the group of that host's Docker socket"};
    case Seen::yes:  // also for an instant while a Ferry that was killed is started again
      return {Code::unavailable, server + " does not lead to " + path +
                                     ", although that is there: it is forbidden by " + what_forbids +
                                     ", or Ferry was killed there"};
    case Seen::unknown: break;
  }
  return {Code::unavailable,
          server + " does not lead to " + path + ": Ferry does not run there, or it is forbidden by " + what_forbids};
}

}  // namespace ferry::transport
