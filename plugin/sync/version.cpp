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
  std::vector<Entry> ignored;
  ManifestSource source(version.root.get(), ignored, {}, {});
  ManifestDecoder decoder;
  std::string bytes;
  while (source.next(bytes)) {
    FERRY_TRY(decoder.feed(bytes));
    bytes.clear();
  }
  FERRY_ASSIGN(auto manifest, decoder.finish());
  version.entries = std::move(manifest.entries);
  version.left_out = source.left_out();
  return manifest.info.stable_before_ns;
}

/// What a walk would find.
std::vector<Entry> entries_here(const Baseline& baseline, const struct stat& root) {
  std::vector<Entry> entries = baseline.manifest.entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    entries[i].inode = baseline.files[i].inode;
    entries[i].ctime_ns = baseline.files[i].ctime_ns;
  }
  entries[0].inode = root.st_ino;  // its ctime may be a later one, see is_untouched()
  entries[0].ctime_ns = ctime_ns(root);
  return entries;
}

Result<std::int64_t> type_of(int root) {
  struct statfs file_system {};
  if (::fstatfs(root, &file_system) != 0) return fail_errno("statfs");
  return static_cast<std::int64_t>(file_system.f_type);
}

/// Returns since when writes show in ctimes.
Result<std::uint64_t> look_once(Version& version) {
  FERRY_ASSIGN(const std::int64_t type, type_of(version.root.get()));
  const std::uint64_t stable_before_ns = stable_before(realtime_ns(), type);
  if (::syncfs(version.root.get()) != 0) return fail_errno("sync the volume's file system");
  struct stat root {};  // before its names are read
  if (::fstat(version.root.get(), &root) != 0) return fail_errno("stat the volume's root");
  version.untouched = version.baseline && is_untouched(*version.baseline, version.root.get());
  if (!version.untouched) return walk(version);
  version.entries = entries_here(*version.baseline, root);
  return stable_before_ns;
}

/// If something was changed so shortly before the look that it may have been changed again since without its ctime
/// showing it, waits until the next change shows. False: nothing was, or a clock was set back.
Result<bool> settle(const Version& version, std::uint64_t stable_before_ns) {
  std::uint64_t newest = 0;
  for (const auto& entry : version.entries)
    if (entry.type != Type::hard_link && !is_stable(entry.ctime_ns, stable_before_ns))
      newest = std::max(newest, entry.ctime_ns);
  if (stable_before_ns == 0 || newest == 0 || newest > static_cast<std::uint64_t>(realtime_ns())) return false;
  FERRY_ASSIGN(const std::int64_t type, type_of(version.root.get()));
  const Deadline deadline = after(std::chrono::seconds(3));
  while (!is_stable(newest, stable_before(realtime_ns(), type)) && SteadyClock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return true;
}

}  // namespace

Result<Version> Version::look(const std::filesystem::path& data, const std::filesystem::path& baseline,
                              const std::string& host) {
  Version version;
  version.host = host;
  FERRY_ASSIGN(version.root, open_at(AT_FDCWD, data.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  auto known = read_baseline(baseline);
  if (known)
    version.baseline = std::move(*known);
  else if (known.error().code != Code::not_found)
    spdlog::warn("{}: everything is compared instead", known.error().message);
  for (int looks = 1;; ++looks) {
    FERRY_ASSIGN(const std::uint64_t stable_before_ns, look_once(version));
    FERRY_ASSIGN(const bool again, settle(version, stable_before_ns));
    if (!again || looks == most_looks) return version;
  }
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
  baseline.reset();
  left_out = {};
  for (auto& entry : entries) entry.extra.set({});
}

}  // namespace ferry::sync
