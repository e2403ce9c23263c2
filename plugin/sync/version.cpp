#include "sync/version.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "base/time.h"
#include "sync/directories.h"
#include "sync/stat_all.h"
#include "sync/tree_index.h"
#include "sync/walk.h"

namespace ferry::sync {

namespace {

constexpr std::uint32_t none = TreeIndex::none;
constexpr int most_looks = 3;

/// What a walk finds. Returns since when writes show in ctimes, see ManifestInfo.
Result<std::uint64_t> walk(Version& version) {
  version.clear();
  ManifestSource source(version.root.get(), version, {}, {}, ManifestSource::Keep::all);
  for (std::string bytes; source.next(bytes);) bytes.clear();  // nobody else wants it
  FERRY_TRY(source.outcome());
  version.left_out = source.left_out();
  return source.stable_before_ns();
}

Result<std::int64_t> type_of(int root) {
  struct statfs file_system {};
  if (::fstatfs(root, &file_system) != 0) return fail_errno("statfs");
  return static_cast<std::int64_t>(file_system.f_type);
}

/// What one look finds, and since when writes show in ctimes.
struct Look {
  struct stat root {};
  std::uint64_t stable_before_ns = 0;
};

Result<Look> look_once(Version& version, const std::optional<Baseline>& baseline) {
  Look look;
  FERRY_ASSIGN(const std::int64_t type, type_of(version.root.get()));
  look.stable_before_ns = stable_before(realtime_ns(), type);
  if (::syncfs(version.root.get()) != 0) return fail_errno("sync the volume's file system");
  // Before its names are read.
  if (::fstat(version.root.get(), &look.root) != 0) return fail_errno("stat the volume's root");
  version.untouched = baseline && is_untouched(*baseline, version.root.get());
  if (version.untouched) return look;
  FERRY_ASSIGN(look.stable_before_ns, walk(version));
  return look;
}

/// The latest ctime of a write that another one may have followed without showing; 0: none. What is untouched has only
/// its root's, of which the baseline tells nothing.
std::uint64_t newest_unsettled(const Version& version, const Look& look) {
  if (version.untouched) return is_stable(ctime_ns(look.root), look.stable_before_ns) ? 0 : ctime_ns(look.root);
  std::uint64_t newest = 0;
  for (const auto& entry : version.entries)
    if (entry.type != Type::hard_link && !is_stable(entry.ctime_ns, look.stable_before_ns))
      newest = std::max(newest, entry.ctime_ns);
  return newest;
}

/// If something was changed so shortly before the look that it may have been changed again since without its ctime
/// showing it, waits until the next change shows. False: nothing was, or a clock was set back.
Result<bool> settle(const Version& version, const Look& look) {
  const std::uint64_t newest = newest_unsettled(version, look);
  if (look.stable_before_ns == 0 || newest == 0 || newest > static_cast<std::uint64_t>(realtime_ns())) return false;
  FERRY_ASSIGN(const std::int64_t type, type_of(version.root.get()));
  const Deadline deadline = after(std::chrono::seconds(3));
  while (!is_stable(newest, stable_before(realtime_ns(), type)) && SteadyClock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return true;
}

/// What a walk would find of a tree that is untouched. There may be millions of entries: so they become the version's,
/// and of a second list there is no more than what differs.
void adopt(Version& version, Baseline&& baseline, const struct stat& root) {
  static_cast<Tree&>(version) = std::move(baseline.manifest);
  version.copied = std::move(baseline.files);
  for (std::size_t i = 0; i < version.entries.size(); ++i) {
    Entry& entry = version.entries[i];
    Baseline::File& file = version.copied[i];
    std::swap(entry.inode, file.inode);
    const std::uint64_t here = file.ctime_ns;
    file.set_ctime(entry.ctime_ns);
    entry.ctime_ns = here;
  }
  version.entries[0].inode = root.st_ino;  // its ctime may be a later one, see is_untouched()
  version.entries[0].ctime_ns = ctime_ns(root);
}

/// Finds what of a tree that was touched is a copy, and of what.
void compare(Version& version, const Baseline& baseline) {
  version.difference = difference(baseline, version.entries);
  const auto& then = baseline.manifest.entries;
  const auto matches = match_paths(version.entries, then);
  version.copied.resize(version.entries.size());
  for (std::size_t i = 0; i < version.entries.size(); ++i) {
    if (matches[i] == none || version.entries[i].type == Type::hard_link) continue;
    const Entry& name = then[matches[i]];
    const std::uint32_t index = name.type == Type::hard_link ? name.link : matches[i];
    version.copied[i].inode = then[index].inode;
    if (!is_unwritten(baseline, index, version.entries[i])) continue;
    version.copied[i] = baseline.files[index];
    version.copied[i].inode = then[index].inode;
    version.copied[i].set_ctime(then[index].ctime_ns);
  }
}

}  // namespace

Result<Version> Version::look(const std::filesystem::path& data, const std::filesystem::path& baseline,
                              const std::string& host) {
  Version version;
  version.host = host;
  FERRY_ASSIGN(version.root, open_at(AT_FDCWD, data.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  std::optional<Baseline> known;
  if (auto read = read_baseline(baseline))
    known = std::move(*read);
  else if (read.error().code != Code::not_found)
    spdlog::warn("{}: everything is compared instead", read.error().message);
  Look look;
  for (int looks = 1;; ++looks) {
    FERRY_ASSIGN(look, look_once(version, known));
    FERRY_ASSIGN(const bool again, settle(version, look));
    if (!again || looks == most_looks) break;
  }
  if (!known) return version;
  version.copy = known->manifest.info;
  if (version.untouched)
    adopt(version, std::move(*known), look.root);
  else
    compare(version, *known);
  return version;
}

/// A directory's ctime tells of its names, also of those that hard links are and of what a walk leaves out.
Result<std::string> Version::written() const {
  std::mutex mutex;
  Result<> outcome;                       // protected by mutex
  std::uint32_t first[2] = {none, none};  // protected by mutex: what is no directory, which says more, and what is
  stat_all(root.get(), entries, [&](std::uint32_t index, const Result<struct stat>& info) {
    const Entry& entry = entries[index];
    if (info && info->st_ino == entry.inode && ctime_ns(*info) == entry.ctime_ns) return true;
    const std::lock_guard guard(mutex);
    if (!info && info.error().code != Code::not_found)
      outcome = fail(info.error().code, Directories::shown(entries, index) + ": " + info.error().message);
    auto& found = first[entry.type == Type::directory ? 1 : 0];
    found = std::min(found, index);
    return true;
  });
  if (!outcome) return pass(outcome);
  const std::uint32_t index = first[0] != none ? first[0] : first[1];
  return index == none ? std::string() : Directories::shown(entries, index);
}

void Version::shrink() {
  copied = {};
  left_out = {};
  for (auto& entry : entries) entry.set_extra({});
}

}  // namespace ferry::sync
