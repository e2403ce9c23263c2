#include "sync/changes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "sync/blocks.h"
#include "sync/directories.h"
#include "sync/obstacles.h"
#include "sync/tree_index.h"

namespace ferry::sync {

namespace {

constexpr std::uint32_t none = TreeIndex::none;

}  // namespace

Changes::Changes(const Version& version, const Manifest& manifest, int content, std::filesystem::path plan,
                 Replace replace, Journal& journal, Cache cache, const std::atomic<bool>& cancelled)
    : version_(version),
      manifest_(manifest),
      entries_(manifest.entries),
      old_entries_(version.entries),
      content_(content),
      plan_path_(std::move(plan)),
      replace_(replace),
      journal_(journal),
      cache_(cache),
      cancelled_(cancelled),
      old_{version.root.get(), version.entries, old_of_, {}},
      old_directories_(version.root.get(), version.entries) {}

tl::unexpected<Error> Changes::at(std::uint32_t index, const Error& error) const {
  return fail(error.code, Directories::shown(entries_, index) + ": " + error.message);
}

Result<std::vector<FileExtent>> Changes::prepare() {
  FERRY_TRY(check_unchanged());
  decide_all();
  wants_.clear();
  large_.clear();
  unverified_.clear();
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    const Step step = plan_[index].step;
    if (step != Step::replace && step != Step::patch) continue;
    if (auto wanted = want(index); !wanted) return at(index, wanted.error());
  }
  return std::move(wants_);
}

/// Whatever was written here since the last copy, either way, would be lost.
Result<> Changes::check_unchanged() const {
  if (replace_ == Replace::allowed || version_.untouched) return {};
  const std::string& first = version_.difference;
  if (version_.copy && first.empty()) return {};
  const auto& info = manifest_.info;
  const bool from_here = !info.origin.empty() && info.origin == version_.host && info.origin_stamp != Digest{};
  if (from_here && info.origin_stamp == stamp_of(old_entries_)) return {};
  const std::string help = "; pass -o replace=true to lose those changes, or remove the volume";
  if (!version_.copy)
    return fail(
        Code::already_exists,
        "the volume may have been changed here: Ferry's list of what it was when it was last copied is missing" + help);
  return fail(Code::already_exists, "the volume has been changed here since it was last copied (first difference: " +
                                        (first == "." ? "the volume's root" : quote(first)) + ")" + help);
}

void Changes::decide_all() {
  old_of_ = match_paths(entries_, old_entries_);
  taken_.assign(old_entries_.size(), false);
  plan_.assign(entries_.size(), {});
  old_.patched.assign(entries_.size(), false);
  room_ = {};
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    plan_[index].step = decide(index);
    if (plan_[index].step == Step::make && entries_[index].type != Type::hard_link) ++room_.new_files;
  }
}

Changes::Step Changes::decide(std::uint32_t index) {
  const Entry& entry = entries_[index];
  const std::uint32_t old = old_of_[index];
  if (entry.type == Type::regular) return decide_file(index);
  if (old == none) return Step::make;
  if (entry.type == Type::hard_link) return same_link(index) ? Step::keep : Step::make;
  if (entry.type != old_entries_[old].type) return Step::make;
  if (same_metadata(entry, old_entries_[old])) return Step::keep;
  return entry.type == Type::directory ? Step::metadata : Step::make;
}

/// A file of several names is one old entry's.
std::uint32_t Changes::inode_of(std::uint32_t old_entry) const {
  const Entry& old = old_entries_[old_entry];
  return old.type == Type::hard_link ? old.link : old_entry;
}

/// Whether it is a name already of what it links to, and that stays the inode that it is.
bool Changes::same_link(std::uint32_t index) const {
  const std::uint32_t target = entries_[index].link;
  const std::uint32_t old_target = old_of_[target];
  const Step step = plan_[target].step;
  const bool inode_stays = step == Step::keep || step == Step::metadata || step == Step::patch;
  return inode_stays && old_target != none && inode_of(old_of_[index]) == inode_of(old_target);
}

