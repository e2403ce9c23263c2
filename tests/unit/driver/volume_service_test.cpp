#include "driver/volume_service.h"

#include <gmock/gmock.h>
#include <sys/mount.h>

#include <fstream>
#include <thread>

#include "base/files.h"
#include "migration/fake_peer.h"
#include "support/mounts.h"
#include "support/temporary_directory.h"

namespace ferry::driver {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using volumes::State;

/// The service with everything behind it but a Docker Engine and a network.
class VolumeServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(host_.root = directory_ / "source");
    std::ofstream(host_.root / "file") << "content";
    ASSERT_TRUE(mounts_.start());
  }
  void TearDown() override {
    host_.release();
    imports_.abandon_all();
    for (const auto& volume : service_.list()) EXPECT_TRUE(mounts_.release(volume.name));
    ::umount2((directory_ / "scratch").c_str(), MNT_DETACH);
  }
  bool bound(const std::string& name) const { return fs::exists(propagated_.path() / name); }
  std::string refusal(const Result<>& result) { return result ? "accepted" : result.error().message; }

  test::TemporaryDirectory directory_;
  const fs::path plugin_ = directory_ / "plugins" / std::string(64, 'a') / "propagated-mount";
  test::PrivateMount propagated_ =
      test::PrivateMount::bind((fs::create_directories(plugin_), plugin_), directory_ / "propagated");
  std::unique_ptr<volumes::Catalogue> catalogue_ =
      std::move(*volumes::Catalogue::open(volumes::Layout(directory_.path())));
  migration::FakeHost host_;
  migration::FakePeers peers_{host_};
  const migration::ArchiveStore archives_{{}, {}};
  migration::Imports imports_{*catalogue_, peers_, archives_};
  volumes::Mounts mounts_{directory_ / "propagated", directory_ / "scratch"};
  volumes::Trash trash_{catalogue_->layout(), std::chrono::hours(1)};
  engine::Client client_{directory_ / "no-engine.sock"};
  engine::Tracker tracker_{client_, [] {}};
  migration::Sources sources_{*catalogue_, mounts_, client_, tracker_, directory_.path(), directory_ / "propagated"};
  migration::HandOffs hand_offs_{{*catalogue_, mounts_, client_, tracker_, sources_, [] {},
                                  [this](const std::string& name) { return catalogue_->remove(name); }}};
  migration::Tickets tickets_{{*catalogue_, peers_, imports_, mounts_, client_, hand_offs_, 7766, [] {}}};
  migration::LabelKeeper labels_{*catalogue_, client_};
  volumes::MarkerKeeper marker_{directory_ / "propagated", *catalogue_};
  migration::Exports exports_{{*catalogue_, peers_, sources_, hand_offs_}};
  migration::ArchiveExports archive_exports_{*catalogue_, archives_, sources_};
  migration::ForcedReclaims forced_{{*catalogue_, peers_, hand_offs_, tickets_, 7766}};
  const migration::Services services_{client_, sources_};
  const migration::ServicePlanner planner_{client_, *catalogue_};
  migration::ServicePlans plans_{{*catalogue_, peers_, services_, planner_}};
  migration::ContainerHolds holds_{client_};
  migration::ServiceDepartures departures_{
      {*catalogue_, hand_offs_, holds_, [] {}, [this](const std::string& name) { return catalogue_->remove(name); }}};
  migration::ServiceArrivals arriving_{{*catalogue_, peers_, client_, planner_, tickets_}};
  migration::ServiceReturns returns_{{*catalogue_, peers_, client_, sources_, planner_, departures_, tickets_}};
  VolumeService service_{{*catalogue_, mounts_, trash_, imports_, tickets_, exports_, archive_exports_, hand_offs_,
                          forced_, plans_, departures_, arriving_, returns_, labels_, tracker_, marker_}};
};

TEST_F(VolumeServiceTest, TheLifeOfAPlainVolume) {
  ASSERT_TRUE(service_.create("web", {{"mode", "rw"}}));
  const auto got = service_.get("web");
  ASSERT_TRUE(got);
  EXPECT_EQ(got->name, "web");
  EXPECT_EQ(got->mountpoint, "");
  EXPECT_EQ(got->status["state"], "ready");
  EXPECT_EQ(got->status["options"], (nlohmann::json{{"mode", "rw"}}));
  EXPECT_EQ(service_.list().size(), 1U);
  EXPECT_EQ(*service_.mount("web", "id"), (propagated_.path() / ".mountpoints" / "web").string());
  EXPECT_EQ(*service_.path("web"), (propagated_.path() / ".mountpoints" / "web").string());
  EXPECT_TRUE(service_.unmount("web", "id"));
  EXPECT_TRUE(service_.unmount("web", "unknown"));
  EXPECT_TRUE(service_.remove("web"));
  EXPECT_EQ(service_.get("web").error().code, Code::not_found);
  EXPECT_TRUE(service_.list().empty());
}

TEST_F(VolumeServiceTest, WhatIsNotThereIsNotFound) {
  EXPECT_EQ(service_.get("web").error().code, Code::not_found);
  EXPECT_EQ(service_.path("web").error().code, Code::not_found);
  EXPECT_EQ(service_.remove("web").error().code, Code::not_found);
  EXPECT_EQ(service_.mount("web", "id").error().code, Code::not_found);
  EXPECT_TRUE(service_.unmount("web", "id"));
}

