#include "migration/ticket_plan.h"

#include "base/host_name.h"
#include "migration/import_job.h"
#include "migration/migration_record.h"

namespace ferry::migration {

namespace {

nlohmann::json to_json(const TicketVolume& volume) {
  const auto& source = volume.source;
  nlohmann::json json = {{"source", source.volume},   {"target", volume.target},
                         {"action", volume.action},   {"mode", to_string(source.mode)},
                         {"lineage", source.lineage}, {"instance", source.instance},
                         {"epoch", source.epoch},     {"labels", source.labels},
                         {"options", source.options}, {"labels_known", source.labels_known},
                         {"driver", source.driver},   {"source_lineage", volume.source_lineage}};
  if (volume.is_copy) json["copy"] = true;
  return json;
}

TicketVolume ticket_volume(const nlohmann::json& json) {
  TicketVolume volume;
  volume.target = json.at("target").get<std::string>();
  volume.action = json.at("action").get<std::string>();
  auto& source = volume.source;
  source.volume = json.at("source").get<std::string>();
  source.mode = json.at("mode") == "ro" ? volumes::Mode::ro : volumes::Mode::rw;
  source.lineage = json.at("lineage").get<std::string>();
  source.instance = json.value("instance", "");
  source.epoch = json.at("epoch").get<std::uint64_t>();
  source.labels = json.at("labels").get<volumes::StringMap>();
  source.options = json.at("options").get<volumes::StringMap>();
  source.labels_known = json.at("labels_known").get<bool>();
  source.driver = json.value("driver", "");
  volume.is_copy = json.value("copy", false);
  volume.source_lineage = json.at("source_lineage").get<std::string>();
  return volume;
}

TicketService ticket_service(const nlohmann::json& json) {
  TicketService service;
  service.options = service_options_of(json.at("options"));
  service.container = json.at("container").get<std::string>();
  service.made = json.at("made").get<std::string>();
  service.store = json.at("store").get<std::string>();
  if (const auto layer = json.value("layer", std::uint64_t{0}); layer != 0)  // of an earlier version
    service.came = {layer};
  service.came = json.value("came", service.came);
  service.held = json.value("held", nlohmann::json());
  if (!service.returns()) return service;
  for (const auto& volume : json.at("locals")) service.locals.push_back(ticket_volume(volume));
  service.before = json.at("before").get<std::vector<std::uint64_t>>();
  service.left_ns = json.at("left_ns").get<std::int64_t>();
  service.replace = json.at("replace").get<bool>();
  return service;
}

}  // namespace

ImportRequest request_of(const TicketPlan& plan, const TicketVolume& volume) {
  return {plan.request.peer, volume.source.volume, plan.request.terms};
}

HandOffRequest hand_off_request(const TicketPlan& plan, const std::string& uuid, std::uint16_t port) {
  HandOffRequest request;
  request.uuid = uuid;
  request.port = port;
  request.name = host_name();
  request.after = plan.hand_off_before;
  const auto add = [&](const TicketVolume& volume) {
    request.volumes.push_back({volume.source.volume, volume.target, volume.source.epoch, volume.source_lineage,
                               volume.source.driver == "local"});
  };
  for (const auto& volume : plan.volumes)
    if (!volume.is_copy) add(volume);
  if (plan.service) {
    request.container = plan.service->container;
    request.as = plan.service->options.name_there();
    request.layer = !plan.service->store.empty();
    for (const auto& volume : plan.service->locals) add(volume);
  }
  return request;
}

nlohmann::json to_json(const TicketPlan& plan) {
  auto volumes = nlohmann::json::array();
  for (const auto& volume : plan.volumes) volumes.push_back(to_json(volume));
  nlohmann::json json = {{"uuid", plan.peer_uuid},
                         {"replace", plan.request.replace},
                         {"dry_run", plan.request.dry_run},
                         {"volumes", volumes},
                         {"committing", plan.committing}};
  add_to_json(json, plan.request.peer);
  if (!plan.planned.empty()) json["planned"] = plan.planned;
  if (plan.is_move()) {
    json["hand_off_from"] = plan.hand_off;
    if (!plan.failing.empty()) json["failing"] = plan.failing;
    if (!plan.hand_off_before.empty()) json["hand_off_before"] = plan.hand_off_before;
    json["prepared"] = plan.prepared;
    json["owned"] = plan.owned;
  }
  if (plan.service) {
    json["service"] = {{"options", to_json(plan.service->options)},
                       {"container", plan.service->container},
                       {"made", plan.service->made},
                       {"came", plan.service->came},
                       {"store", plan.service->store}};
    if (plan.service->returns()) {
      json["service"]["held"] = plan.service->held;
      json["service"]["before"] = plan.service->before;
      json["service"]["left_ns"] = plan.service->left_ns;
      json["service"]["replace"] = plan.service->replace;
      auto& locals = json["service"]["locals"] = nlohmann::json::array();
      for (const auto& volume : plan.service->locals) locals.push_back(to_json(volume));
    }
  }
  add_to_json(json, plan.request.terms);
  return json;
}

Result<TicketPlan> ticket_plan(const nlohmann::json& json) {
  try {
    TicketPlan plan;
    plan.request.peer = peer_of(json);
    plan.peer_uuid = json.at("uuid").get<std::string>();
    plan.request.terms = terms_of(json);
    plan.request.replace = json.at("replace").get<bool>();
    plan.request.dry_run = json.at("dry_run").get<bool>();
    for (const auto& volume : json.at("volumes")) plan.volumes.push_back(ticket_volume(volume));
    plan.committing = json.at("committing");
    if (json.contains("planned")) plan.planned = json["planned"].get<std::vector<bool>>();
    if (json.contains("hand_off_from")) {
      plan.hand_off = json["hand_off_from"].get<std::string>();
      plan.hand_off_before = json.value("hand_off_before", "");
      plan.failing = json.value("failing", "");
      plan.prepared = json.at("prepared");
      plan.owned = json.at("owned").get<bool>();
      plan.request.move = true;
    }
    if (json.contains("service")) {
      plan.service = ticket_service(json["service"]);
    }
    const auto adds_up = [&](const nlohmann::json& outcomes) {
      return outcomes.is_null() || outcomes.size() == plan.volumes.size();
    };
    if (!adds_up(plan.committing) || !adds_up(plan.prepared) ||
        (!plan.planned.empty() && plan.planned.size() != plan.volumes.size()))
      return fail(Code::corrupt, "the stored ticket does not add up");
    return plan;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, std::string("the stored ticket cannot be read: ") + error.what());
  }
}

nlohmann::json new_ticket_status(const TicketPlan& plan) {
  return new_migration_status("import", plan.request.peer.text());
}

nlohmann::json import_of(const TicketPlan& plan, const TicketVolume& volume, const std::string& ticket) {
  auto import = to_json(request_of(plan, volume));
  import["uuid"] = plan.peer_uuid;
  import["instance"] = volume.source.instance;
  import["ticket"] = ticket;
  return import;
}

}  // namespace ferry::migration
