#include "volumes/mount_table.h"

#include <sys/mount.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/files.h"
#include "base/log.h"
#include "base/time.h"

namespace ferry::volumes {

namespace {

constexpr std::string_view suffix = "/propagated-mount";

/// Empty: `target` is no propagated mount.
std::string plugin_id(const std::vector<MountPoint>& mounts, const std::string& target) {
  constexpr std::size_t id_length = 64;
  for (const auto& mount : mounts) {
    if (mount.target != target || !mount.root.ends_with(suffix)) continue;
    const std::string directory = mount.root.substr(0, mount.root.size() - suffix.size());
    std::string id = directory.substr(directory.rfind('/') + 1);
    if (id.size() == id_length && id.find_first_not_of("0123456789abcdef") == std::string::npos) return id;
  }
  return {};
}

/// How often it was asked for within the last minute, with this time.
Result<int> count_restarts(const std::filesystem::path& file) {
  constexpr std::int64_t minute = 60'000'000'000;
  const auto noted = nlohmann::json::parse(read_file(file).value_or(""), nullptr, false);
  const bool is_known = noted.is_object() && noted.contains("since") && noted.contains("count") &&
                        noted["since"].is_number_integer() && noted["count"].is_number_integer();
  std::int64_t since = is_known ? noted["since"].get<std::int64_t>() : 0;
  int count = is_known ? noted["count"].get<int>() : 0;
  const std::int64_t now = realtime_ns();
  if (since > now || now - since > minute) {
    since = now;
    count = 0;
  }
  FERRY_TRY(write_file_atomically(file, nlohmann::json({{"since", since}, {"count", ++count}}).dump()));
  return count;
}

}  // namespace

Result<std::string> plugin_id(const std::string& target) {
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  auto id = plugin_id(mounts, target);
  if (id.empty()) return fail(Code::not_found, target + " is not the propagated mount of an installed plugin");
  return id;
}

bool is_seen_by_engine(const std::vector<MountPoint>& mounts, const std::string& target, const std::string& data_root) {
  const auto mount_at = [&](const std::string& path) {
    return std::find_if(mounts.begin(), mounts.end(), [&](const MountPoint& mount) { return mount.target == path; });
  };
  const std::string below = "/plugins/" + plugin_id(mounts, target) + std::string(suffix);
  const auto data = mount_at(data_root);
  const auto propagated = mount_at(target);
  if (data == mounts.end() || propagated == mounts.end()) return true;
  if (propagated->root != (data->root == "/" ? "" : data->root) + below) return true;
  return mount_at(data_root + below) != mounts.end();
}

Result<> check_seen_by_engine(const std::string& target, const std::string& data_root) {
  constexpr int most_restarts = 3;
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  if (is_seen_by_engine(mounts, target, data_root)) return {};
  const std::string why =
      "the Docker Engine does not see what this plugin mounts, since it has crashed and lost the plugin's "
      "propagated mount while it started";
  const auto count = count_restarts(std::filesystem::path(target) / ".restarts");
  if (count && *count <= most_restarts) return fail(Code::unavailable, why + "; Ferry ends so that it is started anew");
  spdlog::error("{}; containers cannot use its volumes until you disable and enable it", why);
  return {};
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
