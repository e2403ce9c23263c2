#include "peer/service_messages.h"

#include <gmock/gmock.h>

#include <functional>

#include "peer/messages.h"

namespace ferry::peer {
namespace {

using migration::ServiceDescription;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

ServiceDescription service() {
  ServiceDescription service;
  service.container = "db";
  service.id = std::string(64, 'a');
  service.status = "running";
  service.config = {{"Env", {"A=b\n\"c\""}}};
  service.host_config = {
      {"Mounts", {{{"VolumeOptions", {{"DriverConfig", {{"Options", {{"a", {{"deep", {{"er", 1}}}}}}}}}}}}}}};
  service.networks = {{"bridge", json::object()}};
  auto& mount = service.mounts.emplace_back();
  mount.at = {"volume", "pgdata", "/srv", "/data", "ferry", "z", true};
  mount.anonymous = mount.no_copy = true;
  mount.lineage = "lineage";
  mount.labels = {{"a,b", "c=\n"}};
  mount.options = {{"mode", "ro"}};
  mount.bytes = 42;
  mount.trouble = "none";
  mount.shared_with = {"web"};
  service.image_name = "postgres:16";
  service.image = {"sha256:1", "amd64", "", "linux", 7, {"postgres:16"}, {"postgres@sha256:2"}, {"sha256:3"}};
  service.layer = {"overlay2", true, true, {1, 2, 3}, 99};
  service.host.name = "a.example";
  service.host.architecture = "x86_64";
  service.host.os = "linux";
  service.host.store = "overlay2";
  service.host.containerd_store = service.host.user_namespaces = true;
  service.host.cgroup_version = "2";
  service.obstacles = {{"it is paused", "unpause it", true}};
  return service;
}

TEST(ServiceMessages, ADescriptionArrivesAsItWas) {
  const std::string text = encode(service());
  const auto arrived = decode_service(text);
  ASSERT_TRUE(arrived) << arrived.error().message;
  EXPECT_EQ(encode(*arrived), text);
  EXPECT_EQ(arrived->host_config, service().host_config) << "which is nested deeper than messages are";
  EXPECT_EQ(arrived->mounts.at(0).labels, service().mounts.at(0).labels);
}

TEST(ServiceMessages, RequestsArriveAsTheyWere) {
  const auto described =
      decode_describe_service_request(encode(DescribeServiceRequest{"db", migration::ServiceDetail::full}));
  ASSERT_TRUE(described);
  EXPECT_EQ(described->container, "db");
  EXPECT_EQ(described->detail, migration::ServiceDetail::full);
  PlanServiceRequest request{service(), {}};
  request.options.container = "db";
  request.options.as = "copy";
  request.options.only = {"pgdata", "/data"};
  request.options.renames = {{"pgdata", "other"}};
  request.options.rest_empty = request.options.keep_binds = request.options.copy_shared = true;
  request.options.layer = request.options.start = false;
  const auto planned = decode_plan_service_request(encode(request));
  ASSERT_TRUE(planned) << planned.error().message;
  EXPECT_EQ(encode(*planned), encode(request));
}

TEST(ServiceMessages, APlanArrivesAsItWasAndItsSentencesCanBeShown) {
  const json plan = {{"container", "db"},
                     {"mounts", {{{"labels", {{"line", "1\n2"}}}, {"bytes", 1}, {"rw", true}}}},
                     {"obstacles", {{{"what", "\x1b[31m"}, {"do", ""}, {"blocks", true}}}}};
  const auto arrived = decode_plan(encode_plan(plan));
  ASSERT_TRUE(arrived) << arrived.error().message;
  EXPECT_EQ((*arrived)["mounts"], plan["mounts"]);
  EXPECT_THAT((*arrived)["obstacles"][0]["what"].get<std::string>(), Not(HasSubstr("\x1b")));
}

/// Each of them is refused, and none ends the process.
TEST(ServiceMessages, HostileDescriptionsAreRefused) {
  const std::vector<std::pair<const char*, std::function<void(json&)>>> cases = {
      {"no list", [](json& message) { message["mounts"] = 7; }},
      {"no mount", [](json& message) { message["mounts"] = {7}; }},
      {"too many mounts", [](json& message) { message["mounts"] = json::array_t(1001, message["mounts"][0]); }},
      {"a count below zero", [](json& message) { message["mounts"][0]["bytes"] = -1; }},
      {"no flag", [](json& message) { message["mounts"][0]["rw"] = "yes"; }},
      {"no labels", [](json& message) { message["mounts"][0]["labels"] = {1}; }},
      {"no configuration", [](json& message) { message["configuration"] = 7; }},
      {"a configuration that is no JSON", [](json& message) { message["configuration"] = "{"; }},
      {"a configuration of something else", [](json& message) { message["configuration"] = "[]"; }},
      {"a configuration without objects",
       [](json& message) { message["configuration"] = R"({"Config":7,"HostConfig":{},"Networks":{}})"; }},
      {"a long configuration",
       [](json& message) {
         message["configuration"] =
             R"({"Config":{"x":")" + std::string(1U << 20, 'x') + R"("},"HostConfig":{},"Networks":{}})";
       }},
      {"a deep configuration",
       [](json& message) {
         message["configuration"] =
             R"({"HostConfig":{},"Networks":{},"Config":)" + std::string(100, '[') + std::string(100, ']') + "}";
       }},
      {"no image", [](json& message) { message.erase("image"); }},
      {"no layer", [](json& message) { message["layer"] = nullptr; }},
      {"no obstacles",
       [](json& message) {
         message["obstacles"] = {{{"what", 1}}};
       }},
  };
  for (const auto& [name, change] : cases) {
    json message = json::parse(encode(service()));
    change(message);
    const auto arrived = decode_service(message.dump());
    ASSERT_FALSE(arrived) << name;
    EXPECT_EQ(arrived.error().code, Code::corrupt) << name;
  }
  EXPECT_FALSE(decode_service(std::string(5U << 20, ' ')));
  EXPECT_FALSE(decode_plan("[]"));
  EXPECT_FALSE(decode_plan(R"({"obstacles":7})"));
  EXPECT_FALSE(decode_plan(json({{"obstacles", json::array()}, {"a", json::array_t(1001, 1)}}).dump()));
}

TEST(ServiceMessages, NamesAreChecked) {
  for (const char* name : {"", "../x", "a b", "-x", "a/b"}) {
    EXPECT_FALSE(decode_image_request(json({{"container", name}, {"known", 1}}).dump())) << name;
    const auto request = decode_describe_service_request(json({{"container", name}, {"full", true}}).dump());
    ASSERT_FALSE(request) << name;
    EXPECT_EQ(request.error().code, Code::invalid_argument);
  }
  PlanServiceRequest request{service(), {}};
  request.options.container = "db";
  request.options.renames = {{"pgdata", "../x"}};
  EXPECT_FALSE(decode_plan_service_request(encode(request)));
}

TEST(ServiceMessages, ALayerIsOpenedByItsContainer) {
  const std::string request = encode(OpenRequest{"", migration::Freeze::none, "db"});
  EXPECT_EQ(json::parse(request), json({{"container", "db"}, {"freeze", "none"}}));
  const auto arrived = decode_open_request(request);
  ASSERT_TRUE(arrived) << arrived.error().message;
  EXPECT_EQ(arrived->container, "db");
  EXPECT_EQ(arrived->volume, "");
  EXPECT_EQ(arrived->freeze, migration::Freeze::none);
  for (const char* name : {"", "../x", "a/b"})
    EXPECT_FALSE(decode_open_request(json({{"container", name}, {"freeze", "none"}}).dump())) << name;
  EXPECT_FALSE(decode_open_request(R"({"container": "db"})"));
  EXPECT_FALSE(decode_describe_request(R"({"container": "db", "freeze": "none", "room": 1})")) << "of volumes only";
}

}  // namespace
}  // namespace ferry::peer
