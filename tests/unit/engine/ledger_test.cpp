#include "engine/ledger.h"

#include <gmock/gmock.h>

#include <sstream>

#include "engine/scripted_engine.h"

namespace ferry::engine {
namespace {

using testing::golden;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const std::string web(64, 'a'), job(64, 'b');

Event mount(const std::string& volume, const std::string& container, bool rw) {
  return {.type = "volume",
          .action = "mount",
          .id = volume,
          .attributes = {{"container", container}, {"destination", "/d"}, {"read/write", rw ? "true" : "false"}}};
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

TEST(Ledger, NothingIsKnownBeforeTheFirstConnection) {
  Ledger ledger;
  EXPECT_FALSE(ledger.connected());
  const auto mark = ledger.mark();
  EXPECT_EQ(ledger.mounted_rw_since("v", mark), Mounted::unknown);
  ledger.set_connected(true);
  EXPECT_EQ(ledger.mounted_rw_since("v", mark), Mounted::unknown) << "the mark is older than the knowledge";
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::no);
  EXPECT_FALSE(ledger.facts("v").labels);
}

TEST(Ledger, AShortMountBetweenTwoListingsCounts) {
  auto ledger = connected();
  const auto before = ledger.mark();
  ledger.apply(mount("v", job, true));
  EXPECT_EQ(ledger.mounted_rw_since("v", before), Mounted::yes);
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::yes) << "still mounted";
  EXPECT_EQ(ledger.facts("v").mounts.at(0).container, job.substr(0, 12));
  ledger.apply(unmount("v", job));
  EXPECT_EQ(ledger.mounted_rw_since("v", before), Mounted::yes);
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::no);
  EXPECT_EQ(ledger.mounted_rw_since("other", before), Mounted::no);
  EXPECT_THAT(ledger.facts("v").mounts, IsEmpty());
}

TEST(Ledger, ReadOnlyMountsDoNotCount) {
  auto ledger = connected();
  const auto before = ledger.mark();
  ledger.apply(mount("v", web, false));
  ledger.set_mounts({listed("v", web, false, true)});
  EXPECT_EQ(ledger.mounted_rw_since("v", before), Mounted::no);
  EXPECT_THAT(ledger.facts("v").mounts, SizeIs(1));
}

TEST(Ledger, AListingThatIsBehindDoesNotHideAMountThatWasAnnounced) {
  auto ledger = connected();
  ledger.apply(mount("v", web, true));
  ledger.set_mounts({listed("v", web, true, false)});
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::yes);
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
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::yes);
}

TEST(Ledger, AListingThatEndsAMountLeavesItsTrace) {
  auto ledger = connected();
  ledger.set_mounts({listed("v", web, true, true)});
  const auto before = ledger.mark();
  EXPECT_TRUE(ledger.set_mounts({listed("v", web, true, false)}));
  EXPECT_FALSE(ledger.set_mounts({listed("v", web, true, false)}));
  EXPECT_EQ(ledger.mounted_rw_since("v", before), Mounted::yes);
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::no);
}

TEST(Ledger, DieAndDestroyEndAMountWhoseUnmountNeverCame) {
  for (const auto* action : {"die", "destroy"}) {
    auto ledger = connected();
    const auto before = ledger.mark();
    ledger.apply(mount("v", web, true));
    ledger.apply(mount("v", job, true));
    ledger.apply(of_container(action, job));
    EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::yes);
    ledger.apply(of_container(action, web));
    EXPECT_EQ(ledger.mounted_rw_since("v", before), Mounted::yes);
    EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::no);
  }
}

TEST(Ledger, AGapMakesOnlyTheUnseenUnknown) {
  auto ledger = connected();
  const auto first = ledger.mark();
  ledger.set_mounts({listed("busy", web, true, true)});
  ledger.set_connected(false);
  const auto second = ledger.mark();
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(ledger.mounted_rw_since("busy", first), Mounted::yes);
    EXPECT_EQ(ledger.mounted_rw_since("busy", second), Mounted::unknown);
    EXPECT_EQ(ledger.mounted_rw_since("idle", first), Mounted::unknown);
    ledger.begin();
    ledger.set_mounts({});
    ledger.set_connected(true);
  }
  EXPECT_EQ(ledger.mounted_rw_since("busy", ledger.mark()), Mounted::no);
}

TEST(Ledger, BeginForgetsMountsWhoseEndWasMissed) {
  auto ledger = connected();
  ledger.apply(mount("v", web, true));
  ledger.set_connected(false);
  ledger.begin();
  ledger.set_connected(true);
  EXPECT_EQ(ledger.mounted_rw_since("v", ledger.mark()), Mounted::no);
}

TEST(Ledger, MemoryIsBoundedAndForgettingIsHonest) {
  auto ledger = connected();
  const auto before = ledger.mark();
  for (int i = 0; i < 5000; ++i) {
    ledger.mark();
    ledger.apply(mount("v" + std::to_string(i), job, true));
    ledger.apply(unmount("v" + std::to_string(i), job));
  }
  EXPECT_EQ(ledger.mounted_rw_since("v0", before), Mounted::unknown);
  EXPECT_EQ(ledger.mounted_rw_since("v4999", before), Mounted::yes);
  EXPECT_EQ(ledger.mounted_rw_since("v0", ledger.mark()), Mounted::no);
}

TEST(Ledger, TellsWhatToListAgain) {
  auto ledger = connected();
  EXPECT_TRUE(ledger.apply({"volume", "create", "v", {}}).volumes);
  EXPECT_TRUE(ledger.apply({"volume", "destroy", "v", {}}).volumes);
  EXPECT_TRUE(ledger.apply(mount("v", web, true)).containers);
  EXPECT_TRUE(ledger.apply(of_container("rename", web)).containers);
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
      EXPECT_EQ(ledger.mounted_rw_since(volume, before), Mounted::yes) << release;
    EXPECT_EQ(ledger.mounted_rw_since("scratch", before), Mounted::no);
    EXPECT_EQ(ledger.mounted_rw_since("plain", ledger.mark()), Mounted::no);
    EXPECT_EQ(ledger.mounted_rw_since("pgdata", ledger.mark()), Mounted::yes);
  }
}

}  // namespace
}  // namespace ferry::engine