TEST_F(VolumeServiceTest, RemovingUnbinds) {
  ASSERT_TRUE(service_.create("web", {}));
  ASSERT_TRUE(service_.mount("web", "id"));
  ASSERT_TRUE(service_.remove("web"));
  EXPECT_FALSE(bound("web"));
  ASSERT_TRUE(service_.create("web", {}));
  EXPECT_EQ(service_.get("web")->mountpoint, "");
}

TEST_F(VolumeServiceTest, ABadCreateLeavesNoTrace) {
  EXPECT_THAT(refusal(service_.create("web", {{"size", "1"}})), HasSubstr("unknown option"));
  EXPECT_THAT(refusal(service_.create("..", {})), HasSubstr("not a volume name"));
  host_.on_describe = [] { return Result<>(fail(Code::not_found, "no such volume there")); };
  EXPECT_EQ(refusal(service_.create("web", {{"from", "a"}})), "no such volume there");
  EXPECT_TRUE(service_.list().empty());
  ASSERT_TRUE(service_.create("web", {}));
  EXPECT_THAT(refusal(service_.create("web", {})), HasSubstr("exists already"));
}

TEST_F(VolumeServiceTest, AMountWaitsForTheImport) {
  host_.hang_in_content = true;
  ASSERT_TRUE(service_.create("copy", {{"from", "a/web"}}));
  host_.wait_for_hanging();
  EXPECT_EQ(service_.get("copy")->status["state"], "importing");
  EXPECT_EQ(service_.get("copy")->status["migration"]["phase"], "content");
  std::thread releaser([&] { host_.release(); });
  const auto mounted = service_.mount("copy", "id");
  releaser.join();
  ASSERT_TRUE(mounted) << mounted.error().message;
  EXPECT_EQ(*read_file(fs::path(*mounted) / "file"), "content");
  EXPECT_EQ(service_.get("copy")->status["state"], "ready");
}

TEST_F(VolumeServiceTest, AFailedImportIsNotMountedAndSaysWhy) {
  host_.on_content = [](int) { return Result<>(fail(Code::io, "the reason")); };
  ASSERT_TRUE(service_.create("copy", {{"from", "a/web"}}));
  const auto mounted = service_.mount("copy", "id");
  ASSERT_FALSE(mounted);
  EXPECT_THAT(mounted.error().message, HasSubstr("the reason"));
  EXPECT_FALSE(bound("copy"));
  EXPECT_TRUE(service_.remove("copy"));
}

TEST_F(VolumeServiceTest, RemovingCancelsAnImportAndLeavesNothing) {
  host_.hang_in_content = true;
  ASSERT_TRUE(service_.create("copy", {{"from", "a/web"}}));
  host_.wait_for_hanging();
  EXPECT_TRUE(service_.remove("copy"));
  EXPECT_TRUE(service_.list().empty());
  EXPECT_FALSE(fs::exists(catalogue_->layout().volume("copy")));
  EXPECT_TRUE(catalogue_->orphans()->empty());
}

TEST_F(VolumeServiceTest, RemovingAnAnonymousImportKeepsWhatHasArrived) {
  const std::string name(64, '0');
  host_.hang_in_content = true;
  ASSERT_TRUE(service_.create(name, {{"from", "a/web"}}));
  host_.wait_for_hanging();
  EXPECT_TRUE(service_.remove(name));
  EXPECT_TRUE(service_.list().empty());
  EXPECT_EQ(catalogue_->orphans()->size(), 1U);
}

TEST_F(VolumeServiceTest, RemovingAnAnonymousImportThatIsDoneKeepsNothing) {
  const std::string name(64, '0');
  ASSERT_TRUE(service_.create(name, {{"from", "a/web"}}));
  ASSERT_TRUE(imports_.wait(name, after(std::chrono::seconds(30))));
  EXPECT_TRUE(service_.remove(name));
  EXPECT_TRUE(catalogue_->orphans()->empty());
}

TEST_F(VolumeServiceTest, AQuarantinedVolumeIsListedButNotMounted) {
  ASSERT_TRUE(service_.create("web", {}));
  ASSERT_TRUE(write_file_atomically(catalogue_->layout().record("web"), "?"));
  const volumes::Layout layout = catalogue_->layout();
  const auto mounted = [&] {
    // a second catalogue, as after a restart
    test::TemporaryDirectory copy;
    fs::copy(layout.base(), copy / "ferry", fs::copy_options::recursive);
    const auto catalogue = std::move(*volumes::Catalogue::open(volumes::Layout(copy.path())));
    migration::Imports imports(*catalogue, peers_, archives_);
    migration::Tickets tickets({*catalogue, peers_, imports, mounts_, client_, hand_offs_, 7766, [] {}});
    migration::Exports exports({*catalogue, peers_, sources_, hand_offs_});
    VolumeService service({*catalogue, mounts_, trash_, imports, tickets, exports, archive_exports_, hand_offs_,
                           forced_, plans_, departures_, arriving_, returns_, labels_, tracker_, marker_});
    EXPECT_TRUE(service.get("web"));
    EXPECT_EQ(service.list().size(), 1U);
    return service.mount("web", "id");
  }();
  ASSERT_FALSE(mounted);
  EXPECT_EQ(mounted.error().code, Code::corrupt);
}

}  // namespace
}  // namespace ferry::driver
