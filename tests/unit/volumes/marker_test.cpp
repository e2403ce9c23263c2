#include "volumes/marker.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "support/golden.h"
#include "support/temporary_directory.h"
#include "volumes/catalogue.h"
#include "volumes/marker_keeper.h"

namespace ferry::volumes {
namespace {

using testing::HasSubstr;
using testing::Not;

class MarkerTest : public testing::Test {
 protected:
  std::string make_catalogue() { return (*Catalogue::open(layout_))->uuid(); }
  Error refusal() {
    const auto checked = check_marker(directory_.path(), layout_);
    return checked ? Error{Code::io, "accepted"} : checked.error();
  }
  static VolumeRecord volume() {
    VolumeRecord record;
    record.name = "v";
    record.created = "2026-01-01T00:00:00Z";
    record.lineage = "l";
    return record;
  }
  test::TemporaryDirectory directory_;
  Layout layout_{directory_ / "root"};
};

TEST_F(MarkerTest, GoldenFile) {
  ASSERT_TRUE(write_marker(directory_.path(), {"1b4e28ba-2fa1-4d2f-883f-0016d3cca427", "/srv/docker"}));
  test::expect_golden("volumes", "marker.json", *read_file(directory_ / ".ferry-catalogue.json"));
  ASSERT_TRUE(write_file_atomically(directory_ / ".ferry-catalogue.json", test::read_golden("volumes", "marker.json")));
  const auto marker = read_marker(directory_.path());
  ASSERT_TRUE(marker && *marker);
  EXPECT_EQ((*marker)->catalogue, "1b4e28ba-2fa1-4d2f-883f-0016d3cca427");
  EXPECT_EQ((*marker)->source, "/srv/docker");
}

TEST_F(MarkerTest, WithoutAMarkerAnythingIsRight) {
  EXPECT_FALSE(read_marker(directory_.path())->has_value());
  EXPECT_EQ(refusal().message, "accepted");
}

TEST_F(MarkerTest, ItsOwnCatalogueIsRight) {
  ASSERT_TRUE(write_marker(directory_.path(), {make_catalogue(), ""}));
  std::filesystem::create_directory(layout_.volumes() / "v");
  EXPECT_EQ(refusal().message, "accepted");
}

TEST_F(MarkerTest, ItsOwnCatalogueWithoutItsVolumesIsNotServed) {
  ASSERT_TRUE(write_marker(directory_.path(), {make_catalogue(), ""}));
  EXPECT_THAT(refusal().message, HasSubstr(layout_.volumes().string() + " is empty"));
  std::filesystem::remove(layout_.volumes());
  EXPECT_THAT(refusal().message, HasSubstr(layout_.volumes().string() + " is empty"));
}

TEST_F(MarkerTest, AMissingOrOtherCatalogueIsRefusedWithTheLineThatMendsIt) {
  ASSERT_TRUE(write_marker(directory_.path(), {"another", "/srv/docker"}));
  EXPECT_THAT(refusal().message, HasSubstr("docker plugin set ferry data.source=/srv/docker;"));
  EXPECT_FALSE(std::filesystem::exists(layout_.base()));  // nothing was created in the wrong place
  make_catalogue();
  EXPECT_THAT(refusal().message, HasSubstr("docker plugin set ferry data.source=/srv/docker;"));
}

TEST_F(MarkerTest, ALostCatalogueFileBesideVolumesIsNoResetSource) {
  const auto uuid = make_catalogue();
  ASSERT_TRUE(write_marker(directory_.path(), {uuid, "/srv/docker"}));
  std::filesystem::create_directory(layout_.volumes() / "v");
  const auto saved = *read_file(layout_.catalogue());
  std::filesystem::remove(layout_.catalogue());
  EXPECT_THAT(refusal().message, HasSubstr(layout_.catalogue().string() + " is missing"));
  EXPECT_THAT(refusal().message, Not(HasSubstr("docker plugin set")));
  // The line that the message gives is what is missing.
  const auto message = refusal().message;
  ASSERT_TRUE(write_file_atomically(layout_.catalogue(), message.substr(message.find('{'))));
  EXPECT_EQ(refusal().message, "accepted");
  EXPECT_EQ(make_catalogue(), uuid);
}

TEST_F(MarkerTest, TheKeeperWritesOnlyWhatIsNotThere) {
  const auto catalogue = *Catalogue::open(layout_);
  const auto file = directory_ / ".ferry-catalogue.json";
  ASSERT_TRUE(catalogue->create(volume()));
  ASSERT_TRUE(MarkerKeeper(directory_.path(), *catalogue).update());
  std::filesystem::create_hard_link(file, directory_ / "same");
  ASSERT_TRUE(MarkerKeeper(directory_.path(), *catalogue).update());
  EXPECT_EQ(std::filesystem::hard_link_count(file), 2U) << "it was replaced";
}

TEST_F(MarkerTest, TheKeeperTakesItAwayWithTheLastVolume) {
  const auto catalogue = *Catalogue::open(layout_);
  MarkerKeeper keeper(directory_.path(), *catalogue);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(catalogue->create(volume()));
    ASSERT_TRUE(keeper.update());
    EXPECT_TRUE(read_marker(directory_.path())->has_value());
    ASSERT_TRUE(keeper.remove([&] {
      EXPECT_FALSE(read_marker(directory_.path())->has_value()) << "a crash in between were taken for a loss";
      return catalogue->remove("v");
    }));
    EXPECT_FALSE(read_marker(directory_.path())->has_value());
  }
}

TEST_F(MarkerTest, TheKeeperKeepsItWhenTheLastVolumeCouldNotBeRemoved) {
  const auto catalogue = *Catalogue::open(layout_);
  MarkerKeeper keeper(directory_.path(), *catalogue);
  ASSERT_TRUE(catalogue->create(volume()));
  EXPECT_FALSE(keeper.remove([] { return Result<>(fail(Code::io, "no")); }));
  EXPECT_TRUE(read_marker(directory_.path())->has_value());
}

TEST_F(MarkerTest, DamageIsAnError) {
  for (const std::string text : {"", "{}", "[]", "{\"catalogue\": 1, \"source\": \"\"}", "{\"catalogue\": \"x\""}) {
    ASSERT_TRUE(write_file_atomically(directory_ / ".ferry-catalogue.json", text));
    EXPECT_EQ(read_marker(directory_.path()).error().code, Code::corrupt) << text;
    EXPECT_EQ(refusal().code, Code::corrupt) << text;
  }
}

}  // namespace
}  // namespace ferry::volumes
