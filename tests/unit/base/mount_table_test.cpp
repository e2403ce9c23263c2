#include "base/mount_table.h"

#include <gtest/gtest.h>

namespace ferry {
namespace {

TEST(MountTable, ParsesTheLinesOfProc) {
  const auto mounts = parse_mount_table(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
      "37 35 98:0 / /with\\040space\\134 rw shared:5 master:2 - ext4 /dev/vda rw\n"
      "38 35 0:4 net:[4026531992] /run/netns/a rw - nsfs nsfs rw\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].root, "/mnt1");
  EXPECT_EQ(mounts[0].target, "/mnt2");
  EXPECT_EQ(mounts[0].fields, "master:1");
  EXPECT_EQ(mounts[1].target, "/with space\\");
  EXPECT_EQ(mounts[1].fields, "shared:5 master:2");
  EXPECT_EQ(mounts[2].fields, "");
}

TEST(MountTable, LeavesOutWhatDoesNotParse) {
  EXPECT_TRUE(parse_mount_table("").empty());
  EXPECT_TRUE(parse_mount_table("36 35\n\nx\n").empty());
}

TEST(MountTable, AnEscapeThatIsNoneStays) {
  const auto mounts =
      parse_mount_table("1 2 3:4 / /a\\04 rw - x x rw\n1 2 3:4 / /a\\899b rw - x x rw\n1 2 3:4 / /a\\ rw - x x rw\n");
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[0].target, "/a\\04");
  EXPECT_EQ(mounts[1].target, "/a\\899b");
  EXPECT_EQ(mounts[2].target, "/a\\");
}

}  // namespace
}  // namespace ferry
