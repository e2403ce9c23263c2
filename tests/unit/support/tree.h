#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"

namespace ferry::test {

/// Everything that two equal trees have in common, path by path: a second opinion that shares nothing with sync/.
class TreeSnapshot {
 public:
  explicit TreeSnapshot(const std::filesystem::path& root) {
    const Fd top = *open_at(AT_FDCWD, root.string(), O_RDONLY | O_DIRECTORY);
    add(top.get(), ".", "");
    walk(top.get(), "");
  }

  /// One line for each path that differs; "" if there is none.
  std::string difference(const TreeSnapshot& other) const {
    std::string text;
    for (const auto& [path, seen] : entries_) {
      const auto found = other.entries_.find(path);
      if (found == other.entries_.end())
        text += path + ": only in the first\n";
      else if (found->second != seen)
        text += path + ":\n  " + shorten(seen) + "\n  " + shorten(found->second) + "\n";
    }
    for (const auto& [path, seen] : other.entries_)
      if (!entries_.contains(path)) text += path + ": only in the second\n";
    return text;
  }

 private:
  static std::string shorten(const std::string& text) { return text.substr(0, 400); }

  void walk(int directory, const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(open_at(directory, ".", O_RDONLY)->release()),
                                                     ::closedir);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(stream.get())) names.emplace_back(entry->d_name);
    std::sort(names.begin(), names.end());
    for (const auto& name : names) {
      if (name == "." || name == "..") continue;
      if (!add(directory, name, path + "/" + name)) continue;
      const Fd child = *open_at(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      walk(child.get(), path + "/" + name);
    }
  }

  /// True for a directory.
  bool add(int directory, const std::string& name, const std::string& path) {
    struct stat info {};
    ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW);
    if (S_ISSOCK(info.st_mode)) return false;
    std::string text;
    const auto note = [&](const char* what, auto value) {
      text += std::string(what) + "=" + std::to_string(value) + " ";
    };
    note("mode", info.st_mode);
    note("uid", info.st_uid);
    note("gid", info.st_gid);
    note("mtime", info.st_mtim.tv_sec);
    note("ns", info.st_mtim.tv_nsec);
    note("rdev", info.st_rdev);
    if (!S_ISDIR(info.st_mode)) {
      note("links", info.st_nlink);
      text += "first=" + first_.emplace(std::pair{info.st_dev, info.st_ino}, path).first->second + " ";
    }
    if (S_ISREG(info.st_mode)) text += content(directory, name, static_cast<std::size_t>(info.st_size));
    if (S_ISLNK(info.st_mode)) {
      std::string target(4096, '\0');
      target.resize(static_cast<std::size_t>(::readlinkat(directory, name.c_str(), target.data(), target.size())));
      text += "target=" + target + " ";
    }
    entries_[path] = text + xattrs("/proc/self/fd/" + std::to_string(directory) + "/" + name);
    return S_ISDIR(info.st_mode);
  }

  static std::string content(int directory, const std::string& name, std::size_t expected) {
    const Fd file = *open_at(directory, name, O_RDONLY | O_NOFOLLOW);
    std::string text, buffer(std::min<std::size_t>(expected + 1, 1 << 20), '\0');
    std::size_t hash = 0;
    std::uint64_t size = 0;
    for (ssize_t n = 0; (n = ::read(file.get(), buffer.data(), buffer.size())) > 0;) {
      const std::string_view got(buffer.data(), static_cast<std::size_t>(n));
      if (size == 0) text = got.substr(0, 16);
      hash = std::hash<std::string>()(std::to_string(hash) + std::string(got));
      size += got.size();
    }
    return "size=" + std::to_string(size) + " hash=" + std::to_string(hash) + " begins=" + text + " ";
  }

  static bool is_on_xfs(const std::string& path) {
    struct statfs info {};
    return ::statfs(path.c_str(), &info) == 0 && info.f_type == XFS_SUPER_MAGIC;
  }

  static std::string xattrs(const std::string& path) {
    std::string list(65536, '\0');
    const ssize_t size = ::llistxattr(path.c_str(), list.data(), list.size());
    std::map<std::string, std::string> values;
    for (std::size_t at = 0; size > 0 && at < static_cast<std::size_t>(size);) {
      const std::string name = list.c_str() + at;
      at += name.size() + 1;
      if (name.starts_with("trusted.SGI_ACL_") && is_on_xfs(path))
        continue;  // how XFS keeps ACLs, which it lists as well
      std::string value(65536, '\0');
      value.resize(static_cast<std::size_t>(
          std::max<ssize_t>(0, ::lgetxattr(path.c_str(), name.c_str(), value.data(), value.size()))));
      values[name] = value;
    }
    std::string text;
    for (const auto& [name, value] : values) text += name + "=" + value + " ";
    return text;
  }

  std::map<std::string, std::string> entries_;
  std::map<std::pair<dev_t, ino_t>, std::string> first_;
};

/// "" if the trees are equal in all that a copy must keep.
inline std::string tree_difference(const std::filesystem::path& a, const std::filesystem::path& b) {
  return TreeSnapshot(a).difference(TreeSnapshot(b));
}

}  // namespace ferry::test
