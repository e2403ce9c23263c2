#include "volumes/mount_table.h"

#include <sys/mount.h>

#include <algorithm>
#include <sstream>

#include "base/files.h"
#include "base/log.h"

namespace ferry::volumes {

namespace {

bool is_octal(char c) { return c >= '0' && c <= '7'; }

std::string decode_octal(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
                        is_octal(text[i + 3]);
    if (!escape) {
      plain += text[i];
      continue;
    }
    plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.compare(0, directory.size(), directory) == 0 &&
         path[directory.size()] == '/';
}

}  // namespace

std::vector<MountPoint> parse_mount_table(const std::string& content) {
  std::vector<MountPoint> mounts;
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, target, options, word;
    if (!(words >> id >> parent >> device >> root >> target >> options)) continue;
    std::string fields;
    while (words >> word && word != "-") fields += (fields.empty() ? "" : " ") + word;
    mounts.push_back({decode_octal(root), decode_octal(target), fields});
  }
  return mounts;
}

Result<std::vector<MountPoint>> read_mount_table() {
  FERRY_ASSIGN(const std::string content, read_file("/proc/self/mountinfo"));
  return parse_mount_table(content);
}

Result<std::string> plugin_id(const std::string& target) {
  constexpr std::string_view suffix = "/propagated-mount";
  constexpr std::size_t id_length = 64;
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  for (const auto& mount : mounts) {
    if (mount.target != target || !mount.root.ends_with(suffix)) continue;
    const std::string directory = mount.root.substr(0, mount.root.size() - suffix.size());
    const std::string id = directory.substr(directory.rfind('/') + 1);
    if (id.size() == id_length && id.find_first_not_of("0123456789abcdef") == std::string::npos) return id;
  }
  return fail(Code::not_found, target + " is not the propagated mount of an installed plugin");
}

Result<> unpin_mounts(const std::string& directory, const std::vector<std::string>& keep) {
  FERRY_ASSIGN(auto mounts, read_mount_table());
  const bool shared = std::any_of(mounts.begin(), mounts.end(), [&](const MountPoint& mount) {
    return (mount.target == directory || is_below(mount.target, directory)) &&
           mount.fields.find("shared:") != std::string::npos;
  });
  if (shared) {
    spdlog::warn("{} is a shared mount; the mounts below it stay pinned by Ferry", directory);
    return {};
  }
  std::reverse(mounts.begin(), mounts.end());
  for (const auto& mount : mounts) {
    const bool wanted = std::any_of(keep.begin(), keep.end(), [&](const std::string& path) {
      return mount.target == path || is_below(mount.target, path) || is_below(path, mount.target);
    });
    if (!is_below(mount.target, directory) || wanted) continue;
    if (::umount2(mount.target.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
      spdlog::warn("cannot let go of the mount {}: errno {}", mount.target, errno);
  }
  return {};
}

}  // namespace ferry::volumes
