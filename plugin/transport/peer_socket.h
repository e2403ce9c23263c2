#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>

#include "base/fd.h"
#include "base/result.h"

namespace ferry::transport {

/// Where a host's sshd finds Ferry. The path is the same on every host, so nobody has to be told it.
inline constexpr const char* peer_socket_path = "/run/ferry/peer.sock";

/// The Unix socket to which peers come through this host's sshd, and who may connect to it: root and, where the
/// Engine's socket has a group that may write to it, that group. Whoever is in it can do with the host what root can,
/// so it gives nobody anything, and somebody who logs in through ssh need not be root. What comes through the socket
/// has to prove the key all the same, see TlsServer.
///
/// One Ferry of a host has it at a time, for which it holds a lock beside it: a second installation, or one that was
/// removed and still runs, takes nothing away from the first, and one that was killed leaves nothing that is in the
/// way. The place is replaced by rename(2), so that there is no instant without a socket to connect to.
///
/// For one owner; not thread-safe.
class PeerSocket {
 public:
  /// `run` is where the host's /run is seen; `engine_socket` is the Engine's.
  PeerSocket(const std::filesystem::path& run, std::filesystem::path engine_socket)
      : directory_path_(run / "ferry"), engine_socket_(std::move(engine_socket)) {}
  PeerSocket(const PeerSocket&) = delete;
  PeerSocket& operator=(const PeerSocket&) = delete;
  /// Removes.
  ~PeerSocket() { remove(); }

  /// A listening socket, and a new one if it had one. Makes the directory if it is not there. Code::busy: another Ferry
  /// has the place; Code::denied: the directory belongs to somebody else.
  Result<Fd> listen();

  /// Whether the socket that listen() made is still where peers look for it.
  bool is_in_place() const;

  /// Takes the socket's name away, if it is still the one that listen() made, and lets go of the place.
  void remove();

 private:
  Result<> enter_directory(std::optional<gid_t> group);
  Result<> lock();
  Result<Fd> bind_new(std::optional<gid_t> group);

  const std::filesystem::path directory_path_;
  const std::filesystem::path engine_socket_;
  Fd directory_;
  Fd lock_;
  ino_t inode_ = 0;  ///< of the socket that listen() has made; 0: none
};

}  // namespace ferry::transport
