#include "transport/ssh_login.h"

#include "base/files.h"

namespace ferry::transport {

namespace {

constexpr std::size_t largest_known_hosts = 16U << 20;

/// None is an empty one: every host is unknown then, and told so with its key.
Result<std::string> read_known_hosts(const std::filesystem::path& directory) {
  auto text = read_file(directory / "known_hosts", largest_known_hosts);
  if (text) return text;
  if (text.error().code == Code::not_found) return std::string();
  return fail(Code::denied, "known_hosts in the directory ssh.source cannot be read: " + text.error().message);
}

}  // namespace

Result<std::unique_ptr<SshSession>> log_in_by_ssh(const PeerAddress& address, const std::filesystem::path& directory,
                                                  Deadline deadline) {
  const auto logins = load_private_keys(directory);
  if (logins.usable.empty()) return tl::unexpected(explain_no_key(logins));
  FERRY_ASSIGN(const std::string known_hosts, read_known_hosts(directory));
  FERRY_ASSIGN(auto session, SshSession::connect(address, known_hosts, deadline));
  FERRY_TRY(session->log_in(logins));
  return session;
}

}  // namespace ferry::transport
