#pragma once

#include <httplib.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/result.h"
#include "engine/interrupt.h"
#include "migration/arrivals.h"
#include "migration/forced_reclaims.h"
#include "migration/freezes.h"
#include "migration/hand_offs.h"
#include "migration/service_departures.h"
#include "migration/service_planner.h"
#include "migration/services.h"
#include "migration/sources.h"
#include "peer/sessions.h"
#include "peer/turned_links.h"

namespace ferry::peer {

/// What a host allows its peers (the plugin's setting ALLOW).
enum class Permission { read, write, freeze, containers };

/// Parses "read,write,…" or "none".
Result<std::set<Permission>> parse_permissions(std::string_view text);

struct ServerTimes {
  /// A source that nobody asks for is closed after it; a receiver that comes back opens it anew.
  std::chrono::milliseconds idle = std::chrono::minutes(15);
  /// So long a request waits for another one to end that uses its source: for one that the client has just read to its
  /// end or broken off, not for a whole walk.
  std::chrono::milliseconds turn = std::chrono::seconds(10);
};

/// Answers the peer protocol (docs/protocol.md) to whoever the transport has authenticated. Thread-safe.
class Server {
 public:
  /// `sources` must outlive this object, and this object the routes' server. `uuid` is the catalogue's.
  Server(const migration::Sources& sources, std::string uuid, std::set<Permission> allowed,
         const ServerTimes& times = {});

  /// Only these volumes can be read, and only by that peer, which is named for people; those that are `staying` are not
  /// handed off. As the following, to be called before add_routes().
  void restrict_to(std::set<std::string> volumes, std::string peer, std::set<std::string> staying = {}) {
    only_ = std::move(volumes);
    only_peer_ = std::move(peer);
    staying_ = std::move(staying);
  }
  /// Hand-offs of volumes are possible. With `peer`, to that one only, and the one of that ID.
  void hand_over(migration::HandOffs& hand_offs, std::optional<transport::PeerAddress> peer = {}, std::string id = {}) {
    hand_offs_ = &hand_offs;
    hand_off_peer_ = std::move(peer);
    hand_off_id_ = std::move(id);
  }
  /// Services of this host can be described, and others be planned for it. Both must outlive this object.
  void move_services(const migration::Services& services, const migration::ServicePlanner& planner) {
    services_ = &services;
    planner_ = &planner;
  }
  /// With restrict_to(): of the services this one can be described, the container `id`, by that and by `name`,
  /// whichever container has that name meanwhile. `services` must outlive this object.
  void show_service(const migration::Services& services, const std::string& name, const std::string& id) {
    services_ = &services;
    only_container_ = {{name, id}, {id, id}};
  }
  /// What writes to volumes that can be read may be made to stand still by `freezes`, which must outlive this object.
  /// `only`: of that kind, and for no longer than that; its volumes have no meaning.
  void let_freeze(migration::Freezes& freezes, std::optional<migration::FreezeRequest> only = {}) {
    freezes_ = &freezes;
    only_freeze_ = std::move(only);
  }
  /// Hand-offs of volumes may take a container along, by `departures`, which must outlive this object.
  void let_depart(migration::ServiceDepartures& departures) { departures_ = &departures; }
  /// A host that greets this one hears what `forced`, which must outlive this object, has to tell it.
  void tell(migration::ForcedReclaims& forced) { forced_ = &forced; }
  /// Exports of other hosts begin `arrivals` here, and their links are put into `links`. Both must outlive this object.
  void receive(migration::Arrivals& arrivals, TurnedLinks& links);

  /// Adds the protocol's routes; to be called before `routes` serves. Bodies have 4 MiB at most, whatever is asked for.
  void add_routes(httplib::Server& routes);

  /// Ends what is being packed, for good; a request that is being answered so is broken off.
  void stop_packing() { packing_.trip(); }

  /// How many sources are open.
  std::size_t open_sources() const { return sessions_.count(); }

 private:
  using Handler = void (Server::*)(const httplib::Request&, const std::string& body, httplib::Response&);

  void serve(Handler handler, const httplib::Request& request, const httplib::ContentReader& read,
             httplib::Response& response);
  auto wrap(Handler handler);
  std::string who(const httplib::Request& request) const;
  Result<> allow(Permission permission) const;
  Result<> allow_reading(const std::string& volume) const;
  Result<> allow_taking(const std::string& volume) const;
  Result<> allow_freeze() const;
  Result<> allow_hold_of(const std::vector<std::string>& volumes) const;
  Result<> limit(migration::FreezeRequest& wanted) const;
  Result<bool> watch(const std::string& id, const migration::FreezeRequest& request) const;
  Result<std::string> allowed_container(const std::string& container) const;
  void add_export_routes(httplib::Server& routes);
  void add_hand_off_routes(httplib::Server& routes);
  void add_freeze_routes(httplib::Server& routes);
  void freeze(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void beat_freeze(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void thaw(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void hold(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void hand_off(const httplib::Request& request, migration::hand_off::Request wanted, httplib::Response& response);
  void commit(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void release(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void acknowledge(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void beat(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void fence(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void note_fence(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void greet(const httplib::Request& request, httplib::Response& response);
  template <class Request>
  void note_who(const httplib::Request& request, Request& wanted) const;
  Result<> allow_hand_off(const std::string& id) const;
  void heard(const Session& session);
  void describe(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void describe_service(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void image(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void plan_service(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void open(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void manifest(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void content(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void seal(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void close(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void begin_export(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void turn_link(const httplib::Request& request, const std::string& body, httplib::Response& response);
  void export_status(const httplib::Request& request, httplib::Response& response);
  void end_export(const httplib::Request& request, const std::string& body, httplib::Response& response);

  const migration::Sources& sources_;
  const std::string uuid_;
  const std::set<Permission> allowed_;
  const ServerTimes times_;
  std::optional<std::set<std::string>> only_;
  std::map<std::string, std::string> only_container_;  // with only_: IDs by what they may be asked for
  std::string only_peer_;
  std::set<std::string> staying_;  // with only_
  migration::Arrivals* arrivals_ = nullptr;
  TurnedLinks* links_ = nullptr;
  migration::HandOffs* hand_offs_ = nullptr;
  migration::Freezes* freezes_ = nullptr;
  std::optional<migration::FreezeRequest> only_freeze_{};
  migration::ForcedReclaims* forced_ = nullptr;
  migration::ServiceDepartures* departures_ = nullptr;
  const migration::Services* services_ = nullptr;
  const migration::ServicePlanner* planner_ = nullptr;
  std::optional<transport::PeerAddress> hand_off_peer_;
  std::string hand_off_id_;
  engine::Interrupt packing_;
  Sessions sessions_;
};

}  // namespace ferry::peer
