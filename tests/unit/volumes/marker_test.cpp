#include "volumes/marker.h"

#include <gmock/gmock.h>

#include "base/files.h"
#include "support/golden.h"
#include "support/temporary_directory.h"
#include "volumes/catalogue.h"

namespace ferry::volumes {
namespace {

using testing::HasSubstr;

class MarkerTest : public testing::Test {
 protected:
  std::string make_catalogue() { return (*Catalogue::open(layout_))->uuid(); }
  Error refusal() {
    const auto checked = check_marker(directory_.path(), layout_);
    return checked ? Error{Code::io, "accepted"} : checked.error();
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
  EXPECT_EQ(refusal().message, "accepted");
}

TEST_F(MarkerTest, AMissingOrOtherCatalogueIsRefusedWithTheLineThatMendsIt) {
  ASSERT_TRUE(write_marker(directory_.path(), {"another", "/srv/docker"}));
  EXPECT_THAT(refusal().message, HasSubstr("docker plugin set ferry data.source=/srv/docker;"));
  EXPECT_FALSE(std::filesystem::exists(layout_.base()));  // nothing was created in the wrong place
  make_catalogue();
  EXPECT_THAT(refusal().message, HasSubstr("docker plugin set ferry data.source=/srv/docker;"));
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
