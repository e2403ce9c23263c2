#include "volumes/mounts.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include <optional>
#include <thread>

#include "base/files.h"
#include "support/mounts.h"
#include "support/temporary_directory.h"
#include "volumes/mount_table.h"

namespace ferry::volumes {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A directory mounted as the Engine mounts a plugin's propagated mount.
class MountsTest : public testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(data_);
    ASSERT_TRUE(write_file_atomically(data_ / "file", "content"));
    ASSERT_TRUE(mounts_.start());
  }
  void TearDown() override { ::umount2((directory_ / "scratch").c_str(), MNT_DETACH); }

  std::string mount(const std::string& id, Mode mode = Mode::rw) {
    const auto mounted = mounts_.mount("volume", id, data_, mode);
    return mounted ? *mounted : mounted.error().message;
  }
  fs::path at(const char* name) const { return propagated_.path() / ".mountpoints" / name; }
  bool bound() const { return fs::exists(at("volume") / "file"); }

  test::TemporaryDirectory directory_;
  const std::string id_ = std::string(64, 'a');
  fs::path plugin_ = directory_ / "plugins" / id_;
  test::PrivateMount propagated_ = test::PrivateMount::bind(
      (fs::create_directories(plugin_ / "propagated-mount"), plugin_ / "propagated-mount"), directory_ / "propagated");
  fs::path data_ = directory_ / "data";
  Mounts mounts_{directory_ / "propagated", directory_ / "scratch"};
};

TEST_F(MountsTest, KnowsThePlugin) { EXPECT_EQ(*plugin_id(propagated_.path().string()), id_); }

TEST_F(MountsTest, BindsWhileSomebodyHoldsIt) {
  EXPECT_EQ(mounts_.mountpoint("volume"), "");
  EXPECT_EQ(mount("one"), at("volume").string());
  EXPECT_EQ(mount("two"), at("volume").string());
  EXPECT_EQ(mount("two"), at("volume").string());  // docker cp repeats an ID
  EXPECT_TRUE(bound());
  EXPECT_TRUE(mounts_.unmount("volume", "two"));
  EXPECT_TRUE(mounts_.unmount("volume", "one"));
  EXPECT_TRUE(bound());
  EXPECT_TRUE(mounts_.unmount("volume", "two"));
  EXPECT_FALSE(bound());
  EXPECT_FALSE(fs::exists(at("volume")));
  EXPECT_EQ(mounts_.mountpoint("volume"), "");
}

TEST_F(MountsTest, AnUnknownUnmountIsASuccessAndHarmsNobody) {
  EXPECT_TRUE(mounts_.unmount("volume", "never"));
  mount("one");
  EXPECT_TRUE(mounts_.unmount("volume", "never"));
  EXPECT_TRUE(bound());
}

TEST_F(MountsTest, ReadOnlyIsReadOnly) {
  mount("one", Mode::ro);
  EXPECT_TRUE(bound());
  const auto written = open_at(AT_FDCWD, (at("volume") / "new").string(), O_CREAT | O_WRONLY, 0600);
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message, HasSubstr("Read-only"));
  EXPECT_TRUE(open_at(AT_FDCWD, (data_ / "new").string(), O_CREAT | O_WRONLY, 0600));
  EXPECT_TRUE(fs::is_empty(directory_ / "scratch"));
}

TEST_F(MountsTest, ReadOnlyKeepsTheRestrictionsOfTheDataRoot) {
  const auto strict = test::PrivateMount::tmpfs(directory_ / "strict", "size=64k");
  constexpr unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  ASSERT_EQ(::mount(nullptr, strict.path().c_str(), nullptr, MS_REMOUNT | MS_BIND | flags, nullptr), 0);
  for (const Mode mode : {Mode::rw, Mode::ro}) {
    ASSERT_TRUE(mounts_.mount("volume", "one", strict.path(), mode));
    struct statvfs info {};
    ASSERT_EQ(::statvfs(at("volume").c_str(), &info), 0);
    constexpr unsigned long wanted = ST_NOSUID | ST_NODEV | ST_NOEXEC;
    EXPECT_EQ(info.f_flag & (wanted | ST_RDONLY), mode == Mode::ro ? wanted | ST_RDONLY : wanted);
    ASSERT_TRUE(mounts_.unmount("volume", "one"));
  }
}

