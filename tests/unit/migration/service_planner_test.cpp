#include "migration/service_planner.h"

#include <gmock/gmock.h>

namespace ferry::migration {
namespace {

using engine::PublishedPort;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// As Linux 6.1 shows them (proc(5)).
constexpr const char* tcp_table =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    "   0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
    "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0 20 4 30 10 -1\n"
    "  10: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 3 1 0 100 0 0 10 0\n";

TEST(SocketsIn, ThoseThatListen) {
  EXPECT_THAT(sockets_in(tcp_table, "tcp", "0A"),
              ElementsAre(PublishedPort{"127.0.0.1", "tcp", 5432}, PublishedPort{"0.0.0.0", "tcp", 22}));
}

TEST(SocketsIn, ThoseOfIpv6) {
  constexpr const char* table =
      "  sl  local_address                         remote_address                        st\n"
      "   0: 00000000000000000000000000000000:1538 00000000000000000000000000000000:0000 0A 00000000:00000000\n"
      "   1: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000\n"
      "   2: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 00000000:00000000\n";
  EXPECT_THAT(sockets_in(table, "tcp", "0A"),
              ElementsAre(PublishedPort{"::", "tcp", 5432}, PublishedPort{"::1", "tcp", 22},
                          PublishedPort{"127.0.0.1", "tcp", 80}));
}

TEST(SocketsIn, WhatIsNoTableHasNone) {
  for (const char* text : {"", "\n\n", "x", "  0: 1538 0 0A", " 0: 00000000:xx 0:0 0A", " 0: 00000000:FFFFF 0:0 0A",
                           " 0: 0000:0016 0:0 0A", " 0: 0000000x:0016 0:0 0A"})
    EXPECT_THAT(sockets_in(text, "tcp", "0A"), IsEmpty()) << text;
}

ServiceDescription service() {
  ServiceDescription service;
  service.container = "db";
  service.status = "running";
  service.config = {{"Env", {"PASSWORD=secret", "EMPTY=", "BARE"}},
                    {"Labels", {{"a,b", "c d"}, {"x", "\"y\"\n="}}},
                    {"Cmd", {"postgres"}},
                    {"Entrypoint", nullptr},
                    {"User", "postgres"},
                    {"Healthcheck", {{"Test", {"CMD", "true"}}}}};
  service.host_config = {{"LogConfig", {{"Type", "gelf"}, {"Config", {{"gelf-address", "secret"}}}}},
                         {"PortBindings", {{"5432/tcp", {{{"HostIp", "10.0.0.1"}, {"HostPort", "5432"}}}}}},
                         {"RestartPolicy", {{"Name", "always"}}},
                         {"Memory", 1000},
                         {"CpuShares", 0},
                         {"CapAdd", {"NET_ADMIN"}}};
  service.networks = {{"back", json::object()}};
  service.image_name = "postgres:16";
  auto& mount = service.mounts.emplace_back();
  mount.at = {"volume", "pgdata", "/var/lib/docker/volumes/pgdata/_data", "/data", "local", "z,nocopy", false};
  mount.labels = {{"team", "web"}};
  mount.bytes = 42;
  return service;
}

TEST(PlanOf, HasWhatMovesAndNoSecrets) {
  DestinationFacts there;
  const auto plan = plan_of(service(), {.container = "db"}, there, {{"it is paused", "unpause it", true}});
  EXPECT_EQ(plan["configuration"]["env_names"], json({"PASSWORD", "EMPTY", "BARE"}));
  EXPECT_EQ(plan["configuration"]["labels"], json({{"a,b", "c d"}, {"x", "\"y\"\n="}}));
  EXPECT_EQ(plan["configuration"]["ports"], json({{{"port", "5432/tcp"}, {"host", "10.0.0.1:5432"}}}));
  EXPECT_EQ(plan["configuration"]["limits"], json({{"Memory", 1000}}));
  EXPECT_EQ(plan["configuration"]["privileges"], json({"CapAdd NET_ADMIN"}));
  EXPECT_EQ(plan["configuration"]["networks"], json({"back"}));
  EXPECT_EQ(plan["configuration"]["log_option_names"], json({"gelf-address"}));
  EXPECT_EQ(plan["configuration"]["healthcheck"], true);
  EXPECT_EQ(plan["configuration"]["restart"], "always");
  const auto& mount = plan["mounts"][0];
  EXPECT_EQ(mount["source"], "pgdata");
  EXPECT_EQ(mount["target"], "pgdata");
  EXPECT_EQ(mount["rw"], false);
  EXPECT_EQ(mount["bytes"], 42);
  EXPECT_EQ(mount["mode"], "z,nocopy");
  EXPECT_EQ(mount["action"], "create");
  EXPECT_EQ(mount["labels"], json({{"team", "web"}}));
  EXPECT_EQ(plan["obstacles"], json({{{"what", "it is paused"}, {"do", "unpause it"}, {"blocks", true}}}));
  EXPECT_EQ(plan["as"], "db");
  EXPECT_THAT(plan.dump(), Not(HasSubstr("secret")));
}

TEST(PlanOf, WhatBecomesOfEachMount) {
  auto it = service();
  const auto add = [&](const std::string& type, const std::string& name,
                       const std::string& destination) -> ServiceMount& {
    auto& mount = it.mounts.emplace_back();
    mount.at = {type, name, "/srv", destination, "", "", true};
    return mount;
  };
  add("volume", std::string(64, 'a'), "/anonymous").anonymous = true;
  add("bind", "", "/bind");
  add("volume", "rest", "/rest");
  add("volume", "nfs", "/nfs").trouble = "it is another driver's";
  DestinationFacts there;
  it.mounts[0].lineage = "x";
  there.volumes["other"] = {"ferry", "x"};
  there.volumes["mine"] = {"ferry", "y"};
  add("volume", "mine", "/mine");
  ServiceOptions options;
  options.container = "db";
  options.only = {"pgdata", "/anonymous", "/bind", "/nfs", "/mine"};
  options.renames = {{"pgdata", "other"}};
  options.keep_binds = options.rest_empty = true;
  const auto plan = plan_of(it, options, there, {});
  std::map<std::string, std::string> actions;
  for (const auto& mount : plan["mounts"])
    actions[mount["destination"].get<std::string>()] = mount["action"].get<std::string>();
  EXPECT_EQ(actions, (std::map<std::string, std::string>{{"/data", "update"},
                                                         {"/anonymous", "create"},
                                                         {"/bind", "keep"},
                                                         {"/rest", "empty"},
                                                         {"/nfs", "none"},
                                                         {"/mine", "none"}}));
  EXPECT_EQ(plan["mounts"][0]["target"], "other");
  EXPECT_TRUE(plan["mounts"][1]["target"].is_null()) << "the Engine makes the name";
}

}  // namespace
}  // namespace ferry::migration
