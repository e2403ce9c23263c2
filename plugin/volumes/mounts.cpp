#include "volumes/mounts.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"
#include "volumes/mount_table.h"

namespace ferry::volumes {

namespace fs = std::filesystem;

namespace {

Result<> bind_mount(const fs::path& from, const fs::path& to) {
  if (::mount(from.c_str(), to.c_str(), nullptr, MS_BIND, nullptr) != 0)
    return fail_errno("bind " + from.string() + " at " + to.string());
  return {};
}

Result<> detach(const fs::path& path) {
  if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
    return fail_errno("unmount " + path.string());
  return {};
}

Result<> make_mountpoint(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("mkdir " + path.string());
  return {};
}

Result<bool> is_mount(const fs::path& path) {
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  return std::any_of(mounts.begin(), mounts.end(), [&](const MountPoint& mount) { return mount.target == path; });
}

/// What a remount of a bind must say again, or it is lost: mount_setattr(2) could add one flag, but not before
/// Linux 5.12. (How access times are kept stays as it is unless a remount says otherwise: mount(2).)
Result<unsigned long> restrictions(const fs::path& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) return fail_errno("statvfs " + path.string());
  unsigned long flags = 0;
  if (info.f_flag & ST_NOSUID) flags |= MS_NOSUID;
  if (info.f_flag & ST_NODEV) flags |= MS_NODEV;
  if (info.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
  return flags;
}

// A bind that is remounted read-only in place stays writable in the mount namespaces that it has been propagated to;
// so it is made read-only where nothing propagates, and only then bound into the propagated mount.
Result<> bind_read_only(const fs::path& data, const fs::path& scratch, const fs::path& target) {
  FERRY_TRY(make_mountpoint(scratch));
  const auto bind = [&]() -> Result<> {
    FERRY_TRY(bind_mount(data, scratch));
    FERRY_ASSIGN(const unsigned long kept, restrictions(scratch));
    if (::mount(nullptr, scratch.c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kept, nullptr) != 0)
      return fail_errno("make " + scratch.string() + " read-only");
    return bind_mount(scratch, target);
  };
  Result<> bound = bind();
  (void)detach(scratch);
  ::rmdir(scratch.c_str());
  return bound;
}

}  // namespace

Mounts::Mounts(fs::path propagated, fs::path scratch)
    : propagated_(std::move(propagated)), mountpoints_(propagated_ / ".mountpoints"), scratch_(std::move(scratch)) {}

Result<> Mounts::start() {
  FERRY_TRY(make_directories(scratch_));
  if (::mount("ferry", scratch_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=1m") != 0)
    return fail_errno("mount a tmpfs at " + scratch_.string());
  if (::mount(nullptr, scratch_.c_str(), nullptr, MS_PRIVATE, nullptr) != 0)
    return fail_errno("make " + scratch_.string() + " private");
  FERRY_ASSIGN(const auto mounts, read_mount_table());
  const std::lock_guard guard(mutex_);
  for (const auto& mount : mounts) {
    const fs::path path = mount.target;
    if (path.parent_path() == mountpoints_) bound_.insert(path.filename().string());
  }
  return {};
}

Result<> Mounts::check_alive() const {
  if (!plugin_id(propagated_.string()))
    return fail(Code::unavailable, "this Ferry plugin is being removed from the Engine and mounts nothing any more");
  return {};
}

Result<> Mounts::make_mountpoints() {
  const std::lock_guard one_at_a_time(making_);
  FERRY_ASSIGN(const bool there, is_mount(mountpoints_));
  if (there) return {};
  FERRY_TRY(make_mountpoint(mountpoints_));
  if (::mount("ferry", mountpoints_.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700,size=1m") != 0)
    return fail_errno("mount a tmpfs at " + mountpoints_.string());
  return {};
}

Result<> Mounts::bind(const std::string& name, const fs::path& data, Mode mode) {
  FERRY_TRY(check_alive());
  FERRY_TRY(make_mountpoints());
  FERRY_TRY(make_mountpoint(target(name)));
  return mode == Mode::ro ? bind_read_only(data, scratch_ / name, target(name)) : bind_mount(data, target(name));
}

Result<std::string> Mounts::mount(const std::string& name, const std::string& id, const fs::path& data, Mode mode) {
  const auto guard = names_.lock(name);
  FERRY_ASSIGN(const bool bound, is_mount(target(name)));  // the Engine may have unmounted it
  if (!bound)
    if (auto made = bind(name, data, mode); !made) {
      ::rmdir(target(name).c_str());
      return pass(made);
    }
  const std::lock_guard lock(mutex_);
  bound_.insert(name);
  ids_[name].insert(id);
  return target(name).string();
}

Result<> Mounts::unmount(const std::string& name, const std::string& id) {
  const auto guard = names_.lock(name);
  {
    const std::lock_guard lock(mutex_);
    if (const auto holders = ids_.find(name); holders != ids_.end()) {
      if (const auto holder = holders->second.find(id); holder != holders->second.end()) holders->second.erase(holder);
      if (!holders->second.empty()) return {};
      ids_.erase(holders);
    }
    if (!bound_.contains(name)) return {};
  }
  FERRY_TRY(detach(target(name)));
  ::rmdir(target(name).c_str());
  const std::lock_guard lock(mutex_);
  bound_.erase(name);
  return {};
}

Result<> Mounts::release(const std::string& name) {
  const auto guard = names_.lock(name);
  if (!mountpoint(name).empty()) FERRY_TRY(detach(target(name)));
  ::rmdir(target(name).c_str());  // also what a lazily detached bind of a former process has left
  const std::lock_guard lock(mutex_);
  bound_.erase(name);
  ids_.erase(name);
  return {};
}

std::string Mounts::mountpoint(const std::string& name) const {
  const std::lock_guard guard(mutex_);
  return bound_.contains(name) ? target(name).string() : std::string();
}

}  // namespace ferry::volumes
