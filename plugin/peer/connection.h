#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/stream.h"
#include "transport/transport.h"

namespace ferry::peer {

/// Requests to one peer over a pool of connections. Thread-safe: each request has a connection of its own.
class Connection {
 public:
  explicit Connection(std::shared_ptr<transport::Transport> transport) : transport_(std::move(transport)) {}

  struct Call {
    std::string method;  ///< GET, POST or DELETE
    std::string path;    ///< below path_prefix
    std::string body;
    std::chrono::milliseconds connect_timeout;
    std::chrono::milliseconds read_timeout;  ///< for the next byte
    std::optional<Deadline> deadline = {};   ///< for everything: connecting, the request and the whole answer
  };

  /// The body of the answer, 64 MiB at most. Code::unavailable if the deadline passes. An answer that is not 200 is the
  /// error that the peer reports.
  Result<std::string> ask(const Call& call);
  /// Hands the answer's body on as it comes; an error of the sink ends the request and is passed on.
  Result<> stream(const Call& call, const sync::ByteSink& sink);

  /// Breaks requests under way; later ones fail at once with Code::cancelled.
  void abort();

 private:
  using Client = std::unique_ptr<transport::PeerClient>;
  Result<Client> take(std::chrono::milliseconds timeout, bool& reused);
  void give_back(Client client);
  Result<> send(const Call& call, const sync::ByteSink& sink);
  Result<> send_on(transport::PeerClient& client, const Call& call, const sync::ByteSink& sink, bool& healthy);
  Error explain(httplib::Error error, const Call& call) const;

  const std::shared_ptr<transport::Transport> transport_;
  std::mutex mutex_;
  std::vector<Client> idle_;                    // protected by mutex_
  std::vector<transport::PeerClient*> in_use_;  // protected by mutex_
  bool aborted_ = false;                        // protected by mutex_
};

}  // namespace ferry::peer
