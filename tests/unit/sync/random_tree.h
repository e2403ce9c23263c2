#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/files.h"
#include "support/seed.h"

namespace ferry::test {

/// A tree that changes at random, in every way in which a program could change it.
class RandomTree {
 public:
  RandomTree(std::filesystem::path root, Random& random) : root_(std::move(root)), random_(random) {}

  void change(std::size_t times) {
    for (; times > 0; --times) change();
  }

  /// Exchanges two directories, and at the next call back: no file in them changes.
  void exchange_directories() { exchange(root_ / "d", root_ / "g"); }

 private:
  using Path = std::filesystem::path;

  void change() {
    const Path path = some_path();
    std::error_code ignored;  // whatever is impossible just does not happen
    switch (random_.below(19)) {
      case 0:
      case 1:
      case 2: create_file(path); break;
      case 3:
      case 4: std::filesystem::create_directory(path, ignored); break;
      case 5: std::filesystem::create_symlink(random_.bytes(1 + random_.below(3)) + "x", path, ignored); break;
      case 6: ::mkfifo(path.c_str(), 0600); break;
      case 7: std::filesystem::create_hard_link(some_path(), path, ignored); break;
      case 8: std::filesystem::rename(some_path(), path, ignored); break;
      case 9: exchange(path, some_path()); break;
      case 17: exchange(exchanged_.first, exchanged_.second); break;  // everything comes back as it was
      case 18: give_default_acl(path); break;
      case 10: std::filesystem::remove_all(path, ignored); break;
      case 11: overwrite(path); break;
      case 12: (void)::truncate(path.c_str(), static_cast<off_t>(size())); break;
      case 13: (void)::chmod(path.c_str(), static_cast<mode_t>(random_.below(010000))); break;
      case 14:
        (void)::lchown(path.c_str(), static_cast<uid_t>(random_.below(5)), static_cast<gid_t>(random_.below(5)));
        break;
      case 15: change_xattr(path); break;
      default: change_time(path);
    }
  }

  /// Of a small set, so that names are used again for something else.
  Path some_path() {
    Path path = root_;
    for (std::size_t depth = random_.below(3); depth > 0; --depth) path /= std::string(1, "dg"[random_.below(2)]);
    return path / std::string(1, "abcdg"[random_.below(5)]);
  }

  std::size_t size() {
    switch (random_.below(8)) {
      case 0: return 0;
      case 1: return 1 << 20;
      case 2: return random_.below(3 << 20);
      case 3: return random_.one_in(20) ? (17 << 20) + random_.below(20 << 20) : 4096;
      default: return random_.below(20'000);
    }
  }

  bool is_file(const Path& path) {
    struct stat info {};
    return ::lstat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode);
  }

  void create_file(const Path& path) {
    struct stat info {};
    if (::lstat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) return;
    std::ofstream file(path, std::ios::binary);
    const std::string pattern = random_.bytes(64);
    for (std::size_t left = size(); left > 0;) {
      const std::size_t count = std::min<std::size_t>(left, 64 + random_.below(100'000));
      if (random_.one_in(4)) file.seekp(static_cast<std::streamoff>(count), std::ios::cur);
      std::string block;
      while (block.size() < count) block += pattern;
      file.write(block.data(), static_cast<std::streamsize>(count));
      left -= count;
    }
  }

  void overwrite(const Path& path) {
    if (!is_file(path)) return;
    const auto file = open_at(AT_FDCWD, path.string(), O_WRONLY | O_NOFOLLOW);
    if (!file) return;
    const auto at = static_cast<off_t>(size());
    if (random_.one_in(2)) {
      (void)!::pwrite(file->get(), "changed", 7, at);
    } else {
      (void)::fallocate(file->get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at,
                        1 + static_cast<off_t>(random_.below(1 << 20)));
    }
  }

  void exchange(Path a, Path b) {
    (void)::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE);
    exchanged_ = {std::move(a), std::move(b)};
  }

  static void give_default_acl(const Path& path) {  // user::rwx group::r-x other::r-- (linux/posix_acl_xattr.h)
    constexpr std::string_view value(
        "\2\0\0\0\1\0\7\0\xff\xff\xff\xff\4\0\5\0\xff\xff\xff\xff\40\0\4\0\xff\xff\xff\xff", 28);
    (void)::lsetxattr(path.c_str(), "system.posix_acl_default", value.data(), value.size(), 0);
  }

  void change_xattr(const Path& path) {
    static const std::vector<std::string> names = {"trusted.x", "trusted.y", "system.posix_acl_default",
                                                   "system.posix_acl_access"};
    const std::string& name = random_.pick(names);
    const std::string value = random_.bytes(random_.below(50));
    if (random_.one_in(3) || name.starts_with("system.")) {
      (void)::lremovexattr(path.c_str(), name.c_str());
    } else {
      (void)::lsetxattr(path.c_str(), name.c_str(), value.data(), value.size(), 0);
    }
  }

  void change_time(const Path& path) {
    const std::timespec times[2] = {
        {0, UTIME_OMIT},
        {static_cast<time_t>(random_.below(1'700'000'000)), static_cast<long>(random_.below(1'000'000'000))}};
    (void)::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW);
  }

  const Path root_;
  Random& random_;
  std::pair<Path, Path> exchanged_;
};

}  // namespace ferry::test
