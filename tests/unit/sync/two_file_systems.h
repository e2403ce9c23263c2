#pragma once

#include <optional>
#include <string>

#include "support/mounts.h"
#include "sync/update_fixture.h"

namespace ferry::sync {

/// A source on one new file system, staging and journal on another; and a host on each.
class TwoFileSystems : public TwoHosts {
 protected:
  struct FileSystem {
    std::string make;  ///< the mkfs command; empty: tmpfs
    std::string size;  ///< of the image, or of the tmpfs
  };
  static FileSystem ext4() { return {"mkfs.ext4 -q -b 4096", "64M"}; }
  static FileSystem large_ext4() { return {"mkfs.ext4 -q -b 4096", "256M"}; }
  static FileSystem ext4_with_small_inodes() { return {"mkfs.ext4 -q -I 128", "16M"}; }  // no ns, nothing after 2038
  static FileSystem xfs() { return {"mkfs.xfs -q -m bigtime=1", "400M"}; }
  static FileSystem xfs_without_bigtime() { return {"mkfs.xfs -q -m bigtime=0", "400M"}; }  // nothing after 2038
  static FileSystem btrfs() { return {"mkfs.btrfs -q", "128M"}; }
  static FileSystem large_btrfs() { return {"mkfs.btrfs -q", "400M"}; }
  static FileSystem tmpfs() { return {"", "128m"}; }

  void use(const FileSystem& source, const FileSystem& destination) {
    destination_mount_.emplace(mount(destination, directory_.path(), "destination"));
    fs::create_directories(staging_);
    source_mount_.emplace(mount(source, source_, "source"));
    a_.volume = source_ / "a";
    b_.volume = directory_ / "b";
    if (const fs::path made_by_mkfs = source_ / "lost+found"; fs::exists(made_by_mkfs)) fs::remove(made_by_mkfs);
  }

  /// An attempt that fails with `code` before the first byte of content was asked for.
  void expect_refusal(Code code, const testing::Matcher<std::string>& message) {
    let_ctimes_settle();
    auto source = open_source();
    std::atomic<bool> content{false};
    source.on_content = [&](std::string&) -> Result<> {
      content = true;
      return {};
    };
    const auto receipt = receive(source);
    ASSERT_FALSE(receipt);
    EXPECT_EQ(receipt.error().code, code) << to_string(receipt.error().code) << ", " << receipt.error().message;
    EXPECT_THAT(receipt.error().message, message);
    EXPECT_FALSE(content);
  }

  test::TemporaryDirectory images_;

 private:
  const test::PrivateMount memory_ = test::PrivateMount::tmpfs(images_.path(), "size=1g");  // a disk would be slow

  test::PrivateMount mount(const FileSystem& kind, const fs::path& target, const std::string& name) const {
    if (kind.make.empty()) return test::PrivateMount::tmpfs(target, "size=" + kind.size);
    return test::PrivateMount::made_by(kind.make, kind.size, images_ / name, target);
  }

  std::optional<test::PrivateMount> destination_mount_;
  std::optional<test::PrivateMount> source_mount_;
};

}  // namespace ferry::sync
