#include <gmock/gmock.h>
#include <sys/xattr.h>

#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>

#include "migration/sources.h"
#include "support/mounts.h"
#include "support/scripted_engine.h"

namespace ferry::migration {
namespace {

using engine::testing::answer;
using engine::testing::Connection;
using engine::testing::golden;
using engine::testing::ScriptedEngine;
using nlohmann::json;
using testing::HasSubstr;

/// A recorded container, whose layer is where this process sees the Engine's data root.
class LayerSources : public testing::Test {
 protected:
  LayerSources() {
    std::filesystem::create_directories(layer_);
    std::ofstream(layer_ / "new") << "of the container";
    EXPECT_EQ(::setxattr((layer_ / "new").c_str(), "trusted.overlay.origin", "x", 1, 0), 0);
    set([](json& container) { container["State"]["Running"] = false; });
  }
  void set(const std::function<void(json&)>& how) {
    const std::lock_guard guard(mutex_);
    how(container_);
  }
  std::string answer_to(const std::string& request) {
    const std::lock_guard guard(mutex_);
    if (request.starts_with("GET /_ping")) return engine::testing::ping("1.41");
    if (request.find("/info") != std::string::npos) return answer(200, R"({"DockerRootDir":"/var/lib/docker"})");
    const std::string id = container_["Id"];
    const bool is_it = request.find("/service/") != std::string::npos || request.find(id) != std::string::npos;
    return is_it ? answer(200, container_.dump()) : answer(404, R"({"message":"No such container"})");
  }

  std::mutex mutex_;
  json container_ = json::parse(golden("26.1", "service.json"));
  test::TemporaryDirectory data_;
  const std::string upper_ = container_["GraphDriver"]["Data"]["UpperDir"];
  const std::filesystem::path layer_ =
      data_.path() / std::filesystem::path(upper_).lexically_relative("/var/lib/docker");
  test::PrivateMount plugin_ =
      test::PrivateMount::bind(made(data_ / "plugins" / std::string(64, 'a') / "propagated-mount"), data_ / "p");
  std::unique_ptr<volumes::Catalogue> catalogue_ =
      std::move(*volumes::Catalogue::open(volumes::Layout(made(data_ / "ferry"))));
  volumes::Mounts mounts_{data_ / "p", data_ / "scratch"};
  ScriptedEngine engine_{
      [this](Connection& connection, const std::string& request) { connection.send(answer_to(request)); }};
  engine::Client client_{engine_.path()};
  engine::Tracker tracker_{client_, [] {}};
  const Sources sources_{*catalogue_, mounts_, client_, tracker_, data_.path(), data_ / "p"};

 private:
  static std::filesystem::path made(const std::filesystem::path& directory) {
    std::filesystem::create_directories(directory);
    return directory;
  }
};

TEST_F(LayerSources, ALayerIsReadAndSealed) {
  const auto open = sources_.open_layer("service", Freeze::refuse);
  ASSERT_TRUE(open) << open.error().message;
  std::string manifest;
  for (const auto source = (*open)->sender.manifest(); source->next(manifest);) continue;
  EXPECT_THAT(manifest, HasSubstr("new"));
  EXPECT_THAT(manifest, testing::Not(HasSubstr("trusted.overlay.origin")));
  const auto seal = sources_.seal(**open, false);
  ASSERT_TRUE(seal) << seal.error().message;
  EXPECT_EQ(seal->changed, 0U);
  EXPECT_EQ(seal->consistency, "idle");
}

TEST_F(LayerSources, OneOfARunningContainerMayBeTorn) {
  set([](json& container) { container["State"]["Running"] = true; });
  const auto refused = sources_.open_layer("service", Freeze::refuse);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::busy);
  const auto open = sources_.open_layer("service", Freeze::none);
  ASSERT_TRUE(open) << open.error().message;
  set([](json& container) { container["State"]["Running"] = false; });
  EXPECT_EQ(sources_.seal(**open, true)->consistency, "live") << "it ran at the beginning";
}

TEST_F(LayerSources, AContainerThatHasRunMeanwhileIsSeen) {
  const auto open = sources_.open_layer("service", Freeze::refuse);
  ASSERT_TRUE(open) << open.error().message;
  set([](json& container) { container["State"]["StartedAt"] = "2026-11-30T10:00:00Z"; });
  EXPECT_EQ(sources_.seal(**open, true)->consistency, "live");
}

TEST_F(LayerSources, OneThatIsRemovedMeanwhileIsNoCopyOfAnything) {
  const auto open = sources_.open_layer("service", Freeze::refuse);
  ASSERT_TRUE(open) << open.error().message;
  std::filesystem::rename(layer_, data_ / "removing");
  const auto seal = sources_.seal(**open, true);
  ASSERT_FALSE(seal);
  EXPECT_THAT(seal.error().message, HasSubstr("was removed while it was read"));
}

TEST_F(LayerSources, WhatCannotBeSeenIsSaid) {
  EXPECT_EQ(sources_.open_layer("other", Freeze::none).error().code, Code::not_found);
  set([](json& container) { container["GraphDriver"]["Data"]["UpperDir"] = "/elsewhere/diff"; });
  EXPECT_THAT(sources_.open_layer("service", Freeze::none).error().message, HasSubstr("/elsewhere/diff is not below"));
  set([](json& container) { container["GraphDriver"] = {{"Name", "overlayfs"}, {"Data", nullptr}}; });
  const auto other = sources_.open_layer("service", Freeze::none);
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::unsupported);
  EXPECT_THAT(other.error().message, HasSubstr("overlayfs"));
  set([this](json& container) {
    container["GraphDriver"] = {{"Name", "fuse-overlayfs"}, {"Data", {{"UpperDir", upper_}}}};
  });
  EXPECT_EQ(sources_.open_layer("service", Freeze::none).error().code, Code::unsupported);
}

}  // namespace
}  // namespace ferry::migration
