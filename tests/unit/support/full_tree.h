#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/files.h"

namespace ferry::test {

using namespace std::string_literals;

/// The xattr value of an ACL that gives the owner rwx, user 7 `others`, and the group, others and the mask r-x
/// (linux/posix_acl_xattr.h).
inline std::string acl_for_user_7(char others) {
  struct Rule {
    char tag;
    char permissions;
    bool named;
  };
  std::string value("\2\0\0\0", 4);
  for (const Rule rule : {Rule{1, 7, false}, {2, others, true}, {4, 5, false}, {16, 5, false}, {32, 5, false}})
    value += std::string{rule.tag, 0, rule.permissions, 0} + (rule.named ? "\7\0\0\0"s : "\xff\xff\xff\xff"s);
  return value;
}

/// cap_net_raw, effective (linux/capability.h, VFS_CAP_REVISION_2).
inline std::string file_capability() { return "\1\0\0\2\0\x20\0\0"s + std::string(12, '\0'); }

inline void set_xattr(const std::filesystem::path& path, const char* name, const std::string& value) {
  EXPECT_EQ(::lsetxattr(path.c_str(), name, value.data(), value.size(), 0), 0)
      << path << " " << name << ": " << std::generic_category().message(errno);
}

/// More bytes in sum than a single one of 4100 bytes, by what is easily counted; but the files of ext4 can have them.
inline void set_many_xattrs(const std::filesystem::path& path) {
  for (int i = 0; i < 120; ++i) set_xattr(path, ("user." + std::to_string(100 + i)).c_str(), "0123456789ab");
}

inline void set_mtime(const std::filesystem::path& path, std::int64_t seconds, long nanoseconds) {
  const std::timespec times[2] = {{0, UTIME_OMIT}, {seconds, nanoseconds}};
  EXPECT_EQ(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW), 0) << path;
}

inline void write_text(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// A file of `size` bytes with a few bytes of data at each of `places`.
inline void write_islands(const std::filesystem::path& path, off_t size, std::initializer_list<off_t> places) {
  const Fd file = *open_at(AT_FDCWD, path.string(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(::ftruncate(file.get(), size), 0);
  for (const off_t at : places) ASSERT_EQ(::pwrite(file.get(), "data", 4, at), 4);
}

/// Something of everything that a copy keeps, below the existing directory `root`, and the root's own metadata.
class FullTree {
 public:
  explicit FullTree(std::filesystem::path root) : root_(std::move(root)) {
    make_files();
    make_special_files();
    make_links();
    make_directories();
    give_metadata();
  }

 private:
  using Path = std::filesystem::path;

  void make_files() {
    for (const char* name : {"suid", "capable", "shared", "old", "future", "attributes"})
      write_text(root_ / name, std::string("content of ") + name);
    write_text(root_ / "empty", "");
    write_text(root_ / "large", std::string(1'100'001, 'x'));
    write_text(root_ / "not utf-8 \xff\xfe\n\x01", "x");
    write_text(root_ / std::string(255, 'n'), "x");
    write_islands(root_ / "holes", 900'000, {0, 400'000, 800'000});
    write_islands(root_ / "only a hole", 500'000, {});
  }

  void make_special_files() {
    EXPECT_EQ(::mkfifo((root_ / "fifo").c_str(), 0640), 0);
    EXPECT_EQ(::mknod((root_ / "character").c_str(), S_IFCHR | 0620, makedev(5, 1)), 0);
    EXPECT_EQ(::mknod((root_ / "block").c_str(), S_IFBLK | 0660, makedev(259, 70'000)), 0);
    std::filesystem::create_symlink("nowhere/\xff", root_ / "symlink");
    std::filesystem::create_symlink(std::string(1000, 'l'), root_ / "long symlink");
  }

  void make_links() {
    std::filesystem::create_directories(root_ / "directory" / "below");
    for (const char* name : {"shared", "fifo", "character", "symlink"})
      EXPECT_EQ(::linkat(AT_FDCWD, (root_ / name).c_str(), AT_FDCWD,
                         (root_ / "directory" / "below" / (std::string(name) + " again")).c_str(), 0),
                0);
    std::filesystem::create_hard_link(root_ / "shared", root_ / "directory" / "third name");
  }

  void make_directories() {
    std::filesystem::create_directories(root_ / "empty directory");
    std::filesystem::create_directories(root_ / "sticky");
    Path deep = root_ / "deep";
    for (int i = 0; i < 20; ++i) deep /= "d";
    std::filesystem::create_directories(deep);
    write_text(deep / "file", "deep");
  }

  void give_metadata() {
    EXPECT_EQ(::chown((root_ / "suid").c_str(), 1001, 70'000), 0);
    EXPECT_EQ(::chmod((root_ / "suid").c_str(), 06751), 0);
    EXPECT_EQ(::chmod((root_ / "sticky").c_str(), 01777), 0);
    EXPECT_EQ(::chmod((root_ / "empty directory").c_str(), 02750), 0);
    EXPECT_EQ(::lchown((root_ / "symlink").c_str(), 12, 34), 0);
    EXPECT_EQ(::lchown((root_ / "fifo").c_str(), 12, 34), 0);
    EXPECT_EQ(::chmod((root_ / "empty").c_str(), 0), 0);
    give_xattrs();
    set_mtime(root_ / "old", -1'234'567'890, 123'456'789);
    set_mtime(root_ / "future", 4'000'000'001, 999'999'999);
    set_mtime(root_ / "symlink", 1'000'000'000, 1);
    set_mtime(root_ / "fifo", -1, 999'999'999);
    set_mtime(root_ / "directory", 0, 0);
    EXPECT_EQ(::chown(root_.c_str(), 56, 78), 0);
    EXPECT_EQ(::chmod(root_.c_str(), 03771), 0);
    set_mtime(root_, -86'400, 5);
  }

  void give_xattrs() {
    set_xattr(root_ / "attributes", "user.text", "value");
    set_xattr(root_ / "attributes", "user.empty", "");
    set_xattr(root_ / "attributes", "user.long", std::string(2000, 'v'));
    set_xattr(root_ / "attributes", "trusted.binary", "\0\xff\n"s);
    set_xattr(root_ / "attributes", "system.posix_acl_access", acl_for_user_7(4));
    set_xattr(root_ / "capable", "security.capability", file_capability());
    set_xattr(root_ / "symlink", "trusted.of a link", "1");
    set_xattr(root_ / "block", "trusted.of a node", "1");
    for (const Path& directory : {root_, root_ / "directory"}) {
      set_xattr(directory, "user.of a directory", "1");
      set_xattr(directory, "system.posix_acl_access", acl_for_user_7(7));
      set_xattr(directory, "system.posix_acl_default", acl_for_user_7(6));
    }
  }

  const Path root_;
};

}  // namespace ferry::test
