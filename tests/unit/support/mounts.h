#pragma once

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "support/temporary_directory.h"

namespace ferry::test {

/// Mounts that only this test program sees, and that end with this object. Needs root.
class PrivateMount {
 public:
  /// A file system in memory of `options`, e.g. "size=64k".
  static PrivateMount tmpfs(const std::filesystem::path& target, const std::string& options) {
    std::filesystem::create_directories(target);
    become_private();
    EXPECT_EQ(::mount("test", target.c_str(), "tmpfs", 0, options.c_str()), 0) << target;
    return PrivateMount(target);
  }

  /// A file system in memory without holes.
  static PrivateMount ramfs(const std::filesystem::path& target) {
    std::filesystem::create_directories(target);
    become_private();
    EXPECT_EQ(::mount("test", target.c_str(), "ramfs", 0, nullptr), 0) << target;
    return PrivateMount(target);
  }

  /// An empty overlayfs, of directories that are made in `layers`.
  static PrivateMount overlay(const std::filesystem::path& layers, const std::filesystem::path& target) {
    std::string options;
    for (const char* name : {"lowerdir", "upperdir", "workdir"}) {
      std::filesystem::create_directories(layers / name);
      options += std::string(options.empty() ? "" : ",") + name + "=" + (layers / name).string();
    }
    std::filesystem::create_directories(target);
    become_private();
    EXPECT_EQ(::mount("test", target.c_str(), "overlay", 0, options.c_str()), 0) << target;
    return PrivateMount(target);
  }

  /// An empty ext4 that nobody else syncs, in the new file `image`.
  static PrivateMount ext4(const std::filesystem::path& image, const std::filesystem::path& target) {
    return made_by("mkfs.ext4 -q", "16M", image, target);
  }

  /// What the command `make` makes of the new, sparse file `image` of `size`.
  static PrivateMount made_by(const std::string& make, const std::string& size, const std::filesystem::path& image,
                              const std::filesystem::path& target) {
    std::filesystem::create_directories(target);
    become_private();
    const std::string file = " '" + image.string() + "' ";
    const std::string command =
        "truncate -s " + size + file + "&& " + make + file + ">'" + image.string() + ".log' 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return loop(image, target);
  }

  /// The file system that is in a file.
  static PrivateMount loop(const std::filesystem::path& image, const std::filesystem::path& target) {
    const std::string command = "mount -o loop '" + image.string() + "' '" + target.string() + "'";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    return PrivateMount(target);
  }

  static PrivateMount bind(const std::filesystem::path& source, const std::filesystem::path& target) {
    std::filesystem::create_directories(target);
    become_private();
    EXPECT_EQ(::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr), 0) << target;
    return PrivateMount(target);
  }

  PrivateMount(PrivateMount&& other) noexcept : target_(std::move(other.target_)) { other.target_.clear(); }
  PrivateMount(const PrivateMount&) = delete;
  ~PrivateMount() {
    if (!target_.empty()) ::umount2(target_.c_str(), MNT_DETACH);
  }

  const std::filesystem::path& path() const { return target_; }

  static void become_private() {
    static const bool done = [] {
      return ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    }();
    ASSERT_TRUE(done) << "a private mount namespace needs root";
  }

 private:
  explicit PrivateMount(std::filesystem::path target) : target_(std::move(target)) {}
  std::filesystem::path target_;
};

/// An ext4 in memory: as fast as that, and with ctimes and holes as on a disk.
class MemoryDisk {
 public:
  /// The image is as sparse as what is on it.
  explicit MemoryDisk(const std::string& size)
      : disk_(PrivateMount::made_by("mkfs.ext4 -q", size, images_ / "disk", images_ / "mounted")) {}
  const std::filesystem::path& path() const { return disk_.path(); }

 private:
  TemporaryDirectory images_;
  PrivateMount memory_ = PrivateMount::tmpfs(images_.path(), "size=4g");
  PrivateMount disk_;
};

}  // namespace ferry::test
