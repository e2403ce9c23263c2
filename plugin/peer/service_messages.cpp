#include "peer/service_messages.h"

#include <utility>
#include <vector>

#include "base/log.h"
#include "peer/message_text.h"

namespace ferry::peer {

namespace {

using migration::ServiceDescription;
using migration::ServiceDetail;
using migration::ServiceMount;
using nlohmann::json;

constexpr std::size_t longest_configuration = 1U << 20;
constexpr int deepest_configuration = 16;
constexpr std::size_t most = 1000;  ///< mounts, obstacles, layers of an image, …
constexpr std::size_t longest_text = 1000;
constexpr std::size_t longest_path = 4095;
constexpr std::size_t longest_plan = 4U << 20;

const json::array_t& bounded(const json& array) {
  const auto& elements = array.get_ref<const json::array_t&>();
  if (elements.size() > most) throw Mismatch("a list has more than 1000 elements");
  return elements;
}

std::vector<std::string> texts(const json& array) {
  std::vector<std::string> all;
  for (const auto& one : bounded(array)) all.push_back(short_string(one, longest_text));
  return all;
}

json to_json(const ServiceMount& mount) {
  return {{"type", mount.at.type},
          {"name", mount.at.name},
          {"source", mount.at.source},
          {"destination", mount.at.destination},
          {"driver", mount.at.driver},
          {"mode", mount.at.mode},
          {"rw", mount.at.rw},
          {"anonymous", mount.anonymous},
          {"nocopy", mount.no_copy},
          {"lineage", mount.lineage},
          {"labels", mount.labels},
          {"options", mount.options},
          {"bytes", mount.bytes},
          {"trouble", mount.trouble},
          {"shared_with", mount.shared_with}};
}

ServiceMount mount_of(const json& message) {
  ServiceMount mount;
  mount.at.type = short_string(message.at("type"), longest_text);
  mount.at.name = short_string(message.at("name"), longest_text);
  mount.at.source = short_string(message.at("source"), longest_path);
  mount.at.destination = short_string(message.at("destination"), longest_path);
  mount.at.driver = short_string(message.at("driver"), longest_text);
  mount.at.mode = short_string(message.at("mode"), longest_text);
  mount.at.rw = message.at("rw").get<bool>();
  mount.anonymous = message.at("anonymous").get<bool>();
  mount.no_copy = message.at("nocopy").get<bool>();
  mount.lineage = short_string(message.at("lineage"), 64);
  mount.labels = message.at("labels").get<volumes::StringMap>();
  mount.options = message.at("options").get<volumes::StringMap>();
  mount.bytes = count(message.at("bytes"));
  mount.trouble = printable(message.at("trouble").get<std::string>(), longest_text);
  mount.shared_with = texts(message.at("shared_with"));
  return mount;
}

json to_json(const engine::Image& image) {
  return {{"id", image.id},           {"architecture", image.architecture},
          {"variant", image.variant}, {"os", image.os},
          {"bytes", image.bytes},     {"tags", image.tags},
          {"digests", image.digests}, {"layers", image.layers}};
}

engine::Image image_of(const json& message) {
  engine::Image image;
  image.id = short_string(message.at("id"), longest_text);
  image.architecture = short_string(message.at("architecture"), 64);
  image.variant = short_string(message.at("variant"), 64);
  image.os = short_string(message.at("os"), 64);
  image.bytes = count(message.at("bytes"));
  image.tags = texts(message.at("tags"));
  image.digests = texts(message.at("digests"));
  image.layers = texts(message.at("layers"));
  return image;
}

json to_json(const migration::ServiceLayer& layer) {
  return {{"store", layer.store},         {"readable", layer.readable},       {"counted", layer.counted},
          {"added", layer.changes.added}, {"changed", layer.changes.changed}, {"deleted", layer.changes.deleted},
          {"bytes", layer.bytes}};
}

migration::ServiceLayer layer_of(const json& message) {
  migration::ServiceLayer layer;
  layer.store = short_string(message.at("store"), 64);
  layer.readable = message.at("readable").get<bool>();
  layer.counted = message.at("counted").get<bool>();
  layer.changes = {count(message.at("added")), count(message.at("changed")), count(message.at("deleted"))};
  layer.bytes = count(message.at("bytes"));
  return layer;
}

json to_json(const engine::HostFacts& host) {
  return {{"name", host.name},
          {"architecture", host.architecture},
          {"os", host.os},
          {"store", host.store},
          {"containerd_store", host.containerd_store},
          {"user_namespaces", host.user_namespaces},
          {"log_drivers", host.log_drivers},
          {"cgroup_version", host.cgroup_version}};
}

engine::HostFacts host_of(const json& message) {
  engine::HostFacts host;
  host.name = short_string(message.at("name"), 255);
  host.architecture = short_string(message.at("architecture"), 64);
  host.os = short_string(message.at("os"), 64);
  host.store = short_string(message.at("store"), 64);
  host.containerd_store = message.at("containerd_store").get<bool>();
  host.user_namespaces = message.at("user_namespaces").get<bool>();
  host.log_drivers = texts(message.at("log_drivers"));
  host.cgroup_version = short_string(message.at("cgroup_version"), 8);
  return host;
}

/// As text, because the Engine nests deeper than the protocol does.
std::string configuration_of(const ServiceDescription& service) {
  return dump({{"Config", service.config}, {"HostConfig", service.host_config}, {"Networks", service.networks}});
}

void read_configuration(const json& text, ServiceDescription& service) {
  const auto& configuration = text.get_ref<const std::string&>();
  if (configuration.size() > longest_configuration) throw Mismatch("its configuration is longer than 1 MiB");
  const json parts = parse(configuration, deepest_configuration);
  service.config = parts.at("Config");
  service.host_config = parts.at("HostConfig");
  service.networks = parts.at("Networks");
  for (const json* part : {&service.config, &service.host_config, &service.networks})
    if (!part->is_object()) throw Mismatch("its configuration is none");
  if (service.networks.size() > most) throw Mismatch("it has more than 1000 networks");
}

json to_json(const ServiceDescription& service) {
  auto mounts = json::array();
  for (const auto& mount : service.mounts) mounts.push_back(to_json(mount));
  auto obstacles = json::array();
  for (const auto& obstacle : service.obstacles)
    obstacles.push_back({{"what", obstacle.what}, {"do", obstacle.remedy}, {"blocks", obstacle.blocks}});
  return {{"container", service.container},  {"id", service.id},
          {"status", service.status},        {"configuration", configuration_of(service)},
          {"mounts", std::move(mounts)},     {"image_name", service.image_name},
          {"image", to_json(service.image)}, {"layer", to_json(service.layer)},
          {"host", to_json(service.host)},   {"obstacles", std::move(obstacles)},
          {"values", service.has_values}};
}

ServiceDescription service_of(const json& message) {
  ServiceDescription service;
  service.container = short_string(message.at("container"), 255);
  service.id = short_string(message.at("id"), 64);
  service.status = short_string(message.at("status"), 64);
  read_configuration(message.at("configuration"), service);
  service.has_values = message.value("values", false);
  for (const auto& mount : bounded(message.at("mounts"))) service.mounts.push_back(mount_of(mount));
  service.image_name = short_string(message.at("image_name"), longest_text);
  service.image = image_of(message.at("image"));
  service.layer = layer_of(message.at("layer"));
  service.host = host_of(message.at("host"));
  for (const auto& obstacle : bounded(message.at("obstacles")))
    service.obstacles.push_back({printable(obstacle.at("what").get<std::string>(), longest_text),
                                 printable(obstacle.at("do").get<std::string>(), longest_text),
                                 obstacle.at("blocks").get<bool>()});
  return service;
}

void check_bounds(const json& value) {
  if (value.is_structured() && value.size() > most) throw Mismatch("it has a list of more than 1000 elements");
  if (value.is_structured())
    for (const auto& element : value) check_bounds(element);
}

}  // namespace

std::string encode(const DescribeServiceRequest& request) {
  json message = {{"container", request.container}, {"full", request.detail == ServiceDetail::full}};
  if (request.detail == ServiceDetail::whole) message["values"] = true;
  return dump(message);
}

Result<DescribeServiceRequest> decode_describe_service_request(const std::string& text) {
  return decode_with<DescribeServiceRequest>(
      text, "request", [](const json& message) -> Result<DescribeServiceRequest> {
        DescribeServiceRequest request;
        request.container = message.at("container").get<std::string>();
        FERRY_TRY(migration::check_container(request.container));
        request.detail = message.at("full").get<bool>() ? ServiceDetail::full : ServiceDetail::quick;
        if (message.value("values", false)) request.detail = ServiceDetail::whole;
        return request;
      });
}

std::string encode(const ImageRequest& request) {
  return dump({{"container", request.container}, {"known", request.known}});
}

Result<ImageRequest> decode_image_request(const std::string& text) {
  return decode_with<ImageRequest>(text, "request", [](const json& message) -> Result<ImageRequest> {
    ImageRequest request{message.at("container").get<std::string>(), count(message.at("known"))};
    FERRY_TRY(migration::check_container(request.container));
    return request;
  });
}

std::string encode(const ServiceDescription& service) { return dump(to_json(service)); }

Result<ServiceDescription> decode_service(const std::string& text) {
  return decode_with<ServiceDescription>(text, "description of a service", service_of, longest_plan);
}

std::string encode(const PlanServiceRequest& request) {
  return dump({{"service", to_json(request.service)}, {"options", migration::to_json(request.options)}});
}

Result<PlanServiceRequest> decode_plan_service_request(const std::string& text) {
  return decode_with<PlanServiceRequest>(text, "request", [](const json& message) -> Result<PlanServiceRequest> {
    PlanServiceRequest request{service_of(message.at("service")), migration::service_options_of(message.at("options"))};
    FERRY_TRY(check(request.options));
    return request;
  });
}

std::string encode_plan(const json& plan) { return dump(plan); }

Result<json> decode_plan(const std::string& text) {
  return decode_with<json>(
      text, "plan of a service",
      [](const json& message) -> Result<json> {
        if (!message.is_object()) throw Mismatch("it is none");
        check_bounds(message);
        json plan = message;
        for (auto& obstacle : plan.at("obstacles"))
          for (const char* sentence : {"what", "do"})
            obstacle.at(sentence) = printable(obstacle.at(sentence).get<std::string>(), longest_text);
        return plan;
      },
      longest_plan);
}

}  // namespace ferry::peer
