#pragma once

#include <httplib.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "transport/endpoint.h"
#include "transport/link.h"
#include "transport/peer_address.h"

namespace ferry::transport {

/// One connection as httplib's client, with a deadline that httplib's own timeouts do not give: those are for the next
/// byte each, so that who drips bytes is waited for without end. Used as every httplib client.
class PeerClient : public httplib::ClientImpl {
 public:
  using httplib::ClientImpl::ClientImpl;

  /// By when the following requests have to be answered altogether, or fail with httplib::Error::Read or Write; none:
  /// no such limit. Not while a request is under way.
  void set_deadline(std::optional<Deadline> deadline) { deadline_ = deadline; }

  /// Takes the connection away from the client, which can do nothing more. Not while a request is under way.
  /// Code::unavailable: there is none any more.
  virtual Result<Link> release() = 0;

 protected:
  std::optional<Deadline> deadline() const { return deadline_; }

 private:
  std::optional<Deadline> deadline_;
};

/// The sentence of Transport::explain for a connection that is an httplib client on a socket.
Error explain_request(httplib::Error error, const std::string& peer);

/// A way to one peer: opens authenticated connections to it. Thread-safe.
class Transport {
 public:
  virtual ~Transport() = default;

  /// A new connection that is established and authenticated, within `timeout` altogether.
  ///
  /// Errors: Code::unavailable (name unknown, refused, unreachable, timed out, busy: worth a retry), Code::denied (the
  /// keys differ), Code::unsupported (something else than Ferry answers there), or that of reading the own key.
  virtual Result<Link> open(std::chrono::milliseconds timeout) = 0;

  /// A client on a new connection, as open() makes it. The client is that one connection: it is kept alive, and once it
  /// is broken every further request fails with httplib::Error::Connection (connect again). It sends what it is told
  /// (no redirects, no proxy, no compression), read and write timeouts are 30 s until the caller sets others. As every
  /// httplib client, it runs one request at a time; stop() may be called from any thread to abort it.
  Result<std::unique_ptr<PeerClient>> connect(std::chrono::milliseconds timeout);

  /// What a failed request on a connected client means, as one sentence that names the peer.
  virtual Error explain(httplib::Error error) const { return explain_request(error, peer()); }

  virtual PeerAddress address() const = 0;
  /// The peer as users write it, e.g. "a:7766".
  std::string peer() const { return address().text(); }
};

}  // namespace ferry::transport
