#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "transport/link.h"
#include "transport/transport.h"

namespace ferry::peer {

/// The links that exporting hosts have opened to this one and turned round: on those this host asks, since it may not
/// be able to connect to them. Each export has an ID. Thread-safe.
class TurnedLinks {
 public:
  /// `longest_silence`: how long an exporting host may stay away before what it sends is given up.
  explicit TurnedLinks(std::chrono::milliseconds longest_silence = std::chrono::hours(24))
      : longest_silence_(longest_silence) {}

  /// Keeps the link until it is taken. Of those that wait the oldest goes if there are more than 8 of an export, or 256
  /// in all.
  void add(const std::string& id, transport::Link link);

  /// A link of that export; waits for one. Code::unavailable: there was none by the deadline; not_found: nor has there
  /// been one since this was first asked for in vain, longest_silence ago.
  Result<transport::Link> take(const std::string& id, Deadline deadline);

  /// Closes those that wait, and keeps no more; take() does not wait any more.
  void stop();

 private:
  struct Waiting {
    std::string id;
    transport::Link link;
  };
  void drop_dead();  // with mutex_ held
  void drop_surplus(const std::string& id);

  const std::chrono::milliseconds longest_silence_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;                    // protected by mutex_
  std::list<Waiting> waiting_;              // protected by mutex_; the oldest first
  std::map<std::string, Deadline> silent_;  // protected by mutex_: since when an export's links are waited for in vain
};

/// The way back to the host of an export, over `links`, which must outlive the transport. `address` is a turned one.
std::unique_ptr<transport::Transport> make_turned_transport(TurnedLinks& links, transport::PeerAddress address);

}  // namespace ferry::peer
