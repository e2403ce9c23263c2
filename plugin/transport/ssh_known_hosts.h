#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transport/peer_address.h"

/// The host keys that this host knows, as ssh(1) does (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): names as patterns with
/// `*`, `?` and `!`, hashed names, "[HOST]:PORT", several keys of a host, @revoked. Certificates (@cert-authority) are
/// not known to libssh2, so those lines count for nothing. Malformed lines are passed over, as OpenSSH does.
namespace ferry::transport {

struct KnownKey {
  std::string type;  ///< e.g. ssh-ed25519
  std::string blob;  ///< the public key as it goes over the wire
  int line = 0;      ///< in the file, from 1 on
  bool revoked = false;
};

/// The keys that `text`, the content of a known_hosts file, has for a host: those of "[HOST]:PORT" and, on port 22,
/// those of "HOST". ssh(1) also takes those of "HOST" on another port where there are none of "[HOST]:PORT"; this does
/// not.
std::vector<KnownKey> known_keys(std::string_view text, const Endpoint& host);

/// The algorithms of host keys to ask a server for, the best first, as SSH's name-list: those by which it would show a
/// key that is known, then the others, so that an unknown key can at least be told.
std::string host_key_algorithms(const std::vector<KnownKey>& known);

/// "SHA256:…" as OpenSSH shows it.
std::string key_fingerprint(std::string_view blob);

/// Whether the key that `host` has shown is known. Code::denied: it is not, or it is another one than is known, or
/// revoked: one sentence with its fingerprint that says what to do. `blob` is the key as it came.
Result<> check_host_key(const std::vector<KnownKey>& known, std::string_view blob, const Endpoint& host);

}  // namespace ferry::transport
