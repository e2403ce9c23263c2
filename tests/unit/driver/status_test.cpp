#include "driver/status.h"

#include <gmock/gmock.h>

#include "support/golden.h"

namespace ferry::driver {
namespace {

using nlohmann::json;

volumes::VolumeRecord imported() {
  volumes::VolumeRecord record;
  record.name = "pgdata";
  record.created = "2026-11-22T17:05:09Z";
  record.mode = volumes::Mode::ro;
  record.lineage = "1b4e28ba-2fa1-4d2f-883f-0016d3cca427";
  record.epoch = 2;
  record.labels = {{"team", "web"}};
  record.options = {{"mode", "ro"}};
  record.import = {{"host", "a"}};
  record.migration = {{"id", "x"}, {"phase", "done"}};
  return record;
}

volumes::VolumeRecord plain() {
  auto record = imported();
  record.import = record.migration = nullptr;
  record.labels.clear();
  return record;
}

engine::Tracker::Facts facts() {
  engine::Tracker::Facts made;
  made.labels = engine::StringMap{{"a", "b"}};
  made.options = engine::StringMap{{"mode", "ro"}};
  engine::ContainerMount mount;
  mount.volume = "pgdata";
  mount.container = "db";
  mount.destination = "/data";
  mount.rw = false;
  made.mounts = {mount};
  return made;
}

TEST(Status, GoldenFiles) {
  test::expect_golden("driver", "status-plain.json", status_of(plain(), nullptr, facts(), true).dump(2) + "\n");
  test::expect_golden("driver", "status-imported.json", status_of(imported(), nullptr, facts(), true).dump(2) + "\n");
  test::expect_golden("driver", "status-without-engine.json", status_of(plain(), nullptr, {}, false).dump(2) + "\n");
}

TEST(Status, ARunningImportsPartReplacesTheStoredOne) {
  EXPECT_EQ(status_of(imported(), {{"phase", "content"}}, {}, true)["migration"]["phase"], "content");
  EXPECT_EQ(status_of(imported(), nullptr, {}, true)["migration"]["phase"], "done");
  EXPECT_FALSE(status_of(plain(), nullptr, {}, true).contains("migration"));
}

TEST(Status, AnImportShowsItsSourcesLabelsAndAPlainVolumeTheEngines) {
  EXPECT_EQ(status_of(imported(), nullptr, facts(), true)["labels"], (json{{"team", "web"}}));
  EXPECT_EQ(status_of(plain(), nullptr, facts(), true)["labels"], (json{{"a", "b"}}));
  EXPECT_EQ(status_of(plain(), nullptr, {}, true)["labels"], nullptr);
}

TEST(Status, SaysWhatItCannotKnow) {
  const auto status = status_of(plain(), nullptr, facts(), false);
  EXPECT_FALSE(status.contains("mounts"));
  EXPECT_TRUE(status["unknown"].is_string());
  EXPECT_FALSE(status_of(plain(), nullptr, facts(), true).contains("unknown"));
}

TEST(Status, LabelsArePendingUntilTheEngineShowsThem) {
  auto record = imported();
  EXPECT_EQ(status_of(record, nullptr, {}, true)["labels_pending"], false);
  record.reregistration.emplace();
  EXPECT_EQ(status_of(record, nullptr, {}, true)["labels_pending"], true);
  record.reregistration.reset();
  record.labels_pending = true;
  EXPECT_EQ(status_of(record, nullptr, {}, true)["labels_pending"], true);
}

TEST(Status, AQuarantinedVolumeHasFailedAndSaysWhy) {
  volumes::VolumeRecord record;
  record.name = "pgdata";
  record.state = volumes::State::quarantined;
  record.migration = {{"error", "the reason"}};
  const auto status = status_of(record, nullptr, {}, true);
  EXPECT_EQ(status["state"], "failed");
  EXPECT_EQ(status["migration"]["error"], "the reason");
}

}  // namespace
}  // namespace ferry::driver
