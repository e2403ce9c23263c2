#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/api_version.h"
#include "engine/decode.h"
#include "engine/http.h"
#include "engine/interrupt.h"
#include "engine/types.h"

namespace ferry::engine {

struct ClientLimits {
  std::chrono::milliseconds connect{2000};
  std::chrono::milliseconds read{5000};     ///< an answer to a question
  std::chrono::milliseconds change{25000};  ///< create, remove and volumes(): the Engine calls plugins, even dead ones
  std::size_t body = 64U << 20;             ///< bytes of one answer
  std::size_t event = 1U << 20;             ///< bytes of one event
};

/// The Docker Engine API over its Unix socket. Thread-safe; every call has its own connection and a deadline.
///
/// Errors of every call: Code::unavailable if the Engine cannot be reached or does not answer in time (it is absent,
/// booting, or holds the lock that the call needs), Code::corrupt if its answer cannot be understood, denied on 403,
/// invalid_argument on 400, not_found on 404, busy on 409, io on any other; the message has the Engine's own reason.
/// Without a socket a call costs one failed connect(2). Nothing is logged.
///
/// Which calls are allowed inside which VolumeDriver RPC: none about volume X in Create, Get, Remove of X, or the
/// Engine waits for itself until the deadline. volumes() asks each plugin for its List.
class Client {
 public:
  explicit Client(std::filesystem::path socket, ClientLimits limits = {});

  /// GET /volumes/NAME. Code::not_found.
  Result<Volume> volume(const std::string& name);
  /// GET /volumes: of every driver. A dead plugin makes the Engine take 15 s for it.
  Result<std::vector<Volume>> volumes(Interrupt* interrupt = nullptr);
  /// DELETE /volumes/NAME, not forced. Code::busy while a container, even a stopped one, refers to it.
  Result<> remove_volume(const std::string& name);
  /// POST /volumes/create. If the volume exists on `driver`, the Engine keeps its old options and labels and answers
  /// with those: compare. Code::already_exists if it exists on another driver.
  Result<Volume> create_volume(const std::string& name, const std::string& driver, const StringMap& options,
                               const StringMap& labels);
  /// GET /containers/json?all=1: of stopped containers too.
  Result<std::vector<ContainerMount>> container_mounts(Interrupt* interrupt = nullptr);
  /// GET of any other target of the API (without its version); the body of the answer. `timeout`: none is the one of
  /// every question.
  Result<std::string> get(const std::string& target, Interrupt* interrupt = nullptr,
                          std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  /// POST to any other target, with a JSON body unless that is null; the body of the answer. 304 is a success: it was
  /// so already. After Code::unavailable or cancelled it may have happened or not. Code::invalid_argument: not UTF-8.
  Result<std::string> post(const std::string& target, const nlohmann::json& body, std::chrono::milliseconds timeout,
                           Interrupt* interrupt = nullptr);
  /// DELETE of any other target; likewise.
  Result<> remove(const std::string& target, std::chrono::milliseconds timeout, Interrupt* interrupt = nullptr);
  /// Any other exchange: `call.target` is without the API's version. Without an interrupt of its own stop() ends it.
  Result<std::string> request(HttpCall call);
  /// DockerRootDir of GET /info.
  Result<std::string> data_root();
  /// The host path that the plugin's mount named `mount_name` has as its source now. Code::not_found.
  Result<std::string> plugin_mount_source(const std::string& plugin_id, const std::string& mount_name);

  /// Follows GET /events (volumes' and containers' life) until the stream ends, and then returns why: never a success.
  /// `on_open` is called when the stream stands: nothing that happens from then on is missed. What the Engine still
  /// remembers of the last 30 s comes first, so an event can be older than on_open, and can come twice.
  /// An event that cannot be understood is Code::corrupt. The callbacks run in the calling thread.
  Result<> follow_events(Interrupt& interrupt, const std::function<void()>& on_open,
                         const std::function<void(const Event&)>& on_event);

  /// Ends the calls under way that were given no interrupt of their own, with Code::cancelled, and refuses later ones:
  /// an Engine that stops the plugin may hold the lock that a call waits for.
  void stop() { stopping_.trip(); }

  const std::filesystem::path& socket() const { return socket_; }

  /// What the Engine is spoken to.
  Result<ApiVersion> version(Interrupt* interrupt = nullptr);

 private:
  Result<ApiVersion> negotiate(Interrupt* interrupt);
  Result<ApiVersion> renegotiate(ApiVersion refused, Interrupt* interrupt);
  void set_version(std::optional<ApiVersion> version);
  Result<HttpAnswer> exchange(HttpCall call);

  const std::filesystem::path socket_;
  const ClientLimits limits_;
  Interrupt stopping_;

  std::mutex mutex_;
  std::optional<ApiVersion> version_;  ///< guarded by mutex_; none: to be asked
};

}  // namespace ferry::engine