Changes::Step Changes::decide_file(std::uint32_t index) {
  const Entry& entry = entries_[index];
  if (old_of_[index] == none) return Step::replace;
  const std::uint32_t old = inode_of(old_of_[index]);
  // Two files that were one: only the first can stay the inode.
  if (old_entries_[old].type != Type::regular || taken_[old]) return Step::replace;
  if (equal_content(index, old)) {
    taken_[old] = true;
    return same_metadata(entry, old_entries_[old]) ? Step::keep : Step::metadata;
  }
  const bool comparable = extent_size(entry.size) <= largest_held_extent;
  if (entry.size == 0 || old_entries_[old].size == 0 || !comparable || is_sealed(old)) return Step::replace;
  taken_[old] = true;
  old_.patched[index] = true;
  return Step::patch;
}

/// Nobody can write to it any more; see obstacles.h.
bool Changes::is_sealed(std::uint32_t old) {
  const auto directory = old_directories_.open(old_entries_[old].parent);
  return directory && sync::is_sealed(*directory, old_entries_[old].name.str());
}

/// The digest of the old file's content if that is known to be the new one's, without reading either.
std::optional<Digest> Changes::equal_content(std::uint32_t index, std::uint32_t old) const {
  const Entry& entry = entries_[index];
  const Entry& here = old_entries_[old];
  if (entry.size != here.size) return std::nullopt;
  if (entry.size == 0) return Digest{};
  const Origin* origin = origin_of(index);
  const bool from_here = origin != nullptr && manifest_.info.origin == version_.host && origin->inode == here.inode &&
                         origin->ctime_ns == here.ctime_ns;
  if (from_here) return origin->digest;
  if (!version_.is_unwritten(old)) return std::nullopt;
  const Baseline::File& copied = version_.copied[old];
  const bool same_version = copied.stable != 0 && manifest_.info.host == version_.copy->host &&
                            copied.inode == entry.inode && copied.ctime_ns == entry.ctime_ns;
  if (!same_version && (origin == nullptr || origin->digest != copied.digest)) return std::nullopt;
  return copied.digest;
}

const Origin* Changes::origin_of(std::uint32_t index) const {
  const auto& all = manifest_.origins;
  const auto found = std::lower_bound(all.begin(), all.end(), index,
                                      [](const Origin& origin, std::uint32_t entry) { return origin.entry < entry; });
  return found == all.end() || found->entry != index ? nullptr : &*found;
}

void Changes::suggest(const std::vector<FileExtent>& wants, Candidates& candidates) const {
  const bool has_inodes = version_.copy && version_.copy->host == manifest_.info.host;
  const auto by = has_inodes ? Search::By::name_and_inode : Search::By::name;
  Search search(wants, entries_, &old_, page_size, by, candidates);
  if (search.empty()) return;
  const std::size_t root = candidates.add_root(Fd(::fcntl(version_.root.get(), F_DUPFD_CLOEXEC, 0)));
  for (std::uint32_t old = 1; old < old_entries_.size(); ++old) {
    const Entry& file = old_entries_[old];
    if (file.type != Type::regular || !search.is_of_interest(file)) continue;
    const std::string path = Directories::path(old_entries_, old);
    search.offer(Search::likeness(file), root, path);
    if (has_inodes && version_.copied[old].inode != 0)
      search.offer(Search::likeness_of_inode(file, version_.copied[old].inode), root, path);
  }
}

/// What the file that is to be patched is now; none if it is to be received as a whole.
std::optional<OldFile> Changes::old_file(std::uint32_t index) const {
  if (!old_.patched[index]) return std::nullopt;
  const Entry& old = old_entries_[inode_of(old_of_[index])];
  return OldFile{old.inode, old.ctime_ns};
}

