#include "engine/decode.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <sstream>

#include "support/scripted_engine.h"

namespace ferry::engine {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using testing::golden;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

/// Recordings of the same session on three generations of the Engine.
class Recorded : public ::testing::TestWithParam<const char*> {
 protected:
  std::string read(const std::string& file) const { return golden(GetParam(), file); }
};
INSTANTIATE_TEST_SUITE_P(Engines, Recorded, ::testing::Values("20.10", "26.1", "28.5"),
                         [](const auto& engine) { return "v" + std::string(engine.param).replace(2, 1, "_"); });

TEST_P(Recorded, Volume) {
  const auto volume = decode_volume(read("volume.json"));
  ASSERT_TRUE(volume) << volume.error().message;
  EXPECT_EQ(volume->name, "pgdata");
  EXPECT_EQ(volume->driver, "local");
  EXPECT_EQ(volume->mountpoint, "/var/lib/docker/volumes/pgdata/_data");
  EXPECT_EQ(volume->created_at.size(), std::string("2026-11-22T17:12:31Z").size());
  EXPECT_THAT(volume->labels, ElementsAre(Pair("a,b", "c d"), Pair("empty", ""), Pair("x", "\"y\"")));
  EXPECT_THAT(volume->options, IsEmpty());
}

TEST_P(Recorded, Volumes) {
  const auto volumes = decode_volumes(read("volumes.json"));
  ASSERT_TRUE(volumes) << volumes.error().message;
  EXPECT_THAT(*volumes,
              UnorderedElementsAre(
                  Field(&Volume::name, "pgdata"), Field(&Volume::name, "plain"),
                  AllOf(Field(&Volume::name, "scratch"),
                        Field(&Volume::options, StringMap{{"device", "tmpfs"}, {"o", "size=1m"}, {"type", "tmpfs"}}))));
}

TEST_P(Recorded, ContainerMounts) {
  const auto mounts = decode_container_mounts(read("containers.json"));
  ASSERT_TRUE(mounts) << mounts.error().message;
  std::vector<std::string> found;
  for (const auto& mount : *mounts) {
    EXPECT_EQ(mount.container_id.size(), 64U);
    found.push_back(mount.container + " " + mount_argument(mount) + (mount.running ? " running" : ""));
  }
  EXPECT_THAT(found,
              UnorderedElementsAre("held type=volume,src=pgdata,dst=/h,readonly running",
                                   "never type=volume,src=scratch,dst=/s,readonly", "once type=volume,src=plain,dst=/w",
                                   "database type=volume,src=plain,\"dst=/a,b\",readonly running",
                                   "database type=volume,src=pgdata,dst=/data running"));
}

TEST_P(Recorded, Events) {
  std::istringstream lines(read("events.jsonl"));
  std::vector<Event> events;
  for (std::string line; std::getline(lines, line);) {
    auto event = decode_event(line);
    ASSERT_TRUE(event) << event.error().message;
    events.push_back(std::move(*event));
  }
  const auto mount = std::find_if(events.begin(), events.end(),
                                  [](const auto& event) { return event.action == "mount" && event.id == "plain"; });
  ASSERT_NE(mount, events.end());
  EXPECT_EQ(mount->type, "volume");
  EXPECT_EQ(mount->attributes.at("destination"), "/a,b");
  EXPECT_EQ(mount->attributes.at("read/write"), "false");
  EXPECT_EQ(mount->attributes.at("container").size(), 64U);
  EXPECT_EQ(events.back().action, "destroy");
}

TEST_P(Recorded, DataRootAndPluginMount) {
  EXPECT_EQ(decode_data_root(read("info.json")).value(), "/var/lib/docker");
  const auto plugins = read("plugins.json");
  const auto id = plugins.substr(plugins.find("\"Id\":\"") + 6, 64);
  EXPECT_EQ(decode_plugin_mount_source(plugins, id, "run").value(), "/run");
  EXPECT_EQ(decode_plugin_mount_source(plugins, id, "nosuch").error().code, Code::not_found);
  EXPECT_EQ(decode_plugin_mount_source(plugins, "nosuch", "run").error().code, Code::not_found);
}

TEST_P(Recorded, Errors) {
  EXPECT_EQ(decode_error(read("volume_missing.json")), "get nosuch: no such volume");
  EXPECT_THAT(decode_error(read("version_too_old.json")), HasSubstr("client version 1.10 is too old"));
  EXPECT_THAT(decode_error(read("version_too_new.json")), HasSubstr("client version 1.99 is too new"));
}

TEST(Decode, AMountOfThePluginIsWhatTheEngineMounts) {
  const char* after_a_restart_and_set = R"([{"Id":"1","Config":{"Mounts":[{"Name":"data","Source":"/srv"}]},
                                             "Settings":{"Mounts":[{"Name":"data","Source":"/var/lib/docker"}]}}])";
  EXPECT_EQ(decode_plugin_mount_source(after_a_restart_and_set, "1", "data").value(), "/srv");
}

