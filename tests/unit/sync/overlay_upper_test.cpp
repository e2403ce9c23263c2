#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "support/mounts.h"
#include "sync/migration_fixture.h"

namespace ferry::sync {
namespace {

/// Two hosts with an image each, alike but for inodes and times of change, and a container of it at the first one.
class OverlayUpper : public MigrationTest {
 protected:
  void SetUp() override {
    test::PrivateMount::become_private();
    for (const auto& path : {image_, there_}) fs::create_directories(path);
    for (const char* directory : {"etc", "bin", "opt/gone/deep", "opt/opaque/old", "opt/merged/old", "var/lib"})
      fs::create_directories(image_ / directory);
    for (const char* file : {"etc/passwd", "bin/one", "bin/wget", "bin/mode", "bin/xattr", "bin/becomes_directory",
                             "opt/gone/deep/file", "opt/opaque/old/file", "opt/merged/old/file"})
      write(image_ / file, std::string(5000, 'i') + file);
    fs::create_hard_link(image_ / "bin/one", image_ / "bin/two");
    fs::create_symlink("one", image_ / "bin/link");
    ASSERT_EQ(std::system(("cp -a '" + image_.string() + "' '" + (there_ / "lowerdir").string() + "'").c_str()), 0);
  }

  /// A change of each kind.
  static void change(const fs::path& root) {
    fs::create_directories(root / "new/empty");
    write(root / "new/file", "new");
    fs::create_hard_link(root / "new/file", root / "new/second");
    fs::create_hard_link(root / "bin/one", root / "new/third");  // of a file of the image
    fs::create_symlink("nowhere", root / "new/link");
    for (const char* name : {".wh.x", ".wh..wh..opq", ".wh..wh.aufs"}) write(root / "new" / name, "a name as any");
    ASSERT_EQ(::mknod((root / "new/device").c_str(), S_IFCHR | 0600, makedev(1, 3)), 0);
    ASSERT_EQ(::mkfifo((root / "new/fifo").c_str(), 0640), 0);
    ASSERT_EQ(::lchown((root / "new/file").c_str(), 1234, 4321), 0);
    ASSERT_EQ(::setxattr((root / "new/file").c_str(), "user.note", "x", 1, 0), 0);
    std::ofstream(root / "etc/passwd", std::ios::app) << "one more\n";
    fs::permissions(root / "bin/mode", fs::perms(04711));
    ASSERT_EQ(::setxattr((root / "bin/xattr").c_str(), "user.note", "y", 1, 0), 0);
    fs::remove(root / "bin/wget");
    fs::remove_all(root / "opt/gone");
    write(root / "opt/gone", "a file in place of a directory");
    fs::remove(root / "bin/becomes_directory");
    fs::create_directories(root / "bin/becomes_directory/deep");
    fs::remove_all(root / "opt/opaque");
    fs::create_directories(root / "opt/opaque");
    write(root / "opt/opaque/new", "nothing of the image is here");
    write(root / "opt/merged/new", "beside what the image has");
    fs::permissions(root / "var/lib", fs::perms(0700));
    fs::permissions(root, fs::perms(0711));
  }

  static test::PrivateMount mount(const fs::path& layers) {
    return test::PrivateMount::overlay(layers, layers / "root");
  }

  Result<Receipt> move(TreeKind kind = TreeKind::overlay_upper) {
    test::LocalSource source(*open_at(AT_FDCWD, upper().string(), O_RDONLY | O_DIRECTORY), {}, {}, {}, kind);
    staging_ = there_ / "upperdir";
    fs::create_directories(staging_);
    return receive(source);
  }

  fs::path upper() const { return here_ / "upperdir"; }

  /// Names of xattrs of the overlay's own, of all that is in a tree.
  static std::set<std::string> marks(const fs::path& root) {
    std::set<std::string> names;
    const auto add = [&](const fs::path& path) {
      char list[4096];
      const ssize_t size = ::llistxattr(path.c_str(), list, sizeof list);
      for (ssize_t at = 0; at < size; at += static_cast<ssize_t>(std::string(list + at).size()) + 1)
        if (const std::string name = list + at; name.starts_with("trusted.overlay.")) names.insert(name);
    };
    add(root);
    for (const auto& entry : fs::recursive_directory_iterator(root)) add(entry.path());
    return names;
  }

  fs::path here_ = directory_ / "here", there_ = directory_ / "there", image_ = here_ / "lowerdir";
};

TEST_F(OverlayUpper, ShowsTheSameOverTheSameImageElsewhere) {
  {
    const auto root = mount(here_);
    change(root.path());
  }
  const auto receipt = move();
  ASSERT_TRUE(receipt) << receipt.error().message;
  const auto first = mount(here_);
  const auto second = mount(there_);
  EXPECT_EQ(test::tree_difference(first.path(), second.path()), "");
  EXPECT_FALSE(fs::exists(second.path() / "bin/wget"));
  EXPECT_FALSE(fs::exists(second.path() / "opt/opaque/old"));
  EXPECT_TRUE(fs::exists(second.path() / "opt/merged/old/file"));
}

/// A container that is moved on is one that was moved here.
TEST_F(OverlayUpper, IsChangedAndMovedOn) {
  {
    const auto root = mount(here_);
    change(root.path());
  }
  ASSERT_TRUE(move());
  {
    const auto root = mount(there_);
    fs::remove(root.path() / "new/second");
    fs::remove_all(root.path() / "opt/merged");
    write(root.path() / "bin/wget", "it is here again");
  }
  fs::remove_all(journal_);
  std::swap(here_, there_);
  fs::remove_all(there_ / "upperdir");
  const auto receipt = move();
  ASSERT_TRUE(receipt) << receipt.error().message;
  const auto first = mount(here_);
  const auto second = mount(there_);
  EXPECT_EQ(test::tree_difference(first.path(), second.path()), "");
}

TEST_F(OverlayUpper, HandlesOfWhatIsBeneathDoNotGoAlong) {
  {
    const auto root = mount(here_);
    change(root.path());
  }
  ASSERT_THAT(marks(upper()), testing::IsSupersetOf({"trusted.overlay.origin", "trusted.overlay.opaque"}));
  ASSERT_TRUE(move());
  EXPECT_THAT(marks(staging_), testing::ElementsAre("trusted.overlay.opaque"));
}

TEST_F(OverlayUpper, WhatIsPartlyInTheImageIsRefused) {
  for (const char* name : {"trusted.overlay.redirect", "trusted.overlay.metacopy"}) {
    fs::create_directories(upper() / "moved");
    ASSERT_EQ(::setxattr((upper() / "moved").c_str(), name, "x", 1, 0), 0);
    const auto receipt = move();
    ASSERT_FALSE(receipt) << name;
    EXPECT_THAT(receipt.error().message, testing::AllOf(testing::HasSubstr("moved"), testing::HasSubstr(name)));
    fs::remove_all(upper() / "moved");
  }
}

/// A volume may hold any xattrs, also those of an engine that runs in it.
TEST_F(OverlayUpper, APlainTreeKeepsAllXattrs) {
  fs::create_directories(upper());
  write(upper() / "file", "x");
  for (const char* name : {"trusted.overlay.origin", "trusted.overlay.redirect"})
    ASSERT_EQ(::setxattr((upper() / "file").c_str(), name, "x", 1, 0), 0);
  const auto receipt = move(TreeKind::plain);
  ASSERT_TRUE(receipt) << receipt.error().message;
  EXPECT_THAT(marks(staging_), testing::ElementsAre("trusted.overlay.origin", "trusted.overlay.redirect"));
}

}  // namespace
}  // namespace ferry::sync