TEST_F(MountsTest, ReleaseRemovesTheMountpointOfALazilyDetachedBind) {
  mount("one");
  ASSERT_EQ(::umount2(at("volume").c_str(), MNT_DETACH), 0);
  Mounts successor(directory_ / "propagated", directory_ / "scratch2");
  ASSERT_TRUE(successor.start());
  EXPECT_EQ(successor.mountpoint("volume"), "");
  EXPECT_TRUE(successor.release("volume"));
  EXPECT_FALSE(fs::exists(at("volume")));
  ::umount2((directory_ / "scratch2").c_str(), MNT_DETACH);
}

TEST_F(MountsTest, ASuccessorFindsTheBindsOfACrashedOne) {
  mount("one");
  Mounts successor(directory_ / "propagated", directory_ / "scratch2");
  ASSERT_TRUE(successor.start());
  EXPECT_EQ(successor.mountpoint("volume"), at("volume").string());
  EXPECT_TRUE(successor.unmount("volume", "one"));
  EXPECT_FALSE(bound());
  ::umount2((directory_ / "scratch2").c_str(), MNT_DETACH);
}

TEST_F(MountsTest, ReleaseUnbindsWhoeverHoldsIt) {
  mount("one");
  mount("two");
  EXPECT_TRUE(mounts_.release("volume"));
  EXPECT_FALSE(bound());
  EXPECT_TRUE(mounts_.release("volume"));
  mount("three");
  EXPECT_TRUE(mounts_.unmount("volume", "three"));  // the former holders are forgotten
  EXPECT_FALSE(bound());
}

TEST_F(MountsTest, BindsNothingInAPluginThatIsBeingRemoved) {
  fs::rename(plugin_, directory_ / "plugins" / (id_ + "-removing"));
  EXPECT_THAT(mount("one"), HasSubstr("being removed"));
  EXPECT_FALSE(bound());
  EXPECT_EQ(mounts_.mountpoint("volume"), "");
}

TEST_F(MountsTest, AFailedBindLeavesNothingBound) {
  for (const Mode mode : {Mode::rw, Mode::ro}) {
    EXPECT_FALSE(mounts_.mount("volume", "one", directory_ / "missing", mode));
    EXPECT_FALSE(fs::exists(at("volume")));
    EXPECT_TRUE(fs::is_empty(directory_ / "scratch"));
  }
  EXPECT_EQ(mounts_.mountpoint("volume"), "");
  mount("two");
  EXPECT_TRUE(mounts_.unmount("volume", "two"));  // "one" does not hold it
  EXPECT_FALSE(bound());
}

/// As an Engine does that starts after a crash, or disables the plugin.
TEST_F(MountsTest, WhatTheEngineHasUnmountedIsBoundAgain) {
  mount("one");
  for (const fs::path& gone : {at("volume"), at("volume").parent_path()}) {
    ASSERT_EQ(::umount2(gone.c_str(), MNT_DETACH), 0);
    EXPECT_FALSE(bound());
    mount("one");
    EXPECT_TRUE(bound()) << gone;
  }
}

/// What another mount namespace has there that does not see the binds.
TEST_F(MountsTest, WithoutItsMountsThePropagatedMountHasNoMountpoints) {
  mount("one");
  EXPECT_TRUE(fs::exists(plugin_ / "propagated-mount" / ".mountpoints"));
  EXPECT_FALSE(fs::exists(plugin_ / "propagated-mount" / ".mountpoints" / "volume"));
}

TEST_F(MountsTest, ParallelHoldersAreCounted) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int n = 0; n < 20; ++n) {
        EXPECT_TRUE(mounts_.mount("volume", std::to_string(i), data_, Mode::rw));
        EXPECT_TRUE(fs::exists(at("volume") / "file"));
        EXPECT_TRUE(mounts_.unmount("volume", std::to_string(i)));
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(bound());
}

}  // namespace
}  // namespace ferry::volumes
