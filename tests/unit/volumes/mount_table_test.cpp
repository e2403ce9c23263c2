#include "volumes/mount_table.h"

#include <gtest/gtest.h>

namespace ferry::volumes {
namespace {

const std::string id(64, 'a');
const std::string root = "/var/lib/docker/plugins/" + id + "/propagated-mount";

/// As in a plugin that an Engine of 26.1 has started: with, and without, its own mount of the propagated one.
std::vector<MountPoint> mounts_of_plugin(bool seen, const std::string& data_root = "/var/lib/docker") {
  std::vector<MountPoint> mounts = {{"/var/lib/docker/plugins/" + id + "/rootfs", "/", ""},
                                    {root, "/propagated", "shared:66"},
                                    {data_root, "/host/docker", ""},
                                    {root, "/host/docker/plugins/" + id + "/rootfs/propagated", "master:66"}};
  if (seen) mounts.push_back({root, "/host/docker/plugins/" + id + "/propagated-mount", "master:66"});
  return mounts;
}

TEST(MountTable, TheEngineSeesWhatItHasMountedItself) {
  EXPECT_TRUE(is_seen_by_engine(mounts_of_plugin(true), "/propagated", "/host/docker"));
  EXPECT_FALSE(is_seen_by_engine(mounts_of_plugin(false), "/propagated", "/host/docker"));
}

TEST(MountTable, WithAnotherDirectoryForItsDataNobodyKnows) {
  EXPECT_TRUE(is_seen_by_engine(mounts_of_plugin(false, "/srv/data"), "/propagated", "/host/docker"));
  EXPECT_TRUE(is_seen_by_engine({}, "/propagated", "/host/docker"));
}

TEST(MountTable, ADataRootWithAFileSystemOfItsOwnIsKnown) {
  for (const bool seen : {true, false}) {
    auto mounts = mounts_of_plugin(seen);
    for (auto& mount : mounts) {
      mount.root.erase(0, std::string("/var/lib/docker").size());
      if (mount.root.empty()) mount.root = "/";
    }
    EXPECT_EQ(is_seen_by_engine(mounts, "/propagated", "/host/docker"), seen);
  }
}

TEST(MountTable, AnOrdinaryDirectoryIsNoPropagatedMount) {
  EXPECT_EQ(plugin_id("/proc").error().code, Code::not_found);
  EXPECT_EQ(plugin_id("/nowhere").error().code, Code::not_found);
}

}  // namespace
}  // namespace ferry::volumes
