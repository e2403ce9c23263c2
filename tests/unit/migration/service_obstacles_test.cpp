#include "migration/service_obstacles.h"

#include <gmock/gmock.h>

#include <functional>

namespace ferry::migration {
namespace {

using nlohmann::json;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

/// A service that nothing stands in the way of, and a host that it could move to.
struct Case {
  Case() {
    service.container = "db";
    service.id = std::string(64, 'a');
    service.status = "running";
    service.config = {{"Image", "postgres:16"}, {"Labels", {{"team", "web"}}}};
    service.host_config = {{"NetworkMode", "bridge"},
                           {"Runtime", "runc"},
                           {"LogConfig", {{"Type", "json-file"}, {"Config", json::object()}}},
                           {"PortBindings", {{"5432/tcp", {{{"HostIp", ""}, {"HostPort", "5432"}}}}}}};
    service.networks = {{"bridge", json::object()}};
    service.image_name = "postgres:16";
    service.image.id = "sha256:1";
    service.image.bytes = 1000;
    service.layer = {"overlay2", true, true, {1, 2, 3}, 100};
    service.host = host();
    add("volume", "pgdata", "/data", "ferry").lineage = "lineage";
    there.host = host();
    there.image = DestinationFacts::ImageThere::same;
    there.free_bytes = 1'000'000;
    options.container = "db";
  }

  static engine::HostFacts host() {
    engine::HostFacts facts;
    facts.architecture = "x86_64";
    facts.os = "linux";
    facts.store = "overlay2";
    facts.runtimes = {"io.containerd.runc.v2", "runc"};
    facts.log_drivers = {"json-file", "syslog"};
    facts.cgroup_version = "2";
    return facts;
  }

  ServiceMount& add(const std::string& type, const std::string& name, const std::string& destination,
                    const std::string& driver = "") {
    ServiceMount& mount = service.mounts.emplace_back();
    mount.at = {type, name, "/srv/" + name, destination, driver, "", true};
    return mount;
  }
  engine::ListedContainer& add_there(const std::string& name) {
    auto& container = there.containers.emplace_back();
    container.id = std::string(64, 'b');
    container.name = name;
    return container;
  }

