#include "peer/listeners.h"

#include "base/log.h"
#include "transport/tcp.h"

namespace ferry::peer {

Listeners::Listeners(const transport::KeyFile& keys, Server& server, std::uint16_t port,
                     const std::filesystem::path& run, const std::filesystem::path& engine_socket)
    : socket_(run, engine_socket) {
  if (port != 0)
    places_.emplace_back(
        keys, [port] { return transport::listen_tcp("", port); }, "at port " + std::to_string(port));
  places_.emplace_back(
      keys, [this] { return socket_.listen(); }, std::string("through its sshd, at ") + transport::peer_socket_path);
  for (auto& place : places_) server.add_routes(place.server.routes());
}

void Listeners::start() {
  listen(Attempt::first);
  attempts_.emplace(std::chrono::seconds(5), [this] {
    listen(Attempt::later);
    put_back();
  });
}

void Listeners::listen(Attempt attempt) {
  for (auto& place : places_) {
    if (place.listens) continue;
    const auto started = place.server.start();
    place.listens = started.has_value();
    if (started)
      spdlog::info("peers reach this host {}", place.name);
    else
      spdlog::log(attempt == Attempt::first ? spdlog::level::err : spdlog::level::debug,
                  "peers cannot reach this host {}, which is tried again every 5 s: {}", place.name,
                  started.error().message);
  }
}

/// Without its name the socket listens in vain: whoever tidies up /run takes every peer's way through ssh.
void Listeners::put_back() {
  Place& place = places_.back();
  if (!place.listens || socket_.is_in_place()) return;
  const auto listens = place.server.listen_again();
  if (listens)
    spdlog::warn("somebody had removed {}; it is back", transport::peer_socket_path);
  else
    spdlog::debug("{} is gone and not back: {}", transport::peer_socket_path, listens.error().message);
}

void Listeners::stop() {
  attempts_.reset();
  socket_.remove();
  for (auto& place : places_) place.server.stop();
}

}  // namespace ferry::peer