TEST(Decode, NullAndAbsentAreEmpty) {
  EXPECT_THAT(decode_volumes(R"({"Volumes":null,"Warnings":null})").value(), IsEmpty());
  EXPECT_THAT(decode_volumes("{}").value(), IsEmpty());
  EXPECT_THAT(decode_container_mounts("null").value(), IsEmpty());
  EXPECT_THAT(decode_container_mounts(R"([{"Id":"1","Mounts":null}])").value(), IsEmpty());
  EXPECT_EQ(decode_volume(R"({"Name":"x"})").value().name, "x");
}

TEST(Decode, NamesAContainerByItsOwnNameOrItsShortId) {
  const auto mounts = decode_container_mounts(
      R"([{"Id":"0123456789abcdef","Names":null,"State":"restarting","Mounts":[{"Type":"volume","Name":"v"}]}])");
  ASSERT_EQ(mounts.value().size(), 1U);
  EXPECT_EQ(mounts->front().container, "0123456789ab");
  EXPECT_TRUE(mounts->front().running);
  EXPECT_FALSE(mounts->front().rw);
}

TEST(Decode, EveryTruncationIsRefused) {
  auto volume = golden("28.5", "volume.json");
  volume.erase(volume.find_last_not_of('\n') + 1);
  for (std::size_t size = 0; size < volume.size(); ++size)
    EXPECT_EQ(decode_volume(volume.substr(0, size)).error().code, Code::corrupt) << size;
}

TEST(Decode, WrongTypesAreRefused) {
  for (const auto* body : {"[]", "1", "\"x\"", "null", R"({"Name":1})", R"({"Labels":[]})", R"({"Labels":{"a":1}})",
                           R"({"Name":"\ud800"})", "{\"Name\":\"\xff\"}"})
    EXPECT_EQ(decode_volume(body).error().code, Code::corrupt) << body;
  EXPECT_EQ(decode_volumes(R"({"Volumes":{}})").error().code, Code::corrupt);
  EXPECT_EQ(decode_container_mounts(R"([{"Mounts":[1]}])").error().code, Code::corrupt);
  EXPECT_EQ(decode_data_root("{}").error().code, Code::corrupt);
  EXPECT_EQ(decode_plugin_mount_source(R"([{"Id":"1"}])", "1", "data").error().code, Code::corrupt);
  EXPECT_EQ(decode_event("{}").error().code, Code::corrupt);
}

TEST(Decode, DeepNestingIsNoTrouble) {
  EXPECT_FALSE(decode_volume(std::string(100000, '[')));
  EXPECT_FALSE(decode_volume(std::string(20000, '[') + std::string(20000, ']')));
}

TEST(Decode, ErrorsWithoutAMessageStillSaySomething) {
  EXPECT_EQ(decode_error(""), "no reason given");
  EXPECT_EQ(decode_error("{}"), "{}");
  EXPECT_EQ(decode_error("plain text\n"), "plain text");
  EXPECT_EQ(decode_error(std::string(5000, 'x')).size(), 1000U);
}

}  // namespace
}  // namespace ferry::engine
