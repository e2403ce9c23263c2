#include "sync/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/directory.h"
#include "base/files.h"
#include "base/log.h"
#include "sync/baseline.h"
#include "sync/metadata.h"

namespace ferry::sync {

tl::unexpected<Error> Staging::at(std::uint32_t index, const Error& error) const {
  return fail(error.code, Directories::shown(entries_, index) + ": " + error.message);
}

Result<> Staging::check_cancelled() const {
  if (cancelled_) return fail(Code::cancelled, "cancelled");
  return {};
}

/// prepare() makes directories and special files already. What a directory that is not empty has of them is not known.
Result<Target::Room> Staging::least_room() const {
  FERRY_ASSIGN(const auto names, names_in(root_));
  return names.empty() ? room_of(entries_) : Room{};
}

Result<std::vector<FileExtent>> Staging::prepare() {
  fresh_.assign(entries_.size(), false);
  wants_.clear();
  large_.clear();
  unverified_.clear();
  FERRY_ASSIGN(const auto names, names_in(root_));
  fresh_[0] = names.empty();
  FERRY_TRY(prepare_directories());
  for (std::uint32_t index = 1; index < entries_.size(); ++index) {
    if (entries_[index].type == Type::directory) continue;
    FERRY_TRY(check_cancelled());
    FERRY_ASSIGN(const int directory, directories_.open(entries_[index].parent));
    if (auto done = prepare_entry(directory, index); !done) return at(index, done.error());
  }
  return std::move(wants_);
}

/// All directories come first, because a name that has gone may be a second one of a file that stays: only then does
/// the number of a file's links tell whether it can be written to.
Result<> Staging::prepare_directories() {
  std::vector<bool> has_children(entries_.size(), false);
  std::uint32_t begin = 1;
  while (begin < entries_.size()) {
    const std::uint32_t parent = entries_[begin].parent;
    std::uint32_t end = begin;
    while (end < entries_.size() && entries_[end].parent == parent) ++end;
    has_children[parent] = true;
    FERRY_TRY(prepare_directory(parent, begin, end));
    begin = end;
  }
  for (std::uint32_t index = 0; index < entries_.size(); ++index)
    if (entries_[index].type == Type::directory && !has_children[index]) FERRY_TRY(remove_unwanted(index, 0, 0));
  return {};
}

Result<> Staging::prepare_directory(std::uint32_t parent, std::uint32_t begin, std::uint32_t end) {
  FERRY_TRY(remove_unwanted(parent, begin, end));
  for (std::uint32_t index = begin; index < end; ++index) {
    if (entries_[index].type != Type::directory) continue;
    FERRY_TRY(check_cancelled());
    FERRY_ASSIGN(const int directory, directories_.open(parent));
    if (auto made = make_directory(directory, index); !made) return at(index, made.error());
  }
  return {};
}

Result<> Staging::make_directory(int parent, std::uint32_t index) {
  const Entry& entry = entries_[index];
  struct stat info {};
  FERRY_ASSIGN(const Existing existing, examine(parent, entry, info));
  if (existing == Existing::usable) return {};
  if (::mkdirat(parent, entry.name.c_str(), 0700) != 0) return fail_errno("create directory");
  fresh_[index] = true;
  return {};
}

/// Removes names that are not among the sorted entries [begin, end), and every hard link, which finish() makes anew:
/// otherwise a file that became two at the sender would still be one here, and be written through both names.
Result<> Staging::remove_unwanted(std::uint32_t parent, std::uint32_t begin, std::uint32_t end) {
  FERRY_TRY(check_cancelled());
  if (is_fresh(parent)) return {};
  FERRY_ASSIGN(const int directory, directories_.open(parent));
  FERRY_ASSIGN(const auto names, names_in(directory));
  const auto first = entries_.begin() + begin;
  const auto last = entries_.begin() + end;
  for (const auto& name : names) {
    FERRY_TRY(check_cancelled());
    const auto found =
        std::lower_bound(first, last, name, [](const Entry& e, const std::string& n) { return e.name < n; });
    if (found == last || found->name != name || found->type == Type::hard_link)
      FERRY_TRY(remove_tree_at(directory, name, &cancelled_));
  }
  return {};
}

/// Looks at what staging has under the entry's name and removes it unless it can become the entry, of which `info` then
/// tells.
Result<Staging::Existing> Staging::examine(int directory, const Entry& entry, struct stat& info) const {
  if (is_fresh(entry.parent)) return Existing::none;
  if (::fstatat(directory, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return Existing::none;
    return fail_errno("stat");
  }
  const bool reusable = entry.type == Type::directory || (entry.type == Type::regular && info.st_nlink == 1);
  if (reusable && (info.st_mode & S_IFMT) == format_of(entry.type)) return Existing::usable;
  FERRY_TRY(remove_tree_at(directory, entry.name.str(), &cancelled_));
  return Existing::none;
}

Result<> Staging::prepare_entry(int directory, std::uint32_t index) {
  const Entry& entry = entries_[index];
  if (entry.type == Type::hard_link) return forget(index);
  struct stat info {};
  FERRY_ASSIGN(const Existing existing, examine(directory, entry, info));
  if (entry.type != Type::regular) return create_special(directory, entry);
  return existing == Existing::usable ? prepare_used_file(directory, index, info) : prepare_new_file(index);
}

Result<> Staging::prepare_new_file(std::uint32_t index) {
  FERRY_TRY(forget(index));
  ++room_.new_files;
  room_.bytes += static_cast<std::int64_t>(entries_[index].data());
  return want_all(index);
}

Result<> Staging::prepare_used_file(int directory, std::uint32_t index, const struct stat& info) {
  const Entry& entry = entries_[index];
  const std::string path = Directories::path(entries_, index);
  const auto known = journal_.find(path);
  const bool same = known && known->same_version(entry) && static_cast<std::uint64_t>(info.st_size) == entry.size;
  if (same && known->complete && known->stable) {
    FERRY_ASSIGN(const Fd file, open_at(directory, entry.name.str(), O_RDWR | O_NOFOLLOW));
    return apply_metadata(file.get(), entry);
  }
  FERRY_ASSIGN(const bool confirmed, confirm_claim(journal_, path, entry, directory, entry.name.str()));
  if (confirmed) return {};
  constexpr std::int64_t block = 512;  // unit of st_blocks, stat(2)
  const auto size = static_cast<std::uint64_t>(info.st_size);
  const bool compared =
      is_worth_comparing(entry, size) && (cache_ == Cache::reliable || drop_cached(directory, entry.name.str(), size));
  if (compared) unverified_.insert(index);
  room_.bytes += static_cast<std::int64_t>(compared ? entry.size : entry.data()) -
                 static_cast<std::int64_t>(info.st_blocks) * block;
  if (same && !known->complete && known->stable) return want_missing(directory, index, *known);
  if (!same) FERRY_TRY(forget(index));
  return want_all(index);
}

Result<> Staging::want_all(std::uint32_t index) {
  const std::uint32_t count = extent_count(entries_[index].size);
  for (std::uint32_t extent = 0; extent < count; ++extent) wants_.push_back({index, extent});
  if (count > 1) large_.push_back(index);
  return {};
}

Result<> Staging::make_large_files() {
  for (const std::uint32_t index : large_)
    if (auto made = make_large_file(index); !made) return at(index, made.error());
  return {};
}

Result<> Staging::make_large_file(std::uint32_t index) {
  const Entry& entry = entries_[index];
  FERRY_ASSIGN(const int directory, directories_.open(entry.parent));
  FERRY_ASSIGN(const Fd file, open_at(directory, entry.name.str(), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const bool is_new = !unverified_.contains(index);
  if ((is_new && ::ftruncate(file.get(), 0) != 0) || ::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0)
    return fail_errno("set the size");
  return journal_.record(Directories::path(entries_, index), version_of(entry, stable_before_ns_));
}

Result<> Staging::want_missing(int directory, std::uint32_t index, const FileProgress& known) {
  FERRY_ASSIGN(const Fd file, open_at(directory, entries_[index].name.str(), O_RDWR | O_NOFOLLOW));
  const auto unverified = unverified_.contains(index) ? Unverified::compare : Unverified::drop;
  return for_missing_extents(file.get(), entries_[index].size, known, unverified, [&](std::uint32_t number) {
    wants_.push_back({index, number});
  });
}

/// What is about to happen under the name must not be taken for what the journal knows of it.
Result<> Staging::forget(std::uint32_t index) {
  if (journal_.empty()) return {};
  FERRY_ASSIGN(const bool known, journal_.forget(Directories::path(entries_, index)));
  forgot_ = forgot_ || known;
  return {};
}

Result<> Staging::conclude(const std::vector<Digest>& digests, const std::set<std::uint32_t>& torn) {
  if (baseline_.empty()) return {};
  const auto arrived = [&](std::uint32_t index) {
    return Arrived{digests[index], is_stable(entries_[index].ctime_ns, stable_before_ns_) && !torn.contains(index)};
  };
  if (auto written = write_baseline(baseline_, root_, manifest_, arrived); !written)
    spdlog::warn("{}; an update will have to compare everything", written.error().message);
  return {};
}

Digest Staging::known_digest(std::uint32_t entry) const {
  return journal_.find(Directories::path(entries_, entry)).value_or(FileProgress{}).digest;
}

Result<> Staging::link(std::uint32_t index) {
  const Entry& entry = entries_[index];
  const Entry& target = entries_[entry.link];
  FERRY_ASSIGN(const int found, directories_.open(target.parent));
  const Fd from(::fcntl(found, F_DUPFD_CLOEXEC, 0));  // the next open() may close it
  if (!from) return fail_errno("dup");
  FERRY_ASSIGN(const int to, directories_.open(entry.parent));
  if (::linkat(from.get(), target.name.c_str(), to, entry.name.c_str(), 0) != 0)
    return fail_errno("link to " + Directories::shown(entries_, entry.link));
  return {};
}

Result<> Staging::finish(const std::set<std::uint32_t>& lost) {
  for (std::uint32_t index = 1; index < entries_.size(); ++index) {
    if (entries_[index].type != Type::hard_link || lost.contains(entries_[index].link)) continue;
    FERRY_TRY(check_cancelled());
    if (auto linked = link(index); !linked) return at(index, linked.error());
  }
  for (auto index = static_cast<std::uint32_t>(entries_.size()); index-- > 0;) {
    if (entries_[index].type != Type::directory) continue;
    FERRY_TRY(check_cancelled());
    FERRY_ASSIGN(const int directory, directories_.open(index, Directories::Keep::all_above));
    auto applied = apply_metadata(directory, entries_[index]);
    if (!applied) return at(index, applied.error());
  }
  return {};
}

}  // namespace ferry::sync
