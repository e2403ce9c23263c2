#include "migration/service_config.h"

#include <gmock/gmock.h>

#include "engine/container.h"
#include "support/scripted_engine.h"
#include "volumes/names.h"

namespace ferry::migration {
namespace {

using engine::testing::golden;
using nlohmann::json;
using testing::ElementsAre;
using testing::UnorderedElementsAre;

const std::string id = std::string(64, '1').replace(0, 2, "ab");

ServiceDescription described(const engine::Container& container) {
  ServiceDescription service;
  service.has_values = true;
  service.container = container.name;
  service.id = container.id;
  service.config = container.config;
  service.host_config = container.host_config;
  service.networks = container.networks;
  for (const auto& at : container.mounts) {
    service.mounts.emplace_back().at = at;
    service.mounts.back().anonymous = at.type == "volume" && volumes::is_anonymous(at.name);
  }
  return service;
}

engine::MountPoint mount(const std::string& type, const std::string& name, const std::string& destination,
                         bool rw = true) {
  engine::MountPoint at;
  at.type = type;
  (type == "volume" ? at.name : at.source) = name;
  at.destination = destination;
  at.rw = rw;
  return at;
}

/// A container with some mounts.
class ServiceConfig : public testing::Test {
 protected:
  ServiceConfig() {
    service_.has_values = true;
    service_.container = "db";
    service_.id = id;
    service_.config = {{"Image", "postgres:16"}, {"Hostname", id.substr(0, 12)}, {"Env", {"PASSWORD=secret"}}};
    service_.host_config = {{"NetworkMode", "none"}, {"Binds", nullptr}, {"VolumesFrom", nullptr}};
    service_.networks = {{"none", json::object()}};
  }
  void add(const engine::MountPoint& at, bool anonymous = false) {
    service_.mounts.emplace_back().at = at;
    service_.mounts.back().anonymous = anonymous;
  }
  ServiceCreation made() {
    auto creation = creation_of(service_, options_, names_);
    EXPECT_TRUE(creation) << creation.error().message;
    return creation ? std::move(*creation) : ServiceCreation();
  }
  json host() { return made().body["HostConfig"]; }