Result<> Changes::want(std::uint32_t index) {
  const Entry& entry = entries_[index];
  const std::string path = Directories::path(entries_, index);
  if (!old_file(index)) {
    FERRY_ASSIGN(const bool confirmed,
                 confirm_claim(journal_, path, entry, content_, Places::flat_name(entries_, index)));
    if (confirmed) return {};
  }
  const auto known = journal_.find(path);
  if (is_worth_comparing_received(index)) unverified_.insert(index);
  if (known && known->same_version(entry) && known->stable && known->old == old_file(index)) {
    if (is_received(index, *known)) return {};
    if (extent_count(entry.size) > 1 && !known->extents.empty() && received_size(index) == entry.size)
      return want_missing(index, *known);
  }
  FERRY_ASSIGN(const bool forgotten, journal_.forget(path));
  forgot_ = forgot_ || forgotten;
  for (std::uint32_t extent = 0; extent < extent_count(entry.size); ++extent) wants_.push_back({index, extent});
  if (extent_count(entry.size) > 1 || old_file(index)) large_.push_back(index);
  ++room_.new_files;
  if (!old_file(index)) {
    room_.bytes += static_cast<std::int64_t>(unverified_.contains(index) ? entry.size : entry.data());
  } else if (const std::uint64_t had = old_entries_[inode_of(old_of_[index])].data(); entry.data() > had) {
    room_.bytes += 2 * static_cast<std::int64_t>(entry.data() - had);  // here, and where it is applied
  }
  return {};
}

/// What of a patch came for another version of the file may be as much as the file.
bool Changes::is_worth_comparing_received(std::uint32_t index) const {
  const auto size = received_size(index);
  if (!size || (!old_file(index) && !is_worth_comparing(entries_[index], *size))) return false;
  return cache_ == Cache::reliable || drop_cached(content_, Places::flat_name(entries_, index), *size);
}

/// Of the file with what was received of it; none if there is none.
std::optional<std::uint64_t> Changes::received_size(std::uint32_t index) const {
  struct stat info {};
  const std::string name = Places::flat_name(entries_, index);
  if (::fstatat(content_, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  return static_cast<std::uint64_t>(info.st_size);
}

/// Whether all of it is there.
bool Changes::is_received(std::uint32_t index, const FileProgress& known) const {
  const auto size = received_size(index);
  if (!size) return false;
  if (known.old) return known.extents.size() == extent_count(entries_[index].size);
  return known.complete && size == entries_[index].size;
}

Result<> Changes::want_missing(std::uint32_t index, const FileProgress& known) {
  const Entry& entry = entries_[index];
  FERRY_ASSIGN(const Fd file, open_at(content_, Places::flat_name(entries_, index), O_RDWR | O_NOFOLLOW));
  const auto unverified = unverified_.contains(index) ? Unverified::compare : Unverified::drop;
  return for_missing_extents(file.get(), entry.size, known, unverified, [&](std::uint32_t number) {
    wants_.push_back({index, number});
  });
}

Result<> Changes::make_large_files() {
  for (const std::uint32_t index : large_)
    if (auto made = make_large_file(index); !made) return at(index, made.error());
  return {};
}

Result<> Changes::make_large_file(std::uint32_t index) {
  const Entry& entry = entries_[index];
  FERRY_ASSIGN(const Fd file,
               open_at(content_, Places::flat_name(entries_, index), O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const bool is_new = !unverified_.contains(index);
  if ((is_new && ::ftruncate(file.get(), 0) != 0) || ::ftruncate(file.get(), static_cast<off_t>(entry.size)) != 0)
    return fail_errno("set the size");
  FileProgress version = version_of(entry, manifest_.info.stable_before_ns);
  version.old = old_file(index);
  return journal_.record(Directories::path(entries_, index), version);
}

Result<> Changes::finish(const std::set<std::uint32_t>& lost) {
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    const bool link = entries_[index].type == Type::hard_link;
    if (lost.contains(link ? entries_[index].link : index)) plan_[index].step = Step::absent;
  }
  FERRY_TRY(take_away());
  changes_nothing_ = is_all_as_copied();
  return {};
}

/// Finds the names that have to go, because the manifest has none such or something comes in their place that cannot
/// replace them by itself, and the directories that change thereby. What is below one of them goes with it.
Result<> Changes::take_away() {
  removals_.clear();
  std::vector<std::uint32_t> new_of(old_entries_.size(), none);
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    const std::uint32_t old = old_of_[index];
    const Step step = plan_[index].step;
    const bool replaces = step == Step::replace && (old == none || old_entries_[old].type != Type::directory);
    if (step == Step::make || step == Step::replace || step == Step::absent) touch(entries_[index].parent);
    if (old != none && (step == Step::keep || step == Step::metadata || step == Step::patch || replaces))
      new_of[old] = index;
  }
  relinked_.assign(old_entries_.size(), false);
  gone_.assign(old_entries_.size(), false);
  for (std::uint32_t old = 1; old < old_entries_.size(); ++old) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    const std::uint32_t parent = old_entries_[old].parent;
    gone_[old] = gone_[parent] || new_of[old] == none;
    if (gone_[old] || plan_[new_of[old]].step == Step::replace) relinked_[inode_of(old)] = true;
    if (!gone_[old] || gone_[parent]) continue;
    removals_.push_back({new_of[parent], old_entries_[old].name.str()});
    touch(new_of[parent]);
  }
  for (const auto& [parent, name] : version_.left_out) {
    if (gone_[parent]) continue;
    removals_.push_back({new_of[parent], name});
    touch(new_of[parent]);
  }
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    const bool links = entries_[index].type == Type::hard_link && plan_[index].step == Step::make;
    if (links && old_of_[entries_[index].link] != none) relinked_[inode_of(old_of_[entries_[index].link])] = true;
  }
  splits_inodes_ = false;
  for (std::uint32_t old = 1; old < old_entries_.size(); ++old)
    if (old_entries_[old].type == Type::hard_link && gone_[old] != gone_[old_entries_[old].link]) splits_inodes_ = true;
  return {};
}

