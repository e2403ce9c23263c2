#pragma once

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "driver/rpc_driver.h"

namespace ferry::driver {

/// Serves a VolumeDriver to Docker Engine: HTTP/1.1 with JSON over a Unix socket, as moby's
/// daemon/volume/drivers/proxy.go and pkg/plugins/client.go speak it.
///
/// Every connection has a thread of its own, because 64 Mounts may block while Get, List and Capabilities must be
/// answered at once; idle connections are never closed from this side. A body may have 1 MiB.
///
/// Each RPC is logged at debug level with its volume's name; options are logged by key only, as values may be secrets,
/// and so a refusal of options is logged without its text, which quotes them.
///
/// start() and stop() are for one owner; they are not thread-safe against each other.
class RpcServer {
 public:
  /// `driver` must outlive this object.
  RpcServer(VolumeDriver& driver, std::filesystem::path socket);
  RpcServer(const RpcServer&) = delete;
  RpcServer& operator=(const RpcServer&) = delete;
  /// Stops.
  ~RpcServer();

  /// Binds (mode 0600), listens and returns; requests are served in threads of their own. Replaces a socket file that a
  /// former process left; refuses any other kind of file, and a socket that somebody still answers on.
  Result<> start();

  /// Unlinks the socket, closes idle connections at once, lets running calls finish and answers them. Returns when no
  /// call is running any more: a driver whose calls wait must be told to give up first, within the Engine's 10 s.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ferry::driver
