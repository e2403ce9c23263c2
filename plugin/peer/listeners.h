#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <string>

#include "base/periodic.h"
#include "peer/server.h"
#include "transport/key_file.h"
#include "transport/peer_socket.h"
#include "transport/tls_server.h"

namespace ferry::peer {

/// The places at which peers reach this host: a TCP port, and the Unix socket to which its sshd leads them. What cannot
/// be listened on is tried again every 5 s, because what is in the way may go; so is the Unix socket if somebody has
/// removed it. start() and stop() are for one owner.
class Listeners {
 public:
  /// `keys` and `server` must outlive this object; `port` 0 is none; `run` and `engine_socket`: see PeerSocket.
  Listeners(const transport::KeyFile& keys, Server& server, std::uint16_t port, const std::filesystem::path& run,
            const std::filesystem::path& engine_socket);
  Listeners(const Listeners&) = delete;
  Listeners& operator=(const Listeners&) = delete;
  ~Listeners() { stop(); }

  void start();
  /// Returns when no request is being answered any more.
  void stop();

 private:
  struct Place {
    Place(const transport::KeyFile& keys, transport::TlsServer::Listen listen, std::string where)
        : server(keys, std::move(listen)), name(std::move(where)) {}
    transport::TlsServer server;
    const std::string name;
    bool listens = false;
  };
  enum class Attempt { first, later };
  void listen(Attempt attempt);
  void put_back();

  transport::PeerSocket socket_;
  std::list<Place> places_;  ///< the socket's is the last
  std::optional<Periodic> attempts_;
};

}  // namespace ferry::peer
