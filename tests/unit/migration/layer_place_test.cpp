#include "migration/layer_place.h"

#include <gmock/gmock.h>

#include <fstream>

#include "support/mounts.h"

namespace ferry::migration {
namespace {

namespace fs = std::filesystem;

/// A container that was made, with what its Engine puts into its layer, and a layer that has come for it.
class LayerPlace : public testing::Test {
 protected:
  LayerPlace() {
    fs::create_directories(container_ / "lowerdir");
    write(container_ / "lowerdir/image");
    {
      const auto root = test::PrivateMount::overlay(container_, container_ / "merged");
      fs::create_directories(root.path() / "working-directory");
    }
    fs::create_directories(staged_);
    write(staged_ / "came");
  }
  static void write(const fs::path& path) { std::ofstream(path) << "x"; }

  test::TemporaryDirectory directory_;
  const fs::path container_ = directory_ / "container", upper_ = container_ / "upperdir";
  const fs::path staged_ = directory_ / "ticket/staging";
};

TEST_F(LayerPlace, TheContainerHasWhatHasCome) {
  const auto identity = identify_layer(staged_);
  ASSERT_TRUE(identity);
  for (int i = 0; i < 2; ++i) {
    const auto placed = place_layer(staged_, *identity, upper_);
    ASSERT_TRUE(placed) << placed.error().message;
  }
  const auto root = test::PrivateMount::overlay(container_, container_ / "merged");
  EXPECT_TRUE(fs::exists(root.path() / "came"));
  EXPECT_TRUE(fs::exists(root.path() / "image"));
  EXPECT_FALSE(fs::exists(root.path() / "working-directory"));
  EXPECT_TRUE(fs::exists(staged_ / "working-directory")) << "to be removed by whoever has staged it";
}

/// A process may die between the exchange and what it notes of it, and what was exchanged may be gone already.
TEST_F(LayerPlace, OneThatIsInPlaceStays) {
  const auto identity = *identify_layer(staged_);
  ASSERT_TRUE(place_layer(staged_, identity, upper_));
  fs::remove_all(staged_);
  EXPECT_TRUE(place_layer(staged_, identity, upper_));
  EXPECT_TRUE(fs::exists(upper_ / "came"));
}

TEST_F(LayerPlace, AnotherDirectoryIsNotTakenForIt) {
  const auto identity = *identify_layer(staged_);
  fs::rename(staged_, directory_ / "elsewhere");
  fs::create_directories(staged_);
  const auto placed = place_layer(staged_, identity, upper_);
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().code, Code::corrupt);
  EXPECT_TRUE(fs::exists(upper_ / "working-directory"));
}

TEST_F(LayerPlace, AnotherFileSystemIsTold) {
  const auto disk = test::PrivateMount::tmpfs(directory_ / "disk", "size=64k");
  fs::create_directories(disk.path() / "staged");
  const auto placed = place_layer(disk.path() / "staged", *identify_layer(disk.path() / "staged"), upper_);
  ASSERT_FALSE(placed);
  EXPECT_EQ(placed.error().code, Code::unsupported);
  EXPECT_THAT(placed.error().message, testing::HasSubstr("another file system"));
  EXPECT_TRUE(fs::exists(upper_ / "working-directory"));
}

TEST_F(LayerPlace, AContainerThatIsGoneIsNotFound) {
  fs::remove_all(container_);
  EXPECT_EQ(place_layer(staged_, *identify_layer(staged_), upper_).error().code, Code::not_found);
  EXPECT_TRUE(fs::exists(staged_ / "came"));
}

}  // namespace
}  // namespace ferry::migration
