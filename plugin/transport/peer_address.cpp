#include "transport/peer_address.h"

#include <algorithm>

#include "base/log.h"

namespace ferry::transport {

namespace {

constexpr std::string_view ssh_scheme = "ssh://";
constexpr std::size_t longest_user = 255;

bool is_user_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
         c == '_' || c == '$';
}

Result<std::string> parse_user(std::string_view user) {
  if (user.find(':') != std::string_view::npos)
    return fail(Code::invalid_argument,
                "a password has no place in an address, where everybody may read it: Ferry logs in by key");
  if (user.empty()) return fail(Code::invalid_argument, "the user before @ is missing");
  if (user.size() > longest_user || user.front() == '-' || !std::ranges::all_of(user, is_user_character))
    return fail(Code::invalid_argument,
                quote(user) + " is not a user name: letters, digits, '.', '_', '-' and '$' make one");
  return std::string(user);
}

Result<PeerAddress> parse_ssh(std::string_view text) {
  PeerAddress address{PeerAddress::Way::ssh, "root", {}};
  if (const auto at = text.rfind('@'); at != std::string_view::npos) {
    FERRY_ASSIGN(address.user, parse_user(text.substr(0, at)));
    text.remove_prefix(at + 1);
  }
  FERRY_ASSIGN(address.endpoint, parse_endpoint(text, default_ssh_port));
  return address;
}

}  // namespace

std::string PeerAddress::text() const {
  if (way == Way::turned) return endpoint.host;
  return way == Way::tls ? endpoint.text() : std::string(ssh_scheme) + user + "@" + endpoint.text();
}

Result<PeerAddress> parse_peer_address(std::string_view text) {
  if (text.starts_with(ssh_scheme)) return parse_ssh(text.substr(ssh_scheme.size()));
  if (text.find('@') != std::string_view::npos)  // not quoted: what stands there may be a password
    return fail(Code::invalid_argument, "a peer has no user, its key is enough; leave out …@, or use ssh://…@HOST");
  PeerAddress address;
  FERRY_ASSIGN(address.endpoint, parse_endpoint(text));
  return address;
}

}  // namespace ferry::transport