/// Its times change with its names.
void Changes::touch(std::uint32_t directory) {
  if (plan_[directory].step == Step::keep) plan_[directory].step = Step::metadata;
}

Digest Changes::known_digest(std::uint32_t entry) const {
  const Step step = plan_[entry].step;
  if (step == Step::keep || step == Step::metadata)
    return equal_content(entry, inode_of(old_of_[entry])).value_or(Digest{});
  return journal_.find(Directories::path(entries_, entry)).value_or(FileProgress{}).digest;
}

Result<> Changes::conclude(const std::vector<Digest>& digests, const std::set<std::uint32_t>& torn) {
  if (changes_nothing_) {  // an earlier attempt may have found something
    FERRY_TRY(remove_tree(plan_path_));
    return sync_directory(plan_path_.parent_path());
  }
  FERRY_TRY(check_changeable());
  const auto patches = take_patches(torn);
  overwrites_ = !removals_.empty() ||
                std::any_of(plan_.begin(), plan_.end(), [](const auto& entry) { return entry.step != Step::keep; });
  const auto entry = [&](std::uint32_t index) { return planned(index, digests[index]); };
  return write_plan(plan_path_, {manifest_, entry, removals_, patches, splits_inodes_});
}

Result<> Changes::check_changeable() const {
  FERRY_TRY(check_no_mounts(version_.root.get()));
  Directories directories(version_.root.get(), old_entries_);
  const auto check = [&](std::uint32_t parent, const std::string& name, Alteration how) -> Result<> {
    FERRY_ASSIGN(const int directory, directories.open(parent));
    const std::string above = parent == 0 ? "" : Directories::path(old_entries_, parent) + "/";
    return check_alterable(version_.root.get(), directory, name, name.empty() ? "." : above + name, how);
  };
  const auto check_old = [&](std::uint32_t old) {
    return check(old_entries_[old].parent, old_entries_[old].name.str(), Alteration::other);
  };
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    const std::uint32_t old = old_of_[index];
    const Step step = plan_[index].step;
    if (old == none || step == Step::keep || step == Step::absent) continue;
    FERRY_TRY(check(old_entries_[old].parent, old_entries_[old].name.str(),
                    step == Step::patch ? Alteration::content : Alteration::other));
  }
  for (const auto& removal : removals_) FERRY_TRY(check(old_of_[removal.directory], removal.name, Alteration::other));
  return check_linkable(check_old);
}

