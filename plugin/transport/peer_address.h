#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "transport/endpoint.h"

namespace ferry::transport {

/// The TCP port of sshd unless the user says otherwise.
inline constexpr std::uint16_t default_ssh_port = 22;

/// A peer as users name it: Ferry's own port, or an sshd that leads to Ferry. Or one that has connected to this host
/// for an export.
struct PeerAddress {
  enum class Way { tls, ssh, turned };

  PeerAddress() = default;
  /// Ferry's own port.
  PeerAddress(std::string host, std::uint16_t port) : endpoint{std::move(host), port} {}
  PeerAddress(Way by, std::string login, Endpoint where)
      : way(by), user(std::move(login)), endpoint(std::move(where)) {}

  /// The host of the export of that ID; `host` is its name for people.
  static PeerAddress turned(std::string id, std::string host) {
    PeerAddress address(std::move(host), 0);
    address.way = Way::turned;
    address.export_id = std::move(id);
    return address;
  }

  Way way = Way::tls;
  std::string user;       ///< only with ssh
  std::string export_id;  ///< only if it is the host of an export
  Endpoint endpoint;

  /// "HOST:PORT" or "ssh://USER@HOST:PORT"; parse_peer_address reads it back. HOST if it is the host of an export.
  std::string text() const;
  bool operator==(const PeerAddress&) const = default;
};

/// Parses "HOST[:PORT]" or "ssh://[USER@]HOST[:PORT]"; without USER it is root, as for ssh(1) typed by root. Nothing is
/// resolved. The error says what is wrong with which part, and never shows what may be a password.
Result<PeerAddress> parse_peer_address(std::string_view text);

}  // namespace ferry::transport
