#include "engine/ledger.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>

#include "support/scripted_engine.h"

namespace ferry::engine {
namespace {

using testing::golden;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string web(64, 'a'), job(64, 'b');

constexpr std::int64_t mount_time = 100;

Event mount(const std::string& volume, const std::string& container, bool rw) {
  return {.type = "volume",
          .action = "mount",
          .id = volume,
          .attributes = {{"container", container}, {"destination", "/d"}, {"read/write", rw ? "true" : "false"}},
          .time_ns = mount_time};
}

Event unmount(const std::string& volume, const std::string& container) {
  return {.type = "volume", .action = "unmount", .id = volume, .attributes = {{"container", container}}};
}

Event of_container(const std::string& action, const std::string& container) {
  return {.type = "container", .action = action, .id = container, .attributes = {}};
}

ContainerMount listed(const std::string& volume, const std::string& container, bool rw, bool running) {
  return {.container = "web",
          .container_id = container,
          .volume = volume,
          .destination = "/d",
          .rw = rw,
          .running = running};
}

Ledger connected() {
  Ledger ledger;
  ledger.begin();
  ledger.set_connected(true);
  return ledger;
}

bool is_written(const Ledger& ledger, const std::string& volume) {
  const auto mounts = ledger.facts(volume).mounts;
  return std::any_of(mounts.begin(), mounts.end(), [](const auto& mount) { return mount.rw && mount.running; });
}

Mounted began(const Ledger& ledger, const std::string& volume, Ledger::Mark mark) {
  return ledger.mount_rw_began_since(volume, mark, mount_time);
}

TEST(Ledger, NothingIsKnownBeforeTheFirstConnection) {
  Ledger ledger;
  EXPECT_FALSE(ledger.connected());
  const auto mark = ledger.mark();
  EXPECT_EQ(began(ledger, "v", mark), Mounted::unknown);
  ledger.set_connected(true);
  EXPECT_EQ(began(ledger, "v", mark), Mounted::unknown) << "the mark is older than the knowledge";
  EXPECT_EQ(began(ledger, "v", ledger.mark()), Mounted::no);
  EXPECT_FALSE(ledger.facts("v").labels);
}

TEST(Ledger, WhatIsDestroyedWhileTheVolumesAreListedIsForgottenUntilTheNextListing) {
  auto ledger = connected();
  Volume volume;
  volume.name = "v";
  volume.labels = {{"l", "old"}};
  ledger.ask_volumes();
  EXPECT_TRUE(ledger.set_volumes({volume}));
  EXPECT_TRUE(ledger.facts("v").labels);
  ledger.ask_volumes();
  EXPECT_TRUE(ledger.apply({.type = "volume", .action = "destroy", .id = "v", .attributes = {}}).volumes);
  EXPECT_FALSE(ledger.facts("v").labels);
  ledger.set_volumes({volume});
  EXPECT_FALSE(ledger.facts("v").labels) << "it may be the one that is gone";
  ledger.ask_volumes();
  EXPECT_TRUE(ledger.set_volumes({volume}));
  EXPECT_TRUE(ledger.facts("v").labels);
}

TEST(Ledger, AShortMountBetweenTwoListingsCounts) {
  auto ledger = connected();
  const auto before = ledger.mark();
  ledger.apply(mount("v", job, true));
  EXPECT_EQ(began(ledger, "v", before), Mounted::yes);
  EXPECT_TRUE(is_written(ledger, "v")) << "still mounted";
  EXPECT_EQ(ledger.facts("v").mounts.at(0).container, job.substr(0, 12));
  ledger.apply(unmount("v", job));
  EXPECT_EQ(began(ledger, "v", before), Mounted::yes);
  EXPECT_FALSE(is_written(ledger, "v"));
  EXPECT_EQ(began(ledger, "other", before), Mounted::no);
  EXPECT_THAT(ledger.facts("v").mounts, IsEmpty());
}

TEST(Ledger, ReadOnlyMountsDoNotCount) {
  auto ledger = connected();
  const auto before = ledger.mark();
  ledger.apply(mount("v", web, false));
  ledger.set_mounts({listed("v", web, false, true)});
  EXPECT_EQ(began(ledger, "v", before), Mounted::no);
  EXPECT_THAT(ledger.facts("v").mounts, SizeIs(1));
}

TEST(Ledger, AListingThatIsBehindDoesNotHideAMountThatWasAnnounced) {
  auto ledger = connected();
  ledger.apply(mount("v", web, true));
  ledger.set_mounts({listed("v", web, true, false)});
  EXPECT_TRUE(is_written(ledger, "v"));
  const auto mounts = ledger.facts("v").mounts;
  ASSERT_THAT(mounts, SizeIs(1));
  EXPECT_EQ(mounts[0].container, "web");
  EXPECT_TRUE(mounts[0].running);
}

TEST(Ledger, CopyingFromARunningContainerLeavesItMounted) {
  auto ledger = connected();
  ledger.set_mounts({listed("v", web, true, true)});
  ledger.apply(mount("v", web, true));
  ledger.apply(unmount("v", web));
  EXPECT_TRUE(is_written(ledger, "v"));
}

TEST(Ledger, AListingEndsAMount) {
  auto ledger = connected();
  ledger.set_mounts({listed("v", web, true, true)});
  EXPECT_TRUE(is_written(ledger, "v"));
  EXPECT_TRUE(ledger.set_mounts({listed("v", web, true, false)}));
  EXPECT_FALSE(ledger.set_mounts({listed("v", web, true, false)}));
  EXPECT_FALSE(is_written(ledger, "v"));
}

TEST(Ledger, DieAndDestroyEndAMountWhoseUnmountNeverCame) {
  for (const auto* action : {"die", "destroy"}) {
    auto ledger = connected();
    const auto before = ledger.mark();
    ledger.apply(mount("v", web, true));
    ledger.apply(mount("v", job, true));
    ledger.apply(of_container(action, job));
    EXPECT_TRUE(is_written(ledger, "v"));
    ledger.apply(of_container(action, web));
    EXPECT_EQ(began(ledger, "v", before), Mounted::yes);
    EXPECT_FALSE(is_written(ledger, "v"));
  }
}

TEST(Ledger, AGapMakesOnlyTheUnseenUnknown) {
  auto ledger = connected();
  const auto first = ledger.mark();
  ledger.apply(mount("busy", web, true));
  ledger.set_connected(false);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(began(ledger, "busy", first), Mounted::yes);
    EXPECT_EQ(began(ledger, "idle", first), Mounted::unknown);
    ledger.begin();
    ledger.set_mounts({});
    ledger.set_connected(true);
  }
  EXPECT_EQ(began(ledger, "idle", ledger.mark()), Mounted::no);
}

TEST(Ledger, BeginForgetsMountsWhoseEndWasMissed) {
  auto ledger = connected();
  ledger.apply(mount("v", web, true));
  ledger.set_connected(false);
  ledger.begin();
  ledger.set_connected(true);
  EXPECT_FALSE(is_written(ledger, "v"));
}

TEST(Ledger, MemoryIsBoundedAndForgettingIsHonest) {
  auto ledger = connected();
  const auto before = ledger.mark();
  const auto begin = [&](const std::string& volume, std::int64_t time) {
    auto event = mount(volume, job, true);
    event.time_ns = time;
    ledger.apply(event);
    ledger.apply(unmount(volume, job));
  };
  for (int i = 0; i < 5000; ++i) begin("v" + std::to_string(9999 - i), 1000 + i);
  EXPECT_EQ(ledger.mount_rw_began_since("v9999", before, 1000), Mounted::unknown) << "the oldest is forgotten";
  EXPECT_EQ(ledger.mount_rw_began_since("v5000", before, 1000), Mounted::yes) << "the newest is not";
  EXPECT_EQ(ledger.mount_rw_began_since("other", before, 1000), Mounted::unknown);
  EXPECT_EQ(ledger.mount_rw_began_since("other", before, 5900), Mounted::no);
}

TEST(Ledger, TellsWhatToListAgain) {
  auto ledger = connected();
  EXPECT_TRUE(ledger.apply({"volume", "create", "v", {}}).volumes);
  EXPECT_TRUE(ledger.apply({"volume", "destroy", "v", {}}).volumes);
  EXPECT_TRUE(ledger.apply(mount("v", web, true)).containers);
  EXPECT_TRUE(ledger.apply(of_container("rename", web)).containers);
  EXPECT_TRUE(ledger.apply({"plugin", "enable", "p", {}}).volumes);
  const auto other = ledger.apply({"network", "create", "n", {}});
  EXPECT_FALSE(other.volumes || other.containers);
}

TEST(Ledger, LabelsAndOptionsAreTheListings) {
  auto ledger = connected();
  Volume volume;
  volume.name = "v";
  volume.labels = {{"a", "b"}};
  EXPECT_TRUE(ledger.set_volumes({volume}));
  EXPECT_FALSE(ledger.set_volumes({volume}));
  EXPECT_EQ(ledger.facts("v").labels, volume.labels);
  EXPECT_EQ(ledger.facts("v").options, StringMap());
  EXPECT_TRUE(ledger.set_volumes({}));
  EXPECT_FALSE(ledger.facts("v").labels);
}

/// The recorded session: `db` stays, has been copied from, and keeps pgdata; everybody else is gone.
TEST(Ledger, RecordedSessions) {
  for (const auto* release : {"20.10", "26.1", "28.5"}) {
    auto ledger = connected();
    const auto before = ledger.mark();
    std::istringstream lines(golden(release, "events.jsonl"));
    for (std::string line; std::getline(lines, line);) ledger.apply(decode_event(line).value());
    ledger.set_mounts(decode_container_mounts(golden(release, "containers.json")).value());
    for (const auto* volume : {"pgdata", "plain"})
      EXPECT_EQ(ledger.mount_rw_began_since(volume, before, 1), Mounted::yes) << release;
    EXPECT_EQ(ledger.mount_rw_began_since("scratch", before, 1), Mounted::no);
    EXPECT_FALSE(is_written(ledger, "plain"));
    EXPECT_TRUE(is_written(ledger, "pgdata"));
  }
}

}  // namespace
}  // namespace ferry::engine