/// Where files get or lose names, what keeps its inode has to take another name, and what is taken away has to be
/// deleted with all that is below it, because its names count or show in ctimes.
Result<> Changes::check_linkable(const std::function<Result<>(std::uint32_t old)>& check) const {
  bool links = false;
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    if (entries_[index].type != Type::hard_link || plan_[index].step != Step::make) continue;
    links = true;
    const std::uint32_t target = entries_[index].link;
    if (old_of_[target] != none && plan_[target].step == Step::keep) FERRY_TRY(check(old_of_[target]));
  }
  if (!links && !splits_inodes_) return {};
  for (std::uint32_t old = 1; old < old_entries_.size(); ++old)
    if (gone_[old]) FERRY_TRY(check(old));
  return {};
}

/// Not even the baseline would become another one. A change that did not show in a ctime of the earlier walk may not
/// have happened.
bool Changes::is_all_as_copied() const {
  if (!version_.untouched || entries_.size() != old_entries_.size() || !removals_.empty()) return false;
  const ManifestInfo& copy = *version_.copy;
  if (manifest_.info.host != copy.host || manifest_.info.lineage != copy.lineage) return false;
  for (std::uint32_t index = 0; index < entries_.size(); ++index)
    if (plan_[index].step != Step::keep || old_of_[index] != index ||
        entries_[index].inode != version_.copied[index].inode ||
        entries_[index].ctime_ns != version_.copied[index].ctime_ns ||
        !is_stable(entries_[index].ctime_ns, copy.stable_before_ns))
      return false;
  return true;
}

/// Those of all files that are patched. Of some nothing differs in the end.
std::vector<Plan::FilePatch> Changes::take_patches(const std::set<std::uint32_t>& torn) {
  std::vector<Plan::FilePatch> patches;
  for (std::uint32_t index = 0; index < entries_.size(); ++index) {
    Decided& decided = plan_[index];
    if (entries_[index].type != Type::regular) continue;
    if (decided.step == Step::keep || decided.step == Step::metadata)
      decided.stable = is_stable(entries_[index].ctime_ns, manifest_.info.stable_before_ns);
    if (decided.step != Step::replace && decided.step != Step::patch) continue;
    const auto received = journal_.find(Directories::path(entries_, index)).value_or(FileProgress{});
    decided.stable = received.stable && !torn.contains(index);
    if (decided.step == Step::patch) decided.step = add_patches(index, received, patches);
  }
  return patches;
}

Plan::Entry Changes::planned(std::uint32_t index, const Digest& digest) const {
  Plan::Entry entry;
  entry.step = plan_[index].step;
  entry.stable = plan_[index].stable;
  if (entries_[index].type == Type::regular && entry.step != Step::absent) entry.digest = digest;
  if (entry.step == Step::keep) entry.seen = seen(index);
  return entry;
}

/// What an entry that is kept was when it was looked at, unless its ctime changes with its names.
Here Changes::seen(std::uint32_t index) const {
  if (entries_[index].type == Type::hard_link || old_of_[index] == none) return {};
  const std::uint32_t old = inode_of(old_of_[index]);
  return relinked_[old] ? Here{} : Here{old_entries_[old].inode, old_entries_[old].ctime_ns};
}

/// Less is left to be done if nothing differs in the end.
Changes::Step Changes::add_patches(std::uint32_t index, const FileProgress& received,
                                   std::vector<Plan::FilePatch>& patches) const {
  const Entry& old = old_entries_[inode_of(old_of_[index])];
  bool differs = old.size != entries_[index].size;
  for (const auto& [extent, patch] : received.extents) {
    if (patch.empty()) continue;
    differs = true;
    patches.push_back({index, extent, patch});
  }
  if (differs) return Step::patch;
  return same_metadata(entries_[index], old) ? Step::keep : Step::metadata;
}

}  // namespace ferry::sync
