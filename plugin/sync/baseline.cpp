#include "sync/baseline.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "base/directory.h"
#include "base/log.h"
#include "base/time.h"
#include "sync/candidates.h"
#include "sync/directories.h"
#include "sync/inspect.h"
#include "sync/stat_all.h"
#include "sync/state_file.h"
#include "sync/tree_index.h"

namespace ferry::sync {

namespace {

constexpr std::uint8_t kind_begin = 16;  // the manifest's records have kinds of their own
constexpr std::uint8_t kind_file = 17;
constexpr std::uint64_t format = 2;

void write_file(std::string& out, std::uint32_t index, const Here& found, const Arrived& arrived) {
  Writer writer(out);
  writer.byte(kind_file);
  writer.number(index);
  writer.number(found.inode);
  writer.number(found.ctime_ns);
  writer.digest(arrived.digest);
  writer.byte(arrived.stable ? 1 : 0);
}

/// As the manifest has it; what is no regular file has no size there.
bool is_as_made(const Entry& entry, const struct stat& info) {
  return Timestamp{info.st_mtim.tv_sec, static_cast<std::uint32_t>(info.st_mtim.tv_nsec)} == entry.mtime() &&
         (entry.type != Type::regular || static_cast<std::uint64_t>(info.st_size) == entry.size);
}

/// Fills in what is here now, of what is not known.
Result<> look_up(int root, const std::vector<Entry>& entries, std::vector<Here>& files) {
  std::mutex mutex;
  Result<> outcome;  // protected by mutex
  const auto is_unknown = [&](std::uint32_t index) { return !files[index].known(); };
  stat_some(root, entries, is_unknown, [&](std::uint32_t index, const Result<struct stat>& info) {
    if (info) {
      files[index] = is_as_made(entries[index], *info) ? Here{info->st_ino, ctime_ns(*info)} : changed_meanwhile;
    } else if (info.error().code != Code::not_found) {
      const std::lock_guard guard(mutex);
      outcome = fail(info.error().code, Directories::shown(entries, index) + ": " + info.error().message);
    }
    return true;
  });
  return outcome;
}

/// Since when, at the latest, a write to one of the files shows in its ctime. All of them are written back and nobody
/// else can reach them yet: so it takes no more than that the kernel's clock has moved on since they were written.
Result<std::uint64_t> settle(int root, const std::vector<Here>& files) {
  struct statfs file_system {};
  if (::fstatfs(root, &file_system) != 0) return fail_errno("statfs");
  std::uint64_t newest = 0;
  for (const auto& file : files) newest = std::max(newest, file.ctime_ns);
  const auto now = [&] { return stable_before(realtime_ns(), file_system.f_type); };
  const auto deadline = after(std::chrono::milliseconds(100));  // unless a clock was set back
  while (now() != 0 && !is_stable(newest, now()) && SteadyClock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return now();
}

/// Whether the names of files that have several, in the root itself, are still names of those: elsewhere the
/// directory's ctime says so.
bool are_links_untouched(const Baseline& baseline, int root) {
  const auto& entries = baseline.manifest.entries;
  for (std::size_t i = 1; i < entries.size() && entries[i].parent == 0; ++i) {
    struct stat info {};
    if (entries[i].type == Type::hard_link &&
        (::fstatat(root, entries[i].name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
         info.st_ino != baseline.files[entries[i].link].inode))
      return false;
  }
  return true;
}

/// Its ctime tells nothing: a new volume's has changed by the rename that made it one.
bool is_root_untouched(const std::vector<Entry>& entries, int root) {
  const auto found = Inspector(true, 0).inspect(root, "");
  if (!found || !same_metadata(entries[0], found->entry)) return false;
  const auto names = names_in(root);
  std::vector<std::string> expected;
  for (std::size_t i = 1; i < entries.size() && entries[i].parent == 0; ++i) expected.push_back(entries[i].name.str());
  return names && *names == expected;
}

bool same_extra(const Extra& source, const Extra& copy) {
  const auto is_label = [](const Xattr& xattr) { return xattr.name == host_label; };
  const bool labelled_here = std::any_of(copy.xattrs.begin(), copy.xattrs.end(), is_label) &&
                             std::none_of(source.xattrs.begin(), source.xattrs.end(), is_label);
  if (!labelled_here) return source == copy;
  std::vector<Xattr> others(copy.xattrs.begin(), copy.xattrs.end());
  std::erase_if(others, is_label);
  Extra arrived = copy;
  arrived.xattrs = Xattrs(std::move(others));
  return source == arrived;
}

}  // namespace

Digest stamp_of(const std::vector<Entry>& entries) {
  Digest stamp{};
  std::string bytes;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    bytes.clear();
    append_entry(bytes, entries[i], {0, entries[i].inode, entries[i].ctime_ns});  // a file system may allocate late
    stamp = chain(stamp, i, bytes.size(), digest_of(bytes));
  }
  return stamp;
}

Result<> write_baseline(const std::filesystem::path& path, int root, const Manifest& manifest,
                        const std::function<Arrived(std::uint32_t entry)>& arrived) {
  std::vector<Here> files(manifest.entries.size());
  for (std::uint32_t index = 0; index < files.size(); ++index) files[index] = arrived(index).here;
  FERRY_TRY(look_up(root, manifest.entries, files));
  FERRY_ASSIGN(const std::uint64_t stable_before_ns, settle(root, files));
  FERRY_ASSIGN(StateWriter state, StateWriter::create(path));
  std::string body;
  Writer writer(body);
  writer.byte(kind_begin);
  writer.number(format);
  writer.number(stable_before_ns);
  FERRY_TRY(state.record(body));
  FERRY_TRY(state.manifest(manifest));
  for (std::uint32_t index = 0; index < files.size(); ++index) {
    if (manifest.entries[index].type == Type::hard_link) continue;
    body.clear();
    write_file(body, index, files[index], arrived(index));
    FERRY_TRY(state.record(body));
  }
  FERRY_TRY(state.finish());
  const auto is_here = [&](std::uint32_t index) { return files[index].inode != 0; };
  if (auto written = write_index(index_of(path), manifest.entries, is_here); !written)
    spdlog::warn("{}; no other import will find what is in the volume", written.error().message);
  return {};
}

Result<Baseline> read_baseline(const std::filesystem::path& path) {
  Baseline baseline;
  ManifestDecoder decoder;
  std::uint64_t stable_before_ns = 0;
  FERRY_TRY(read_state(path, [&](std::string_view body) -> Result<> {
    Reader reader(body);
    switch (reader.byte()) {
      case kind_begin:
        if (reader.number() != format) return fail(Code::unsupported, path.string() + " is of another version");
        stable_before_ns = reader.number();
        return {};
      case kind_file: {
        const std::uint32_t index = reader.number32();
        if (index < baseline.files.size() || index >= most_entries)
          return fail(Code::corrupt, path.string() + " is damaged");
        baseline.files.resize(index);
        auto& file = baseline.files.emplace_back();
        file.inode = reader.number();
        file.set_ctime(reader.number());
        file.digest = reader.digest();
        file.stable = reader.byte() != 0 ? 1 : 0;
        return reader.at_end() ? Result<>() : fail(Code::corrupt, path.string() + " is damaged");
      }
      default: return decoder.record(body);
    }
  }));
  FERRY_ASSIGN(baseline.manifest, decoder.finish());
  baseline.stable_before_ns = stable_before_ns;
  if (baseline.files.size() > baseline.manifest.entries.size())
    return fail(Code::corrupt, path.string() + " is damaged");
  baseline.files.resize(baseline.manifest.entries.size());
  return baseline;
}

bool is_untouched(const Baseline& baseline, int root) {
  const auto& entries = baseline.manifest.entries;
  if (!is_root_untouched(entries, root) || !are_links_untouched(baseline, root)) return false;
  std::atomic<bool> untouched = true;
  stat_all(root, entries, [&](std::uint32_t index, const Result<struct stat>& info) {
    if (index == 0) return true;
    const Baseline::File& file = baseline.files[index];
    const bool same = info && info->st_ino == file.inode && ctime_ns(*info) == file.ctime_ns &&
                      is_stable(file.ctime_ns, baseline.stable_before_ns);
    if (!same) untouched = false;
    return untouched.load();
  });
  return untouched;
}

bool same_metadata(const Entry& source, const Entry& copy) {
  return source.type == copy.type && source.mode == copy.mode && source.uid == copy.uid && source.gid == copy.gid &&
         source.mtime() == copy.mtime() && source.size == copy.size && same_extra(source.extra(), copy.extra());
}

bool is_unwritten(const Baseline& baseline, std::uint32_t index, const Entry& now) {
  const Baseline::File& file = baseline.files[index];
  return now.type == Type::regular && baseline.manifest.entries[index].type == Type::regular && file.inode != 0 &&
         file.inode == now.inode && file.ctime_ns == now.ctime_ns &&
         is_stable(file.ctime_ns, baseline.stable_before_ns) && now.size == baseline.manifest.entries[index].size;
}

std::string difference(const Baseline& baseline, const std::vector<Entry>& now) {
  const auto& then = baseline.manifest.entries;
  const auto is_here = [&](std::uint32_t index) {
    const std::uint32_t file = then[index].type == Type::hard_link ? then[index].link : index;
    return baseline.files[file].inode != 0;
  };
  std::vector<bool> found(then.size(), false);
  const auto matches = match_paths(now, then);
  for (std::uint32_t i = 0; i < now.size(); ++i) {
    const std::uint32_t match = matches[i];
    bool same = match != TreeIndex::none && now[i].type == then[match].type;
    if (same && now[i].type == Type::hard_link)
      same = matches[now[i].link] == then[match].link;
    else if (same)
      same =
          same_metadata(then[match], now[i]) && (now[i].type != Type::regular || is_unwritten(baseline, match, now[i]));
    if (!same) return Directories::path(now, i);
    found[match] = true;
  }
  for (std::uint32_t i = 0; i < then.size(); ++i)
    if (!found[i] && is_here(i)) return Directories::path(then, i);
  return {};
}

}  // namespace ferry::sync