  ServiceDescription service;
  ServiceOptions options;
  DestinationFacts there;
};

struct Row {
  const char* name;
  std::function<void(Case&)> change;
  std::vector<const char*> what;  ///< in the sentence
  const char* remedy = "";        ///< in what to do about it
  bool blocks = true;
};

void PrintTo(const Row& row, std::ostream* out) { *out << row.name; }

class Obstacles : public testing::TestWithParam<Row> {};

TEST_P(Obstacles, IsFoundAndSaysWhatToDo) {
  Case it;
  GetParam().change(it);
  const auto found = find_obstacles(it.service, it.options, it.there);
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_EQ(found->size(), 1U);
  for (const char* fragment : GetParam().what) EXPECT_THAT(found->front().what, HasSubstr(fragment));
  EXPECT_THAT(found->front().remedy, HasSubstr(GetParam().remedy));
  EXPECT_EQ(found->front().blocks, GetParam().blocks);
  EXPECT_EQ(found->front().remedy.empty(), !GetParam().blocks) << "what blocks has a way out";
}

const std::vector<Row> rows = {
    {"Swarm",
     [](Case& it) { it.service.config["Labels"]["com.docker.swarm.service.name"] = "s"; },
     {"swarm service s"}},
    {"AutoRemove", [](Case& it) { it.service.host_config["AutoRemove"] = true; }, {"--rm"}, "without --rm"},
    {"Name", [](Case& it) { it.add_there("db"); }, {"container db already"}, "as=NAME"},
    {"OtherName",
     [](Case& it) {
       it.options.as = "copy";
       it.add_there("copy");
     },
     {"container copy already"},
     "as=NAME"},
    {"Architecture", [](Case& it) { it.there.host.architecture = "aarch64"; }, {"linux/x86_64", "linux/aarch64"}},
    {"UserNamespaces", [](Case& it) { it.there.host.user_namespaces = true; }, {"userns-remap"}},
    {"Runtime", [](Case& it) { it.service.host_config["Runtime"] = "kata"; }, {"runtime kata"}},
    {"LogDriver",
     [](Case& it) {
       it.service.host_config["LogConfig"]["Type"] = "gcplogs";
       it.service.host.log_drivers = {"gcplogs"};
     },
     {"log driver gcplogs"}},
    {"LogPlugin",
     [](Case& it) { it.service.host_config["LogConfig"]["Type"] = "loki"; },
     {"log driver loki", "plugin"},
     "",
     false},
    {"Cgroups", [](Case& it) { it.there.host.cgroup_version = "1"; }, {"cgroups (2 and 1)"}, "", false},
    {"Network", [](Case& it) { it.service.host_config["NetworkMode"] = "container:x"; }, {"network", "container:x"}},
    {"Ipc", [](Case& it) { it.service.host_config["IpcMode"] = "container:x"; }, {"ipc namespace"}},
    {"Pid", [](Case& it) { it.service.host_config["PidMode"] = "container:x"; }, {"pid namespace"}},
    {"Link", [](Case& it) { it.service.host_config["Links"] = {"/web:/db/web"}; }, {"linked", "/web:/db/web"}},
    {"MissingNetwork", [](Case& it) { it.there.networks_missing = {"back"}; }, {"no network back"}, "network create"},
    {"PortOfAContainer",
     [](Case& it) {
       it.add_there("pg2").ports = {{"127.0.0.1", "tcp", 5432}};
     },
     {"port 5432/tcp", "container pg2"},
     "another port"},
    {"PortOfAProcess",
     [](Case& it) {
       it.there.listening = {{"127.0.0.1", "tcp", 5432}};
     },
     {"5432/tcp", "a process of that host"}},
    {"HostNetwork",
     [](Case& it) { it.service.host_config["NetworkMode"] = "host"; },
     {"the host's network"},
     "",
     false},
    {"Device",
     [](Case& it) {
       it.service.host_config["Devices"] = {{{"PathOnHost", "/dev/dri"}}};
     },
     {"devices", "/dev/dri"}},
    {"DeviceRequest",
     [](Case& it) {
       it.service.host_config["DeviceRequests"] = {{{"Driver", "nvidia"}}};
     },
     {"devices", "nvidia"}},
    {"Privileged", [](Case& it) { it.service.host_config["Privileged"] = true; }, {"privileged"}, "", false},
    {"Bind",
     [](Case& it) { it.add("bind", "conf", "/etc/app"); },
     {"/srv/conf at /etc/app", "bind mount"},
     "binds=keep"},
    {"Tmpfs", [](Case& it) { it.add("tmpfs", "", "/run/x"); }, {"tmpfs at /run/x"}, "", false},
    {"OtherType", [](Case& it) { it.add("npipe", "", "/pipe"); }, {"of type npipe"}},
    {"OtherDriver",
     [](Case& it) { it.add("volume", "v", "/x", "nfs").trouble = "volume v belongs to the driver \"nfs\""; },
     {"driver \"nfs\"", "at /x"},
     "rest=empty"},
    {"Shared",
     [](Case& it) { it.service.mounts[0].shared_with = {"web"}; },
     {"pgdata", "also used by web"},
     "shared=copy"},
    {"AnotherVolume",
     [](Case& it) {
       it.there.volumes["pgdata"] = {"ferry", "another lineage"};
     },
     {"another volume pgdata"},
     "rename=pgdata:NAME"},
    {"AVolumeOfAnotherDriver",
     [](Case& it) {
       it.there.volumes["pgdata"] = {"local", ""};
     },
     {"another volume pgdata", "driver local"},
     "rename=pgdata:NAME"},
    {"Rest",
     [](Case& it) { it.options.only = {"/other"}, it.add("volume", "o", "/other"); },
     {"/data is not among"},
     "rest=empty"},
    {"UnknownVolume",
     [](Case& it) {
       it.options.only = {"pgdata", "none"};
     },
     {"no volume none"}},
    {"UnknownRename",
     [](Case& it) {
       it.options.renames = {{"none", "x"}};
     },
     {"rename: none"}},
    {"TwoOfOneName",
     [](Case& it) {
       it.add("volume", "wal", "/wal", "ferry");
       it.options.renames = {{"wal", "pgdata"}};
     },
     {"pgdata and wal", "both be named pgdata"},
     "rename="},
    {"LayerInContainerd",
     [](Case& it) { it.there.host.containerd_store = true; },
     {"containerd's store"},
     "layer=false"},
    {"LayerElsewhere", [](Case& it) { it.there.host.store = "btrfs"; }, {"overlay2", "btrfs"}, "layer=false"},
    {"LayerNotSeen", [](Case& it) { it.service.layer.readable = false; }, {"does not see"}, "layer=false"},
    {"LayerStays", [](Case& it) { it.options.layer = false; }, {"layer=false"}, "", false},
    {"NothingIsFenced",
     [](Case& it) { it.service.mounts[0].at.driver = "local"; },
     {"none of its volumes", "at its source"},
     "",
     false},
    {"OtherImage",
     [](Case& it) { it.there.image = DestinationFacts::ImageThere::other; },
     {"another image postgres:16"}},
    {"NoImage",
     [](Case& it) { it.there.image = DestinationFacts::ImageThere::no; },
     {"does not have the image postgres:16"},
     "",
     false},
    {"Room",
     [](Case& it) {
       it.service.mounts[0].bytes = 999'901;
       it.there.free_bytes = 1'000'000;
     },
     {"1000001 bytes", "room for 1000000"}},
    {"OfTheSource",
     [](Case& it) {
       it.service.obstacles = {{"the container is paused", "unpause it first"}};
     },
     {"paused"},
     "unpause"},
};
INSTANTIATE_TEST_SUITE_P(Each, Obstacles, testing::ValuesIn(rows),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(FindObstacles, NoneForAPlainService) {
  const Case it;
  EXPECT_THAT(*find_obstacles(it.service, it.options, it.there), IsEmpty());
}

TEST(FindObstacles, EachOptionLiftsItsOwn) {
  Case it;
  it.add("bind", "conf", "/etc/app");
  it.service.mounts[0].shared_with = {"web"};
  it.add("volume", "v", "/x", "nfs").trouble = "volume v belongs to the driver \"nfs\"";
  it.there.host.containerd_store = true;
  it.add_there("db");
  it.there.volumes["pgdata"] = {"local", ""};
  it.service.mounts.push_back(it.service.mounts[0]);  // the same once more, which is to be told once
  it.service.mounts.back().at.destination = it.service.mounts[0].at.destination;
  EXPECT_EQ(find_obstacles(it.service, it.options, it.there)->size(), 6U);
  it.options.as = "copy";
  it.options.keep_binds = it.options.copy_shared = it.options.rest_empty = true;
  it.options.layer = false;
  it.options.only = {"/data", "/etc/app"};
  it.options.renames = {{"pgdata", "other"}};
  const auto found = find_obstacles(it.service, it.options, it.there);
  ASSERT_TRUE(found);
  for (const auto& obstacle : *found) EXPECT_FALSE(obstacle.blocks) << obstacle.what;
}

TEST(FindObstacles, ACopyThatIsThereIsInTheWayToo) {
  Case it;
  it.there.volumes["pgdata"] = {"ferry", "lineage"};
  const auto found = find_obstacles(it.service, it.options, it.there);
  ASSERT_EQ(found->size(), 1U);
  EXPECT_TRUE(found->front().blocks);
  EXPECT_THAT(found->front().what, HasSubstr("copy of volume pgdata"));
}

TEST(CheckNames, WhatAPeerCallsItsVolumes) {
  const auto check = [](const std::string& name, bool anonymous, const std::string& ticket = "move-db") {
    Case it;
    it.service.mounts[0].at.name = name;
    it.service.mounts[0].anonymous = anonymous;
    return check_names(it.service, it.options, ticket);
  };
  EXPECT_TRUE(check("pgdata", false));
  EXPECT_TRUE(check(std::string(64, 'a'), true));
  EXPECT_FALSE(check("pgdata", true)) << "one of the destination's, that was never looked at";
  EXPECT_FALSE(check("../../containers/x", false));
  EXPECT_FALSE(check("../../containers/x", true));
  EXPECT_FALSE(check("to-elsewhere-" + std::string(32, 'a'), false));
  EXPECT_FALSE(check("pgdata", false, "pgdata"));
}

TEST(FindObstacles, PortsThatDoNotClash) {
  Case it;
  it.service.host_config["PortBindings"] = {{"80/tcp", {{{"HostIp", "10.0.0.1"}, {"HostPort", "80"}}}},
                                            {"53/udp", {{{"HostIp", ""}, {"HostPort", "53"}}}},
                                            {"90/tcp", {{{"HostIp", ""}, {"HostPort", ""}}}},
                                            {"91/tcp", {{{"HostIp", ""}, {"HostPort", "8000-8010"}}}}};
  it.add_there("other").ports = {{"10.0.0.2", "tcp", 80}, {"0.0.0.0", "tcp", 53}};
  it.there.listening = {{"127.0.0.53", "tcp", 80}, {"::", "tcp", 53}};
  EXPECT_THAT(*find_obstacles(it.service, it.options, it.there), IsEmpty());
}

TEST(FindObstacles, WhatBlocksComesFirst) {
  Case it;
  it.service.host_config["Privileged"] = true;
  it.service.host_config["AutoRemove"] = true;
  it.add_there("db");
  const auto found = *find_obstacles(it.service, it.options, it.there);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_TRUE(found[0].blocks && found[1].blocks && !found[2].blocks);
}

TEST(FindObstacles, AConfigurationThatIsNoneIsRefused) {
  for (const char* member : {"Devices", "PortBindings", "Links", "LogConfig", "DeviceRequests", "NetworkMode"}) {
    Case it;
    it.service.host_config[member] = 7;
    const auto found = find_obstacles(it.service, it.options, it.there);
    ASSERT_FALSE(found) << member;
    EXPECT_EQ(found.error().code, Code::corrupt);
  }
}

}  // namespace
}  // namespace ferry::migration