  ServiceDescription service_;
  ServiceOptions options_{.container = "db"};
  ServiceNames names_{"postgres:16", "ferry:latest", {1, 44}};
};

class RecordedConfig : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Engines, RecordedConfig, testing::Values("20.10", "26.1", "28.5"),
                         [](const auto& engine) { return "v" + std::string(engine.param).replace(2, 1, "_"); });

/// All that the Engine shows is asked for again, but for what a volume's driver is and what is the container's own.
TEST_P(RecordedConfig, IsKeptButForItsVolumesDriver) {
  const auto container = engine::decode_container(golden(GetParam(), "service.json"));
  ASSERT_TRUE(container);
  const auto made = creation_of(described(*container), {.container = "service"}, {"busybox", "ferry:latest", {1, 44}});
  ASSERT_TRUE(made) << made.error().message;
  json wanted = container->config;
  wanted.erase("Hostname");
  wanted["Entrypoint"] = json::array({""});  // that of busybox is none
  wanted["HostConfig"] = container->host_config;
  wanted["HostConfig"].erase("ContainerIDFile");
  wanted["HostConfig"]["VolumeDriver"] = "ferry:latest";  // of /anonymous
  wanted["HostConfig"]["Mounts"][0]["VolumeOptions"]["DriverConfig"] = {{"Name", "ferry:latest"}};
  EXPECT_EQ(made->body, wanted) << json::diff(wanted, made->body).dump();
  EXPECT_TRUE(made->other_networks.empty());
}

TEST_F(ServiceConfig, TheHostnameThatTheEngineGaveIsNotKept) {
  EXPECT_FALSE(made().body.contains("Hostname"));
  service_.config["Hostname"] = "db.example";
  EXPECT_EQ(made().body["Hostname"], "db.example");
}

TEST_F(ServiceConfig, TheHostsNameIsNotKept) {
  service_.host.name = "a.example";
  service_.host_config["NetworkMode"] = "host";
  service_.config["Hostname"] = "a.example";
  EXPECT_FALSE(made().body.contains("Hostname"));
  service_.config["Hostname"] = "its.own";
  EXPECT_EQ(made().body["Hostname"], "its.own");
  service_.host_config["UTSMode"] = "host";
  EXPECT_FALSE(made().body.contains("Hostname")) << "the Engine refuses both together";
}

/// Of none the Engine would take the image's.
TEST_F(ServiceConfig, AnEntrypointThatWasClearedStaysSo) {
  EXPECT_EQ(made().body["Entrypoint"], json::array({""}));
  for (const json& entrypoint : {json::array(), json::array({"/run", "it"})}) {
    service_.config["Entrypoint"] = entrypoint;
    EXPECT_EQ(made().body["Entrypoint"], entrypoint);
  }
}

TEST_F(ServiceConfig, TheImageIsTheOneThere) {
  names_.image = "sha256:1";
  EXPECT_EQ(made().body["Image"], "sha256:1");
  EXPECT_EQ(made().body["Env"], json::array({"PASSWORD=secret"}));
}

TEST_F(ServiceConfig, BindsKeepTheirModes) {
  service_.host_config["Binds"] = {"data:/data:ro,z,nocopy", "/srv:/srv:Z", "plain:/plain/"};
  add(mount("volume", "data", "/data", false));
  add(mount("bind", "/srv", "/srv"));
  add(mount("volume", "plain", "/plain"));
  options_.renames["data"] = "data2";
  options_.renames["/srv"] = "no volume";
  EXPECT_THAT(host()["Binds"], ElementsAre("data2:/data:ro,z,nocopy", "/srv:/srv:Z", "plain:/plain/"));
  EXPECT_FALSE(host().contains("Mounts"));
}

/// The Engine's API has them, `docker run` has not.
TEST_F(ServiceConfig, ABindWithoutSourceIsAnAnonymousVolume) {
  service_.host_config["Binds"] = json::array({"/data"});
  add(mount("volume", std::string(64, 'a'), "/data"), true);
  const json body = host();
  EXPECT_THAT(body["Binds"], ElementsAre("/data"));
  EXPECT_EQ(body["VolumeDriver"], "ferry:latest");
  EXPECT_FALSE(body.contains("Mounts"));
}

TEST_F(ServiceConfig, TypedMountsKeepWhatTheyAreButForTheDriver) {
  const json before = {{"Type", "volume"},
                       {"Source", "data"},
                       {"Target", "/data/"},
                       {"ReadOnly", true},
                       {"VolumeOptions",
                        {{"NoCopy", true},
                         {"Labels", {{"a,b", "c\nd"}}},
                         {"DriverConfig", {{"Name", "local"}, {"Options", {{"type", "nfs"}}}}}}}};
  const json tmpfs = {{"Type", "tmpfs"}, {"Target", "/run"}, {"TmpfsOptions", {{"SizeBytes", 1000}}}};
  service_.host_config["Mounts"] = {before, tmpfs};
  add(mount("volume", "data", "/data", false));
  add(mount("tmpfs", "", "/run"));
  options_.renames["data"] = "data2";
  json wanted = before;
  wanted["Source"] = "data2";
  wanted["VolumeOptions"]["DriverConfig"] = {{"Name", "ferry:latest"}};
  EXPECT_EQ(host()["Mounts"], json::array({wanted, tmpfs}));
}

/// `docker rm -v` removes what was created without a name.
TEST_F(ServiceConfig, AnonymousVolumesHaveNoName) {
  service_.config["Volumes"] = {{"/image", json::object()}};
  service_.host_config["Mounts"] = json::array({{{"Type", "volume"}, {"Target", "/typed"}}});
  add(mount("volume", std::string(64, 'a'), "/image"), true);
  add(mount("volume", std::string(64, 'b'), "/typed"), true);
  const json body = made().body;
  EXPECT_EQ(body["Volumes"], service_.config["Volumes"]);
  EXPECT_EQ(body["HostConfig"]["VolumeDriver"], "ferry:latest");
  const json typed = {
      {"Type", "volume"}, {"Target", "/typed"}, {"VolumeOptions", {{"DriverConfig", {{"Name", "ferry:latest"}}}}}};
  EXPECT_EQ(body["HostConfig"]["Mounts"], json::array({typed}));
}

/// Else the Engine would refuse those that have another driver already.
TEST_F(ServiceConfig, ADriverOfAllVolumesIsNamedOnlyIfTheEngineMakesSome) {
  service_.config["Volumes"] = {{"/data", json::object()}};
  service_.host_config["Binds"] = json::array({"data:/data"});
  service_.host_config["VolumeDriver"] = "other";
  add(mount("volume", "data", "/data"));
  EXPECT_EQ(host()["VolumeDriver"], "");
}

TEST_F(ServiceConfig, MountsOfOtherContainersBecomeItsOwn) {
  service_.host_config["VolumesFrom"] = json::array({"other:ro"});
  add(mount("volume", "data", "/data", false));
  add(mount("volume", std::string(64, 'a'), "/anonymous"), true);
  add(mount("bind", "/srv", "/srv", false));
  const json body = host();
  EXPECT_EQ(body["VolumesFrom"], nullptr);
  const json options = {{"NoCopy", true}, {"DriverConfig", {{"Name", "ferry:latest"}}}};
  EXPECT_THAT(body["Mounts"],
              ElementsAre(json{{"Type", "volume"},
                               {"Source", "data"},
                               {"Target", "/data"},
                               {"ReadOnly", true},
                               {"VolumeOptions", options}},
                          json{{"Type", "volume"}, {"Target", "/anonymous"}, {"VolumeOptions", options}},
                          json{{"Type", "bind"}, {"Source", "/srv"}, {"Target", "/srv"}, {"ReadOnly", true}}));
}

/// The image, or -v, has a volume where a data container has one of a name.
TEST_F(ServiceConfig, MountsOfOtherContainersTakeThePlaceOfTheImagesVolumes) {
  service_.config["Volumes"] = {{"/data", json::object()}};
  service_.host_config["VolumesFrom"] = json::array({"other"});
  add(mount("volume", "data", "/data"));
  const json body = host();
  EXPECT_EQ(body["Mounts"][0]["Source"], "data");
  EXPECT_EQ(body["Mounts"].size(), 1U);
}

/// It is no volume on a disk.
TEST_F(ServiceConfig, ATmpfsStaysOne) {
  const json typed = {{"Type", "tmpfs"}, {"Target", "/typed"}, {"TmpfsOptions", {{"SizeBytes", 1000}}}};
  service_.host_config["Mounts"] = json::array({typed});
  service_.host_config["Tmpfs"] = {{"/plain/", "size=1m"}};
  add(mount("tmpfs", "", "/typed"));
  add(mount("tmpfs", "", "/plain"));
  options_.only = {"data"};
  options_.rest_empty = true;
  const json body = host();
  EXPECT_EQ(body["Mounts"], json::array({typed}));
  EXPECT_EQ(body["Tmpfs"], service_.host_config["Tmpfs"]);
}

TEST_F(ServiceConfig, WhatDoesNotTravelIsAnEmptyVolume) {
  service_.host_config["Binds"] = {"data:/data", "cache:/cache:ro", "/srv:/srv"};
  service_.host_config["Mounts"] = json::array({{{"Type", "volume"}, {"Source", "logs"}, {"Target", "/logs"}}});
  for (const char* name : {"data", "cache", "logs"})
    add(mount("volume", name, std::string("/") + name, name != std::string("cache")));
  add(mount("bind", "/srv", "/srv"));
  options_.only = {"data"};
  options_.rest_empty = true;
  const json body = host();
  EXPECT_THAT(body["Binds"], ElementsAre("data:/data"));
  const json options = {{"DriverConfig", {{"Name", "ferry:latest"}}}};
  EXPECT_THAT(body["Mounts"],
              UnorderedElementsAre(
                  json{{"Type", "volume"}, {"Target", "/cache"}, {"ReadOnly", true}, {"VolumeOptions", options}},
                  json{{"Type", "volume"}, {"Target", "/srv"}, {"VolumeOptions", options}},
                  json{{"Type", "volume"}, {"Target", "/logs"}, {"VolumeOptions", options}}));
}

TEST_F(ServiceConfig, NetworksAreJoinedByWhatWasAskedForOnly) {
  service_.host_config["NetworkMode"] = "back";
  service_.networks = {{"back",
                        {{"Aliases", {"db", id.substr(0, 12)}},
                         {"IPAMConfig", {{"IPv4Address", "10.1.0.7"}}},
                         {"IPAddress", "10.1.0.7"},
                         {"MacAddress", "02:42:0a:01:00:07"},
                         {"NetworkID", "1"},
                         {"Links", nullptr}}},
                       {"front", {{"Aliases", {id.substr(0, 12)}}, {"IPAMConfig", nullptr}}}};
  const json back = {{"Aliases", {"db"}}, {"IPAMConfig", {{"IPv4Address", "10.1.0.7"}}}};
  EXPECT_EQ(made().body["NetworkingConfig"], json({{"EndpointsConfig", {{"back", back}, {"front", json::object()}}}}));
  names_.api = {1, 43};
  const auto older = made();
  EXPECT_EQ(older.body["NetworkingConfig"], json({{"EndpointsConfig", {{"back", back}}}}));
  EXPECT_EQ(older.other_networks, (std::map<std::string, json>{{"front", {{"EndpointConfig", json::object()}}}}));
}

/// By its ID, which is another one there.
TEST_F(ServiceConfig, ANetworkIsNamed) {
  service_.host_config["NetworkMode"] = "1a2b";
  service_.networks = {{"back", {{"NetworkID", "1a2b3c"}}}, {"front", {{"NetworkID", "2b3c4d"}}}};
  names_.api = {1, 41};
  const auto creation = made();
  EXPECT_EQ(creation.body["HostConfig"]["NetworkMode"], "back");
  EXPECT_TRUE(creation.body["NetworkingConfig"]["EndpointsConfig"].contains("back"));
  EXPECT_TRUE(creation.other_networks.contains("front"));
}

TEST_F(ServiceConfig, TheDefaultNetworkIsTheBridge) {
  service_.host_config["NetworkMode"] = "default";
  service_.networks = {{"bridge", {{"Aliases", nullptr}}}};
  names_.api = {1, 41};
  EXPECT_EQ(made().body["NetworkingConfig"], json({{"EndpointsConfig", {{"bridge", json::object()}}}}));
  EXPECT_TRUE(made().other_networks.empty());
}

TEST_F(ServiceConfig, NothingIsMadeOfAnEnvironmentWithoutItsValues) {
  service_.has_values = false;
  EXPECT_EQ(creation_of(service_, options_, names_).error().code, Code::corrupt);
}

/// Whoever describes the service may name a volume of the destination as one that nobody looks at there.
TEST_F(ServiceConfig, AnAnonymousVolumeHasNoNameAndAnotherHasOne) {
  for (const bool anonymous : {true, false})
    for (const bool named : {true, false})
      for (const bool typed : {true, false}) {
        service_.mounts.clear();
        add(mount("volume", "victim", "/data"), anonymous);
        service_.host_config["Binds"] = nullptr;
        service_.host_config["Mounts"] = nullptr;
        if (typed)
          service_.host_config["Mounts"] =
              json::array({{{"Type", "volume"}, {"Source", named ? "victim" : ""}, {"Target", "/data"}}});
        else
          service_.host_config["Binds"] = json::array({named ? "victim:/data" : "/data"});
        EXPECT_EQ(creation_of(service_, options_, names_).has_value(), anonymous != named)
            << anonymous << named << typed;
      }
}

TEST_F(ServiceConfig, AnotherTypeThanTheApisIsCorrupt) {
  for (const auto& [name, value] : std::vector<std::pair<std::string, json>>{{"Binds", 7},
                                                                             {"Binds", json::array({7})},
                                                                             {"Mounts", "x"},
                                                                             {"Mounts", json::array({7})},
                                                                             {"Tmpfs", 7},
                                                                             {"NetworkMode", 7}}) {
    service_.host_config = {{name, value}};
    const auto made = creation_of(service_, options_, names_);
    ASSERT_FALSE(made) << name;
    EXPECT_EQ(made.error().code, Code::corrupt);
  }
}

}  // namespace
}  // namespace ferry::migration
