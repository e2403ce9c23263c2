#include "migration/service_returns.h"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/time.h"
#include "migration/handed_off.h"
#include "migration/layer_place.h"
#include "migration/service_obstacles.h"

namespace ferry::migration {

namespace {

/// Of the 5 s that a create may take.
constexpr std::chrono::milliseconds check_time{4000};
constexpr std::uint64_t most_bytes = INT64_MAX;

std::string move_instead(const ServiceDepartures::Departed& departed) {
  return "remove what is left of the service here, and move it back: from=HOST and container=" + departed.as;
}

}  // namespace

Result<transport::PeerAddress> ServiceReturns::peer_of(const Departed& departed, const ReclaimRequest& reclaim) const {
  if (reclaim.peer) return *reclaim.peer;
  if (departed.peer) return *departed.peer;
  return fail(Code::invalid_argument,
              "it is not known how " + departed.to + " can be reached from here; add from=HOST[:PORT]");
}

/// All that had left with it, since half a service must not come back.
Result<> ServiceReturns::add_volumes(const Departed& departed, Peer& peer, Deadline deadline, TicketPlan& plan,
                                     TicketService& service) const {
  for (const auto& volume : departed.volumes) {
    const auto own = parts_.catalogue.find(volume.source);
    if (!volume.local && (!own || !was_handed_off_by(*own, departed.id)))
      return fail(Code::busy, "volume " + volume.source + " is not any more what was handed off with the service");
    ImportRequest request{plan.request.peer, volume.target, plan.request.terms};
    request.terms.freeze = Freeze::none;
    TicketVolume back;
    back.target = volume.source;
    FERRY_ASSIGN(back.source, peer.describe(request, most_bytes, left_until(deadline)));
    if (!volume.local && back.source.driver == "local")
      return fail(Code::unsupported, "volume " + volume.target + " is of the local driver at " + departed.to +
                                         " now, which is no later version of volume " + volume.source +
                                         " for all that Ferry knows; " + move_instead(departed));
    if (volume.local) {
      FERRY_TRY(add_local(std::move(back), departed, service));
      continue;
    }
    plan.request.volumes.push_back({volume.target, volume.source});
    plan.volumes.push_back(std::move(back));
  }
  return {};
}

/// Its directory is exchanged with the one that has come, as that of the layer.
Result<> ServiceReturns::add_local(TicketVolume back, const Departed& departed, TicketService& service) const {
  if (departed.stopped_ns == 0 && !service.replace)
    return fail(Code::unsupported,
                "ticket " + departed.ticket +
                    " is of an earlier version, which has not noted what is needed to bring volume " + back.target +
                    " of the local driver back; " + move_instead(departed));
  FERRY_ASSIGN(const auto place, parts_.sources.local_path(back.target));
  FERRY_ASSIGN(const bool fits, is_beside_ferrys(place));
  if (!fits)
    return fail(Code::unsupported, "Ferry's data and volume " + back.target +
                                       " of the local driver are on two file systems here, so it cannot be brought "
                                       "back into place; " +
                                       move_instead(departed));
  FERRY_ASSIGN(const auto before, identify_layer(place));
  back.action = "update";
  back.source_lineage = back.source.lineage;
  service.locals.push_back(std::move(back));
  service.before.push_back(before);
  return {};
}

/// Whether what has come can be exchanged with that directory.
Result<bool> ServiceReturns::is_beside_ferrys(const std::filesystem::path& place) const {
  struct stat there {};
  struct stat ferrys {};
  if (::stat(place.c_str(), &there) != 0 || ::stat(parts_.catalogue.layout().volumes().c_str(), &ferrys) != 0)
    return fail_errno("stat " + place.string());
  return there.st_dev == ferrys.st_dev;
}

/// As it has stayed here.
Result<engine::Container> ServiceReturns::container_of(const Departed& departed) const {
  const std::string move = "move the service back: from=HOST and container=" + departed.as;
  auto here = containers_.container(departed.container.id);
  if (!here && here.error().code == Code::not_found)
    return fail(Code::not_found, "container " + departed.container.name + " was removed here; " + move);
  FERRY_TRY(here);
  FERRY_ASSIGN(const bool held, parts_.departures.is_held(departed.container));
  if (held) return here;
  return fail(Code::busy,
              "container " + here->name + " was started or changed here since it had left; remove it, and " + move);
}

/// What has its name there may be another one by now.
Result<> ServiceReturns::check_same(const Departed& departed, const engine::Container& here,
                                    const ServiceDescription& there) const {
  const auto has = [&](const std::string& volume) {
    return std::any_of(there.mounts.begin(), there.mounts.end(),
                       [&](const ServiceMount& mount) { return mount.is_volume() && mount.at.name == volume; });
  };
  FERRY_ASSIGN(const auto image, containers_.image(here.image_id));
  const bool is_same = (image.id == there.image.id || has_same_layers(image, there.image)) &&
                       std::all_of(departed.volumes.begin(), departed.volumes.end(),
                                   [&](const auto& volume) { return has(volume.target); });
  if (is_same) return {};
  return fail(Code::busy, "container " + departed.as + " of " + departed.to +
                              " is not the one that had left, but of another image or with other volumes; " +
                              move_instead(departed));
}

Result<> ServiceReturns::add_layer(const engine::Container& here, const ServiceDescription& there,
                                   TicketService& service) const {
  const auto upper = here.upper.empty() ? Result<std::filesystem::path>(fail(Code::unsupported, "it has none"))
                                        : parts_.sources.visible_path(here.upper);
  if (!upper || !there.layer.readable || there.layer.store != here.store)
    return fail(Code::unsupported, "Ferry does not see the layer of container " + here.name +
                                       " at both hosts, so it cannot bring it back; move the service: from=HOST, "
                                       "container=" +
                                       service.options.container + " and layer=false");
  FERRY_ASSIGN(const bool fits, is_beside_ferrys(*upper));
  if (!fits)
    return fail(Code::unsupported, "Ferry's data and the layer of container " + here.name +
                                       " are on two file systems here, so it cannot be brought back into place; move "
                                       "the service: from=HOST, container=" +
                                       service.options.container + " and layer=false");
  service.store = here.store;
  FERRY_ASSIGN(const auto before, identify_layer(*upper));
  service.before.push_back(before);
  return {};
}

Result<> ServiceReturns::begin(const std::string& name, const ReclaimRequest& reclaim) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  FERRY_ASSIGN(const auto departed, parts_.departures.departed(reclaim.volume));
  FERRY_ASSIGN(const auto here, container_of(departed));
  const Deadline deadline = after(check_time);
  TicketPlan plan;
  FERRY_ASSIGN(plan.request.peer, peer_of(departed, reclaim));
  plan.request.terms = reclaim.terms;
  plan.request.move = true;
  plan.request.replace = true;  // nobody could write to what was kept here
  const auto peer = parts_.peers.peer(plan.request.peer);
  FERRY_ASSIGN(plan.peer_uuid, peer->identify(left_until(deadline)));
  if (plan.peer_uuid != departed.uuid)
    return fail(Code::denied, plan.request.peer.text() + " is another host than the one that has the service");
  FERRY_ASSIGN(const auto there, peer->describe_service(departed.as, ServiceDetail::quick, left_until(deadline)));
  FERRY_TRY(refuse_blocked(there.obstacles));
  FERRY_TRY(check_same(departed, here, there));
  TicketService service;
  service.options.container = departed.as;
  service.options.as = here.name;
  service.options.start = departed.container.was_running || there.status == "running";
  service.options.layer = departed.layer;
  service.container = there.id;
  service.made = departed.container.id;
  service.held = to_json(departed.container);
  service.left_ns = departed.stopped_ns;
  service.replace = reclaim.replace;
  if (service.options.start) FERRY_TRY(parts_.planner.check_start(here));
  if (departed.layer) FERRY_TRY(add_layer(here, there, service));
  FERRY_TRY(add_volumes(departed, *peer, deadline, plan, service));  // pieces after the layer
  if (reclaim.replace && service.locals.empty())
    return fail(
        Code::invalid_argument,
        "option replace: none of the service's volumes is of the local driver here, and nobody can have written "
        "to the others; leave it out");
  plan.service = std::move(service);
  return parts_.tickets.begin_return(name, std::move(plan));
}

}  // namespace ferry::migration
