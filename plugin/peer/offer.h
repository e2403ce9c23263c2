#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "migration/freezes.h"
#include "migration/hand_offs.h"
#include "migration/service_departures.h"
#include "migration/services.h"
#include "migration/sources.h"
#include "peer/server.h"
#include "transport/http_server.h"
#include "transport/transport.h"

namespace ferry::peer {

/// Lets the peer of an export read some volumes of this host, or a service, over links that this host opens to it and
/// turns round (docs/protocol.md, "Exports"): a few are kept open, in threads of their own, until stop(). Thread-safe.
class Offer {
 public:
  /// What the peer may ask for.
  struct Offered {
    std::set<std::string> volumes;                       ///< to read
    migration::HandOffs* hand_offs = nullptr;            ///< null: it may only copy
    std::string container{}, container_id{};             ///< its name and ID; empty: none
    const migration::Services* services = nullptr;       ///< null: there is no container
    migration::ServiceDepartures* departures = nullptr;  ///< likewise
    migration::Freezes* freezes = nullptr;               ///< null: nothing stands still for it
    std::optional<migration::FreezeRequest> freeze{};    ///< as of Server::let_freeze
    std::set<std::string> staying{};                     ///< of the volumes: they are not handed off
  };
  /// `sources` must outlive this object, as must what `offered` points to. `id` is the export's, `uuid` the
  /// catalogue's.
  Offer(std::shared_ptr<transport::Transport> transport, const std::string& id, const migration::Sources& sources,
        std::string uuid, Offered offered);
  Offer(const Offer&) = delete;
  Offer& operator=(const Offer&) = delete;
  ~Offer();

  /// Once; does nothing after stop().
  Result<> start();
  /// Breaks what is under way, for good. Its threads end soon: within 5 s, while a connection is made.
  void stop();

  /// Why there is no link, if there is none; else empty.
  std::string trouble() const;

 private:
  void keep_link();
  Result<transport::Link> turn_link();
  bool pause(std::chrono::milliseconds duration);
  void note(const Result<transport::Link>& link);

  const std::shared_ptr<transport::Transport> transport_;
  const std::string path_;
  Server server_;
  transport::HttpServer http_;
  std::mutex stopping_mutex_;  // one start() or stop() at a time
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;             // protected by mutex_
  int open_links_ = 0;                // protected by mutex_
  std::string trouble_;               // protected by mutex_: of the last link that could not be made
  std::vector<std::thread> threads_;  // protected by stopping_mutex_
};

}  // namespace ferry::peer
