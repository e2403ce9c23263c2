#include "engine/container.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "engine/containers.h"
#include "support/scripted_engine.h"

namespace ferry::engine {
namespace {

using testing::answer;
using testing::Connection;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::golden;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::routes;
using testing::ScriptedEngine;
using ::testing::SizeIs;

/// Recordings of golden/record-service on generations of the Engine.
class RecordedService : public ::testing::TestWithParam<const char*> {
 protected:
  std::string read(const std::string& file) const { return golden(GetParam(), file); }
};
INSTANTIATE_TEST_SUITE_P(Engines, RecordedService, ::testing::Values("20.10", "26.1", "28.5"),
                         [](const auto& engine) { return "v" + std::string(engine.param).replace(2, 1, "_"); });

TEST_P(RecordedService, Container) {
  const auto container = decode_container(read("service.json"));
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_THAT(container->id, SizeIs(64));
  EXPECT_EQ(container->name, "service");
  EXPECT_EQ(container->image, "busybox");
  EXPECT_EQ(container->image_id.substr(0, 7), "sha256:");
  EXPECT_EQ(container->status, "running");
  EXPECT_EQ(container->health, "healthy");
  EXPECT_THAT(container->started, ::testing::StartsWith("2026-11-30T"));
  EXPECT_TRUE(container->running && !container->paused && !container->restarting && !container->dead);
  EXPECT_EQ(container->config["Labels"]["team"], "a,b");
  EXPECT_EQ(container->host_config["RestartPolicy"]["Name"], "unless-stopped");
  EXPECT_TRUE(container->networks.contains("none"));
  EXPECT_EQ(container->store, "overlay2");
  EXPECT_THAT(container->upper, HasSubstr("/var/lib/docker/overlay2/"));
  EXPECT_GT(container->layer_bytes.value_or(0), 0U);
  std::vector<std::string> mounts;
  for (const auto& mount : container->mounts)
    mounts.push_back(mount.type + " " + (mount.name.size() == 64 ? "anonymous" : mount.name) + " " + mount.destination +
                     " " + mount.driver + (mount.rw ? " rw " : " ro ") + mount.mode);
  EXPECT_THAT(mounts, ElementsAre("volume anonymous /anonymous local rw ", "bind  /bind  ro ro",
                                  "volume service-named /named local rw z", "volume service-ro /ro local ro ro,nocopy",
                                  "volume service-typed /typed local rw z"));
}

TEST_P(RecordedService, Changes) {
  const auto changes = decode_changes(read("changes.json"));
  ASSERT_TRUE(changes) << changes.error().message;
  EXPECT_GE(changes->added, 2U);
  EXPECT_GE(changes->changed, 2U);
  EXPECT_EQ(changes->deleted, 1U);
  EXPECT_EQ(*decode_changes(read("changes_none.json")), LayerChanges{});
}

TEST_P(RecordedService, Image) {
  const auto image = decode_image(read("image.json"));
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->id, decode_container(read("service.json"))->image_id);
  EXPECT_EQ(image->architecture, "amd64");
  EXPECT_EQ(image->os, "linux");
  EXPECT_GT(image->bytes, 100'000U);
  EXPECT_THAT(image->tags, ElementsAre("busybox:latest"));
  EXPECT_THAT(image->layers, SizeIs(1));
}

TEST_P(RecordedService, Listed) {
  const auto containers = decode_listed_containers(read("services.json"));
  ASSERT_TRUE(containers) << containers.error().message;
  const auto service = std::find_if(containers->begin(), containers->end(),
                                    [](const ListedContainer& container) { return container.name == "service"; });
  ASSERT_NE(service, containers->end());
  EXPECT_THAT(service->id, SizeIs(64));
  EXPECT_EQ(service->state, "running");
  EXPECT_EQ(service->network_mode, "none");
  EXPECT_EQ(service->labels.at("team"), "a,b");
  EXPECT_THAT(service->mounts, SizeIs(5));
  EXPECT_THAT(service->ports, IsEmpty());
}

TEST_P(RecordedService, HostFacts) {
  const auto facts = decode_host_facts(read("service_info.json"));
  ASSERT_TRUE(facts) << facts.error().message;
  EXPECT_EQ(facts->name, "a");
  EXPECT_EQ(facts->data_root, "/var/lib/docker");
  EXPECT_EQ(facts->architecture, "x86_64");
  EXPECT_EQ(facts->os, "linux");
  EXPECT_EQ(facts->store, "overlay2");
  EXPECT_FALSE(facts->containerd_store || facts->user_namespaces);
  EXPECT_THAT(facts->runtimes, Contains("runc"));
  EXPECT_THAT(facts->log_drivers, Contains("json-file"));
}

/// As moby's daemon/containerd and api/types/storage have it: no recording, because the lab's engines have the other
/// store.
TEST(Container, OfContainerdsStore) {
  const auto container = decode_container(R"({"Id":"a","Storage":{"RootFS":{"Snapshot":{"Name":"overlayfs"}}}})");
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_EQ(container->store, "overlayfs");
  EXPECT_EQ(container->upper, "");
  EXPECT_FALSE(container->layer_bytes);
  EXPECT_TRUE(
      decode_host_facts(R"({"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]})")->containerd_store);
  EXPECT_TRUE(
      decode_host_facts(R"({"SecurityOptions":["name=seccomp,profile=builtin","name=userns"]})")->user_namespaces);
}

TEST(Container, PublishedPorts) {
  const auto containers = decode_listed_containers(
      R"([{"Id":"a","Names":["/other/alias","/web"],"Ports":[{"PrivatePort":80,"Type":"tcp"},
          {"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]}])");
  ASSERT_TRUE(containers) << containers.error().message;
  EXPECT_EQ(containers->at(0).name, "web");
  EXPECT_THAT(containers->at(0).ports, ElementsAre(PublishedPort{"0.0.0.0", "tcp", 8080}));
}

TEST(Container, AnotherTypeThanTheApisIsCorrupt) {
  for (const char* body :
       {"", "[]", "7", R"({"State":7})", R"({"Mounts":7})", R"({"Config":[]})", R"({"HostConfig":7})",
        R"({"NetworkSettings":{"Networks":[]}})", R"({"GraphDriver":7})", R"({"SizeRw":"x"})"}) {
    const auto container = decode_container(body);
    ASSERT_FALSE(container) << body;
    EXPECT_EQ(container.error().code, Code::corrupt);
  }
  EXPECT_FALSE(decode_changes("{}"));
  EXPECT_FALSE(decode_changes(R"([{"Kind":"x"}])"));
  EXPECT_FALSE(decode_image(R"({"RepoTags":7})"));
  EXPECT_FALSE(decode_listed_containers("{}"));
  EXPECT_FALSE(decode_host_facts(R"({"DriverStatus":7})"));
}

TEST(ContainersOfAnEngine, AreAskedForByWhateverName) {
  ScriptedEngine engine(routes("1.41", {{"GET /v1.41/containers/a%2Fb/json", answer(200, R"({"Id":"1"})")},
                                        {"GET /v1.41/containers/a/changes", answer(200, "null")},
                                        {"GET /v1.41/images/sha256%3A1/json", answer(200, R"({"Id":"sha256:1"})")},
                                        {"GET /v1.41/networks/back", answer(200, "{}")}}));
  Client client(engine.path());
  const Containers containers(client);
  EXPECT_EQ(containers.container("a/b")->id, "1");
  EXPECT_EQ(*containers.changes("a"), LayerChanges{});
  EXPECT_EQ(containers.image("sha256:1")->id, "sha256:1");
  EXPECT_TRUE(*containers.has_network("back"));
  EXPECT_FALSE(*containers.has_network("other"));
  EXPECT_EQ(containers.container("none").error().code, Code::not_found);
  for (const char* name : {"", ".", ".."}) EXPECT_EQ(containers.container(name).error().code, Code::invalid_argument);
  (void)containers.container_with_size("a");
  EXPECT_THAT(engine.requests(), Contains("GET /v1.41/containers/a/json?size=1\n"));
}

/// What the Engine says of name "made", the second time each.
TEST_P(RecordedService, IsMadeStartedAndStopped) {
  ScriptedEngine engine(routes("1.41", {{"POST /v1.41/containers/create", read("create.http")},
                                        {"POST /v1.41/containers/made/start", read("start.http")},
                                        {"POST /v1.41/containers/made/update", read("update.http")},
                                        {"POST /v1.41/containers/made/stop", read("stop.http")}}));
  Client client(engine.path());
  const Containers containers(client);
  const auto created = containers.create("made", {{"Image", "busybox"}});
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_THAT(created->id, SizeIs(64));
  EXPECT_TRUE(containers.start("made"));
  EXPECT_TRUE(containers.set_restart_policy("made", {{"Name", "no"}}));
  EXPECT_TRUE(containers.stop("made", std::chrono::seconds(1)));
  EXPECT_TRUE(containers.remove("made")) << "404: there is none";
  EXPECT_THAT(engine.requests(), ::testing::IsSupersetOf({R"(POST /v1.41/containers/create?name=made
{"Image":"busybox"})",
                                                          "POST /v1.41/containers/made/start\n",
                                                          R"(POST /v1.41/containers/made/update
{"RestartPolicy":{"Name":"no"}})",
                                                          "DELETE /v1.41/containers/made\n"}));
}

