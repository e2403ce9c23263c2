#pragma once

#include <httplib.h>

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "migration/sources.h"

namespace ferry::peer {

/// What a host allows its peers (the plugin's setting ALLOW).
enum class Permission { read, write, freeze, containers };

/// Parses "read,write,…" or "none".
Result<std::set<Permission>> parse_permissions(std::string_view text);

/// Answers the peer protocol (docs/protocol.md) to whoever the transport has authenticated. Thread-safe.
class Server {
 public:
  /// `sources` must outlive this object, and this object the routes' server. `uuid` is the catalogue's.
  Server(const migration::Sources& sources, std::string uuid, std::set<Permission> allowed);

  /// Adds the protocol's routes; to be called before `routes` serves.
  void add_routes(httplib::Server& routes);

 private:
  /// A volume that a peer has opened. manifest() needs it for itself, content and seal share it.
  struct Session {
    std::unique_ptr<migration::OpenVolume> volume;
    std::shared_mutex mutex;
    Deadline expires;  // protected by Server::mutex_
  };

  Result<> allow(Permission permission) const;
  void describe(const httplib::Request& request, httplib::Response& response) const;
  void open(const httplib::Request& request, httplib::Response& response);
  void manifest(const httplib::Request& request, httplib::Response& response);
  void content(const httplib::Request& request, httplib::Response& response);
  void seal(const httplib::Request& request, httplib::Response& response);
  void close(const httplib::Request& request, httplib::Response& response);
  Result<std::shared_ptr<Session>> find(const httplib::Request& request);
  Result<std::string> add(std::shared_ptr<Session> session);

  const migration::Sources& sources_;
  const std::string uuid_;
  const std::set<Permission> allowed_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Session>> sessions_;  // protected by mutex_
};

}  // namespace ferry::peer
