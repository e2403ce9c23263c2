#include "migration/services.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <thread>

#include "support/scripted_engine.h"
#include "support/temporary_directory.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using engine::testing::Connection;
using engine::testing::golden;
using engine::testing::routes;
using engine::testing::ScriptedEngine;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// Of an Engine that answers as a real one did (engine/golden/record-service), but for what a test changes.
class ServicesTest : public testing::Test {
 protected:
  json service_ = json::parse(golden("26.1", "service.json"));
  json listed_ = json::parse(golden("26.1", "services.json"));
  bool has_image_ = true;
  std::string changes_ = answer(200, golden("26.1", "changes.json"));

  /// To be called once.
  const Services& services() {
    const std::string id = service_["Id"], image = service_["Image"];
    std::map<std::string, std::string> answers = {
        {"GET /v1.41/containers/service/json", answer(200, service_.dump())},
        {"GET /v1.41/containers/" + id + "/changes", changes_},
        {"GET /v1.41/containers/json", answer(200, listed_.dump())},
        {"GET /v1.41/info", answer(200, golden("26.1", "service_info.json"))}};
    if (has_image_)
      answers["GET /v1.41/images/sha256%3A" + image.substr(7) + "/json"] = answer(200, golden("26.1", "image.json"));
    engine_ = std::make_unique<ScriptedEngine>(routes("1.41", std::move(answers)));
    client_ = std::make_unique<engine::Client>(engine_->path());
    tracker_ = std::make_unique<engine::Tracker>(*client_, [] {});
    sources_ =
        std::make_unique<Sources>(*catalogue_, mounts_, *client_, *tracker_, directory_.path(), directory_ / "p");
    services_ = std::make_unique<Services>(*client_, *sources_);
    return *services_;
  }
  ServiceDescription describe(ServiceDetail detail = ServiceDetail::full) {
    auto described = services().describe("service", detail);
    EXPECT_TRUE(described) << described.error().message;
    return described ? std::move(*described) : ServiceDescription();
  }

  test::TemporaryDirectory directory_;
  std::unique_ptr<volumes::Catalogue> catalogue_ =
      std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
  volumes::Mounts mounts_{directory_ / "p", directory_ / "scratch"};
  std::unique_ptr<ScriptedEngine> engine_;
  std::unique_ptr<engine::Client> client_;
  std::unique_ptr<engine::Tracker> tracker_;
  std::unique_ptr<Sources> sources_;
  std::unique_ptr<Services> services_;
};

TEST_F(ServicesTest, AServiceIsDescribedAsItIs) {
  const auto service = describe();
  EXPECT_EQ(service.container, "service");
  EXPECT_EQ(service.status, "running");
  EXPECT_EQ(service.image_name, "busybox");
  EXPECT_EQ(service.image.id, service_["Image"].get<std::string>());
  EXPECT_EQ(service.layer.store, "overlay2");
  EXPECT_TRUE(service.layer.counted);
  EXPECT_EQ(service.layer.changes.deleted, 1U);
  EXPECT_GT(service.layer.bytes, 0U);
  EXPECT_EQ(service.host.architecture, "x86_64");
  EXPECT_THAT(service.obstacles, IsEmpty());
  std::vector<std::string> mounts;
  for (const auto& mount : service.mounts)
    mounts.push_back(mount.at.type + " " + mount.at.destination + (mount.anonymous ? " anonymous" : "") +
                     (mount.no_copy ? " nocopy" : ""));
  EXPECT_THAT(mounts, ElementsAre("volume /anonymous anonymous", "bind /bind", "volume /named", "volume /ro nocopy",
                                  "volume /typed nocopy", "tmpfs /run/x"));
}

TEST_F(ServicesTest, ValuesOfTheEnvironmentStayHere) {
  service_["HostConfig"]["LogConfig"]["Config"] = {{"gelf-address", "secret"}};
  const auto service = describe();
  EXPECT_THAT(service.config.dump(), Not(HasSubstr("b c")));
  EXPECT_THAT(service.config["Env"], testing::Contains(json("A=")));
  EXPECT_EQ(service.host_config["LogConfig"]["Config"], json({{"gelf-address", ""}}));
}

TEST_F(ServicesTest, WhoElseHasItsVolumesAndItsNetwork) {
  json other = listed_[0];
  other["Id"] = std::string(64, 'b');
  other["Names"] = {"/other"};
  other["Mounts"] = {{{"Type", "volume"}, {"Name", "service-named"}, {"Destination", "/x"}}};
  other["HostConfig"]["NetworkMode"] = "container:" + service_["Id"].get<std::string>();
  listed_.push_back(other);
  const auto service = describe();
  for (const auto& mount : service.mounts)
    EXPECT_EQ(mount.shared_with.size(), mount.at.name == "service-named" ? 1U : 0U) << mount.at.destination;
  ASSERT_EQ(service.obstacles.size(), 1U);
  EXPECT_THAT(service.obstacles[0].what, HasSubstr("other uses the network of this one"));
}

TEST_F(ServicesTest, AVolumeOfWhichAPartIsMountedIsInTheWay) {
  for (auto& mount : service_["HostConfig"]["Mounts"]) {
    mount["Target"] = "/typed/";
    mount["VolumeOptions"]["Subpath"] = "sub";
  }
  const auto service = describe();
  const auto typed = std::find_if(service.mounts.begin(), service.mounts.end(),
                                  [](const ServiceMount& mount) { return mount.at.destination == "/typed"; });
  ASSERT_NE(typed, service.mounts.end());
  EXPECT_THAT(typed->trouble, HasSubstr("\"sub\""));
  EXPECT_TRUE(typed->no_copy) << "though its destination was typed otherwise";
}

TEST_F(ServicesTest, WhatIsMissingIsInTheWay) {
  has_image_ = false;
  changes_ = answer(501, R"({"message":"not implemented"})");
  service_["State"]["Paused"] = true;
  const auto service = describe();
  EXPECT_FALSE(service.layer.counted);
  std::string all;
  for (const auto& obstacle : service.obstacles) all += obstacle.what + "\n";
  EXPECT_THAT(all, HasSubstr("image is not there"));
  EXPECT_THAT(all, HasSubstr("paused"));
}

TEST_F(ServicesTest, NoneIsNotFound) {
  const auto described = services().describe("other", ServiceDetail::quick);
  ASSERT_FALSE(described);
  EXPECT_EQ(described.error().code, Code::not_found);
  EXPECT_THAT(described.error().message, HasSubstr("no container \"other\""));
}

}  // namespace
}  // namespace ferry::migration