TEST_P(RecordedService, WhatIsSoAlreadyIsASuccess) {
  ScriptedEngine engine(routes("1.41", {{"POST /v1.41/containers/made/start", read("start_again.http")},
                                        {"POST /v1.41/containers/made/stop", read("stop_again.http")}}));
  Client client(engine.path());
  EXPECT_TRUE(Containers(client).start("made"));
  EXPECT_TRUE(Containers(client).stop("made", std::chrono::seconds(1)));
}

TEST_P(RecordedService, ANameThatIsTakenAndAnImageThatIsNotThereAreTold) {
  ScriptedEngine engine(routes("1.41", {{"GET /v1.41/containers/made/json", answer(200, R"({"Name":"/made"})")},
                                        {"POST /v1.41/containers/create", read("create_taken.http")},
                                        {"POST /v1.41/containers/made/rename", read("rename_taken.http")}}));
  Client client(engine.path());
  const auto created = Containers(client).create("made", {{"Image", "busybox"}});
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, Code::already_exists);
  EXPECT_THAT(created.error().message, HasSubstr("/made"));
  EXPECT_EQ(Containers(client).rename("made", "fresh").error().code, Code::already_exists);
  EXPECT_TRUE(Containers(client).rename("made", "made")) << "which the Engine refuses";

  ScriptedEngine without(routes("1.41", {{"POST /v1.41/containers/create", read("create_without_image.http")}}));
  Client other(without.path());
  const auto missing = Containers(other).create("made", {{"Image", "e2e-none"}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::not_found);
  EXPECT_THAT(missing.error().message, HasSubstr("e2e-none"));
}

