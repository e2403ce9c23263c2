#include "migration/service_returns.h"

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

}  // namespace

Result<transport::PeerAddress> ServiceReturns::peer_of(const Departed& departed, const ReclaimRequest& reclaim) const {
  if (reclaim.peer) return *reclaim.peer;
  if (departed.peer) return *departed.peer;
  return fail(Code::invalid_argument,
              "it is not known how " + departed.to + " can be reached from here; add from=HOST[:PORT]");
}

/// All that had left with it, since half a service must not come back.
Result<> ServiceReturns::add_volumes(const Departed& departed, Peer& peer, Deadline deadline, TicketPlan& plan) const {
  for (const auto& volume : departed.volumes) {
    if (volume.local)
      return fail(Code::unsupported,
                  "volume " + volume.source +
                      " belongs to the local driver here, into which nothing is brought back; remove what is left of "
                      "the service here, and move it: from=HOST and container=" +
                      departed.as);
    const auto own = parts_.catalogue.find(volume.source);
    if (!own || !was_handed_off_by(*own, departed.id))
      return fail(Code::busy, "volume " + volume.source + " is not any more what was handed off with the service");
    ImportRequest request{plan.request.peer, volume.target, plan.request.terms};
    request.terms.freeze = Freeze::none;
    TicketVolume back;
    back.target = volume.source;
    FERRY_ASSIGN(back.source, peer.describe(request, most_bytes, left_until(deadline)));
    plan.request.volumes.push_back({volume.target, volume.source});
    plan.volumes.push_back(std::move(back));
  }
  return {};
}

Result<> ServiceReturns::add_layer(const Departed& departed, const ServiceDescription& there,
                                   TicketService& service) const {
  const auto here = containers_.container(departed.container.id);
  if (!here && here.error().code == Code::not_found)
    return fail(Code::not_found,
                "container " + departed.container.name +
                    " was removed here; move the service back: from=HOST and container=" + departed.as);
  FERRY_TRY(here);
  const auto upper = here->upper.empty() ? Result<std::filesystem::path>(fail(Code::unsupported, "no such path"))
                                         : parts_.sources.visible_path(here->upper);
  if (!upper || !there.layer.readable)
    return fail(Code::unsupported,
                "Ferry does not see the layer of container " + departed.container.name +
                    " at both hosts, so it cannot bring it back; move the service: from=HOST, container=" +
                    departed.as + " and layer=false");
  service.store = here->store;
  FERRY_ASSIGN(service.before, identify_layer(*upper));
  return {};
}

Result<> ServiceReturns::begin(const std::string& name, const ReclaimRequest& reclaim) {
  if (parts_.catalogue.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  FERRY_ASSIGN(const auto departed, parts_.departures.departed(reclaim.volume));
  FERRY_ASSIGN(const bool held, parts_.departures.is_held(departed.container));
  if (!held)
    return fail(Code::busy, "container " + departed.container.name +
                                " was started or changed here since it had left; remove it, and move the service back: "
                                "from=HOST and container=" +
                                departed.as);
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
  FERRY_TRY(add_volumes(departed, *peer, deadline, plan));
  TicketService service;
  service.options.container = departed.as;
  service.options.as = departed.container.name;
  service.options.start = departed.container.was_running;
  service.container = there.id;
  service.made = departed.container.id;
  service.held = to_json(departed.container);
  FERRY_TRY(add_layer(departed, there, service));
  plan.service = std::move(service);
  return parts_.tickets.begin_return(name, std::move(plan));
}

}  // namespace ferry::migration
