#include "sync/walk.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <iterator>

#include "base/directory.h"
#include "base/log.h"
#include "base/time.h"
#include "sync/manifest.h"

namespace ferry::sync {

namespace {

/// Names are dealt out so many at a time, to so many threads, and so many such batches are under way: enough that none
/// waits, and few enough that they take little memory.
constexpr std::size_t batch_names = 256;
constexpr std::size_t batch_parts = 16;  // each keeps a directory open
constexpr std::size_t most_batches = 6;
constexpr unsigned threads = 2;

/// Newer than any moment: see is_stable().
constexpr std::uint64_t ctime_that_proves_nothing = UINT64_MAX;

bool has_gone(const Error& error) { return error.code == Code::not_found; }

}  // namespace

ManifestSource::ManifestSource(int root, Tree& tree, const Identity& identity, std::shared_ptr<const Baseline> baseline,
                               Keep keep, TreeKind kind)
    : root_(root),
      keep_(keep),
      kind_(kind),
      tree_(tree),
      entries_(tree.entries),
      baseline_(std::move(baseline)),
      directories_(root, tree.entries),
      pool_(threads) {
  info_.host = identity.host;
  info_.lineage = identity.lineage;
  if (!baseline_) return;
  info_.origin = baseline_->manifest.info.host;
  // Without ctimes that show everything, equal ones would prove nothing.
  const auto& copied = baseline_->manifest;
  const auto shows = [&](const Entry& entry) {
    return entry.type == Type::hard_link || is_stable(entry.ctime_ns, copied.info.stable_before_ns);
  };
  if (std::all_of(copied.entries.begin(), copied.entries.end(), shows)) info_.origin_stamp = stamp_of(copied.entries);
  copied_.emplace(baseline_->manifest.entries);
}

bool ManifestSource::next(std::string& out) {
  if (step_ == Step::done) return false;
  if (step_ == Step::begin) {
    outcome_ = begin(out);
    step_ = Step::walk;
  } else {
    outcome_ = walk(out);
  }
  if (!outcome_) {
    append_failure(out, outcome_.error());
    step_ = Step::done;
  }
  return true;
}

Result<> ManifestSource::begin(std::string& out) {
  const std::int64_t now = realtime_ns();
  if (::syncfs(root_) != 0) return fail_errno("sync the source's file system");
  struct statfs file_system {};
  if (::fstatfs(root_, &file_system) != 0) return fail_errno("statfs");
  struct stat root_info {};
  if (::fstat(root_, &root_info) != 0) return fail_errno("stat the source's root");
  root_device_ = root_info.st_dev;
  inspector_ = Inspector(counts_data_in_blocks(file_system.f_type), root_device_, kind_);
  info_.stable_before_ns = stable_before(now, file_system.f_type);
  append_header(out, info_);
  auto root = inspector_.inspect(root_, "");
  if (!root) return fail(root.error().code, "the volume's root: " + root.error().message);
  keep(std::move(*root), "", out);
  return {};
}

Result<> ManifestSource::walk(std::string& out) {
  while (ahead_.size() < most_batches) {
    FERRY_ASSIGN(Batch batch, next_batch());
    if (batch.empty()) break;
    ahead_.push_back(pool_.submit(
        [batch = std::move(batch), inspector = inspector_]() mutable { return inspect(std::move(batch), inspector); }));
  }
  if (ahead_.empty()) {
    end(out);
    return {};
  }
  auto batch = ahead_.front().get();
  ahead_.pop_front();
  for (auto& found : batch) FERRY_TRY(add(found, out));
  return {};
}

void ManifestSource::end(std::string& out) {
  if (!left_out_.empty())
    info_.warnings.push_back(std::to_string(left_out_.size()) +
                             " sockets were left out: they mean nothing on another host");
  append_trailer(out, info_, entries_.size());
  step_ = Step::done;
}

/// The next names that nobody has looked at; none if there are none for now.
Result<ManifestSource::Batch> ManifestSource::next_batch() {
  Batch batch;
  std::size_t names = 0;
  while (names < batch_names && batch.size() < batch_parts) {
    if (rest_at_ == rest_.names.size()) {
      rest_ = {};
      rest_at_ = 0;
      if (pending_.empty()) break;
      const std::uint32_t index = pending_.front();
      pending_.pop_front();
      FERRY_ASSIGN(rest_, read_directory(index));
      continue;  // it may be empty
    }
    const std::size_t count = std::min(batch_names - names, rest_.names.size() - rest_at_);
    const auto begin = std::make_move_iterator(rest_.names.begin() + static_cast<std::ptrdiff_t>(rest_at_));
    batch.push_back({rest_.directory, rest_.fd, {begin, begin + static_cast<std::ptrdiff_t>(count)}});
    rest_at_ += count;
    names += count;
  }
  return batch;
}

/// Without names if it is gone; then the seal finds its parent changed.
Result<ManifestSource::Part> ManifestSource::read_directory(std::uint32_t index) {
  Part part{index, nullptr, {}};
  auto opened = directories_.open(index);
  if (!opened && has_gone(opened.error())) return part;
  if (!opened) return pass(opened);
  part.fd = std::make_shared<const Fd>(::fcntl(*opened, F_DUPFD_CLOEXEC, 0));
  if (!*part.fd) return fail_errno("dup");
  auto names = names_in(*opened);
  if (!names) return fail(names.error().code, Directories::shown(entries_, index) + ": " + names.error().message);
  part.names = std::move(*names);
  return part;
}

std::vector<ManifestSource::Found> ManifestSource::inspect(Batch batch, const Inspector& inspector) {
  std::vector<Found> found;
  found.reserve(batch_names);
  for (auto& part : batch) {
    const bool here = !part.names.empty() && work_in(part.fd->get());
    for (auto& name : part.names) {
      auto inspected = inspector.inspect(part.fd->get(), name, here);
      found.push_back({part.directory, std::move(name), std::move(inspected)});
    }
  }
  return found;
}

Result<> ManifestSource::add(Found& found, std::string& out) {
  if (!found.result && has_gone(found.result.error())) return {};
  if (!found.result)
    return fail(found.result.error().code, "in " + Directories::shown(entries_, found.directory) + ": " +
                                               printable(found.name) + ": " + found.result.error().message);
  found.result->entry.parent = found.directory;
  keep(std::move(*found.result), found.name, out);
  return {};
}

void ManifestSource::keep(Inspected found, const std::string& name, std::string& out) {
  if (found.left_out) {
    left_out_.push_back({found.entry.parent, name});
    return;
  }
  const auto index = static_cast<std::uint32_t>(entries_.size());
  Entry entry = std::move(found.entry);
  if (found.shared) {
    const auto [first, is_new] = linked_.try_emplace({found.device, entry.inode}, index);
    if (!is_new) {
      Entry link;
      link.parent = entry.parent;
      link.type = Type::hard_link;
      link.link = first->second;
      entry = std::move(link);
    }
  }
  entry.name = tree_.names.add(name);
  const bool synced = found.device == root_device_ || is_synced(found.device, entry.parent, name);
  append_entry(out, entry, {entry.data(), entry.inode, synced ? entry.ctime_ns : ctime_that_proves_nothing});
  const bool is_file = entry.type == Type::regular;
  if (entry.type == Type::directory) pending_.push_back(index);
  if (keep_ == Keep::no_extras)
    entry.set_extra({});
  else
    xattr_sets_.share(entry);
  entries_.push_back(std::move(entry));
  if (!baseline_) return;
  copied_from_.push_back(index == 0 ? 0 : copied_->find(copied_from_[entries_[index].parent], entries_[index].name));
  if (is_file && synced) add_origin(index, out);
}

/// Whether a file of another device than the root's is nevertheless of its file system, as Btrfs' subvolumes are: what
/// is not mounted there (statx(2), before Linux 5.8 that does not tell).
bool ManifestSource::is_synced(std::uint64_t device, std::uint32_t parent, const std::string& name) {
  const auto [known, is_new] = synced_.try_emplace(device, false);
  if (!is_new) return known->second;
  struct statx here {};
  struct statx root {};
  const auto directory = directories_.open(parent);
  known->second = directory && ::statx(*directory, name.c_str(), AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &here) == 0 &&
                  ::statx(root_, "", AT_EMPTY_PATH, STATX_MNT_ID, &root) == 0 &&
                  (here.stx_mask & root.stx_mask & STATX_MNT_ID) != 0 && here.stx_mnt_id == root.stx_mnt_id;
  return known->second;
}

/// Tells of which file it is a copy, if it has not been written to since.
void ManifestSource::add_origin(std::uint32_t index, std::string& out) {
  const std::uint32_t from = copied_from_[index];
  if (from == TreeIndex::none) return;
  const Baseline::File& file = baseline_->files[from];
  const Entry& copied = baseline_->manifest.entries[from];
  if (file.stable && is_unwritten(*baseline_, from, entries_[index]))
    append_origin(out, {index, copied.inode, copied.ctime_ns, file.digest});
}

}  // namespace ferry::sync