/// The signal and the time are the container's own, and its exit may take minutes.
TEST(ContainersOfAnEngine, AStopIsWaitedForAsLongAsSaid) {
  ScriptedEngine engine([](Connection& connection, const std::string& request) {
    if (request.starts_with("GET /_ping")) return connection.send(testing::ping("1.41"));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    connection.send(answer(204, ""));
  });
  Client client(engine.path(), {.read = std::chrono::milliseconds(100), .change = std::chrono::milliseconds(100)});
  EXPECT_TRUE(Containers(client).stop("a", std::chrono::seconds(30)));
  EXPECT_EQ(Containers(client).stop("a", std::chrono::milliseconds(50)).error().code, Code::unavailable);
  EXPECT_THAT(engine.requests(), Contains("POST /v1.41/containers/a/stop\n")) << "its own timeout";
}

TEST(ContainersOfAnEngine, AConflictOfAnotherKindIsNoNameThatIsTaken) {
  const std::string conflict = R"({"message":"create data: conflict: volume name must be unique"})";
  ScriptedEngine engine(routes("1.41", {{"POST /v1.41/containers/create", answer(409, conflict)}}));
  Client client(engine.path());
  EXPECT_EQ(Containers(client).create("a", {{"Image", "b"}}).error().code, Code::busy);
}

TEST(ContainersOfAnEngine, OneThatIsMadeWithoutAnIdIsNoSuccess) {
  ScriptedEngine engine(routes("1.41", {{"POST /v1.41/containers/create", answer(201, "{}")}}));
  Client client(engine.path());
  EXPECT_EQ(Containers(client).create("a", {{"Image", "b"}}).error().code, Code::corrupt);
}

TEST(ContainersOfAnEngine, ABodyThatIsNotUtf8IsRefused) {
  ScriptedEngine engine(routes("1.41", {}));
  Client client(engine.path());
  EXPECT_EQ(Containers(client).create("a", {{"Image", "\xff"}}).error().code, Code::invalid_argument);
}

}  // namespace
}  // namespace ferry::engine
