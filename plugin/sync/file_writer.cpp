#include "sync/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "sync/metadata.h"

namespace ferry::sync {

namespace {

/// So much more than announced may come for a file: what file systems store without counting it in st_blocks, such as
/// a small file's content in its inode.
constexpr std::uint64_t slack = 64U << 10;

Result<> write_at(int fd, std::string_view data, std::uint64_t offset) {
  while (!data.empty()) {
    const ssize_t count = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("write");
    data.remove_prefix(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

}  // namespace

std::uint64_t Assembly::count(std::uint32_t entry, std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  return files_[entry].bytes += bytes;
}

Assembly::File Assembly::add(std::uint32_t entry, const Digest& digest, Outcome outcome) {
  const std::lock_guard guard(mutex_);
  const auto it = files_.try_emplace(entry).first;
  File& file = it->second;
  file.digest = sync::add(file.digest, digest);
  file.outcome = std::max(file.outcome, outcome);
  if (--file.missing != 0) return file;
  const File done = file;
  files_.erase(it);
  digests_[entry] = done.digest;
  if (done.outcome == Outcome::changed) torn_.insert(entry);
  if (done.outcome == Outcome::vanished) lost_.insert(entry);
  return done;
}

FileWriter::FileWriter(const Shared& shared)
    : shared_(shared), entries_(shared.manifest.entries), places_(shared.shape, shared.root, shared.manifest.entries) {
  if (shared_.old != nullptr) old_directories_.emplace(shared_.old->root, shared_.old->entries);
}

tl::unexpected<Error> FileWriter::at(std::uint32_t entry, const Error& error) const {
  return fail(error.code, Directories::shown(entries_, entry) + ": " + error.message);
}

bool FileWriter::is_patched(std::uint32_t entry) const { return shared_.old != nullptr && shared_.old->patched[entry]; }

Result<> FileWriter::begin(std::uint64_t seed, std::span<Want> wants) {
  held_.clear();
  for (auto& want : wants) {
    held_.emplace_back();
    if (shared_.cancelled) return fail(Code::cancelled, "cancelled");
    if (is_patched(want.entry)) {
      auto held = hold_old(want, seed);
      if (!held) return at(want.entry, held.error());
      held_.back() = std::move(*held);
    } else {
      auto held = hold_unverified(want, seed);
      if (held && !*held) held = hold_copy(want, seed);
      if (!held) return at(want.entry, held.error());
      held_.back() = std::move(*held);
    }
    if (held_.back()) want.held = held_.back()->pages();
  }
  return {};
}

Result<HeldExtent> FileWriter::hold_old(const Want& want, std::uint64_t seed) {
  const Entry& old = shared_.old->entries[shared_.old->of[want.entry]];
  FERRY_ASSIGN(const int directory, old_directories_->open(old.parent));
  FERRY_ASSIGN(Fd file, open_at(directory, old.name.str(), O_RDONLY | O_NOFOLLOW | O_NOATIME));
  Fd received;
  if (shared_.unverified.contains(want.entry)) {
    FERRY_ASSIGN(const Place place, places_.of(want.entry));
    FERRY_ASSIGN(received, open_at(place.directory, place.name, O_RDONLY | O_NOFOLLOW));
  }
  return HeldExtent::read(std::move(file), extent_of(entries_[want.entry].size, want.extent), seed,
                          std::move(received));
}

/// What the file has already. None if that is nothing; then it has nothing in the extent, unless it is of one extent
/// and will be made anew.
Result<std::optional<HeldExtent>> FileWriter::hold_unverified(const Want& want, std::uint64_t seed) {
  if (!shared_.unverified.contains(want.entry)) return std::nullopt;
  FERRY_ASSIGN(const Place place, places_.of(want.entry));
  FERRY_ASSIGN(Fd file, open_at(place.directory, place.name, O_RDWR | O_NOFOLLOW));
  const Extent extent = extent_of(entries_[want.entry].size, want.extent);
  if (!has_several_extents(want.entry) && ::ftruncate(file.get(), static_cast<off_t>(extent.end)) != 0)
    return fail_errno("set the size");
  auto held = HeldExtent::read(std::move(file), extent, seed);
  if (held && held->pages().empty()) return std::nullopt;
  if (held) return std::move(*held);
  FERRY_ASSIGN(file, open_at(place.directory, place.name, O_RDWR | O_NOFOLLOW));
  FERRY_TRY(punch_hole(file.get(), extent));
  return std::nullopt;
}

/// Copies the wanted bytes of the candidate into the file, which then has what is compared, whatever becomes of the
/// candidate. None if there is no candidate, or it cannot be read: then everything is sent, and nothing is left of it.
Result<std::optional<HeldExtent>> FileWriter::hold_copy(const Want& want, std::uint64_t seed) {
  if (!shared_.candidates.contains(want.entry)) return std::nullopt;
  const auto candidate = shared_.candidates.open(want.entry);
  if (!candidate) return std::nullopt;
  FERRY_ASSIGN(const Place place, places_.of(want.entry));
  FERRY_ASSIGN(Fd file, open_at(place.directory, place.name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const Extent extent = extent_of(entries_[want.entry].size, want.extent);
  if (!has_several_extents(want.entry) &&
      (::ftruncate(file.get(), 0) != 0 || ::ftruncate(file.get(), static_cast<off_t>(extent.end)) != 0))
    return fail_errno("set the size");
  auto held = [&]() -> Result<HeldExtent> {
    FERRY_TRY(share_data(candidate->get(), file.get(), extent));
    return HeldExtent::read(std::move(file), extent, seed);
  }();
  if (held && held->pages().empty()) return std::nullopt;  // nothing but a hole
  if (held) return std::move(*held);
  FERRY_ASSIGN(file, open_at(place.directory, place.name, O_RDWR | O_NOFOLLOW));
  FERRY_TRY(punch_hole(file.get(), extent));
  return std::nullopt;
}

/// Opens the file that comes next as it has to be before its content is written.
Result<> FileWriter::open(std::uint32_t index) {
  if (file_ && file_entry_ == index) return {};
  FERRY_ASSIGN(const Place place, places_.of(index));
  created_ = false;
  if (has_several_extents(index) || held_.front()) {  // made by who wants it
    FERRY_ASSIGN(file_, open_at(place.directory, place.name, O_RDWR | O_NOFOLLOW));
  } else {
    FERRY_TRY(create_file(place));
  }
  file_entry_ = index;
  written_end_ = 0;
  return {};
}

Result<> FileWriter::create_file(const Place& place) {
  auto made = open_at(place.directory, place.name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!made && made.error().code != Code::already_exists) return pass(made);
  if (!made) {
    FERRY_ASSIGN(file_, open_at(place.directory, place.name, O_RDWR | O_NOFOLLOW));
    if (::ftruncate(file_.get(), 0) != 0) return fail_errno("truncate");
    return {};
  }
  file_ = std::move(*made);
  created_ = true;
  if (inherited_in_ == place.group) return {};
  FERRY_ASSIGN(inherited_, inherited_by(file_.get()));
  inherited_in_ = place.group;
  return {};
}

Result<> FileWriter::data(std::uint32_t entry, std::uint64_t offset, std::string_view payload) {
  if (shared_.cancelled) return fail(Code::cancelled, "cancelled");
  FERRY_TRY(check_announced(entry, payload.size()));
  if (auto written = write(entry, offset, payload); !written) return at(entry, written.error());
  shared_.progress.bytes_done += payload.size();
  return {};
}

Result<> FileWriter::write(std::uint32_t entry, std::uint64_t offset, std::string_view payload) {
  FERRY_TRY(open(entry));
  FERRY_TRY(write_at(file_.get(), payload, offset));
  written_end_ = offset + payload.size();
  if (held_.front()) return held_.front()->data(offset, payload);
  digest_.add(offset, payload);
  return {};
}

Result<> FileWriter::hole(std::uint32_t entry, Extent hole) {
  if (auto noted = held_.front()->hole(hole); !noted) return at(entry, noted.error());
  if (!is_copied(entry)) return {};
  if (auto opened = open(entry); !opened) return at(entry, opened.error());
  if (auto punched = punch_hole(file_.get(), hole); !punched) return at(entry, punched.error());
  return {};
}

/// The disk's room was checked for what the manifest announced. Code::busy: an honest source has been written to.
Result<> FileWriter::check_announced(std::uint32_t entry, std::uint64_t more) {
  received_ += more;
  const std::uint64_t all = has_several_extents(entry) ? shared_.assembly.count(entry, more) : received_;
  // Of what is compared whole pages come, also where the sender's file system has smaller blocks.
  const bool is_compared = held_.front() || shared_.candidates.contains(entry) || shared_.unverified.contains(entry);
  const std::uint64_t announced = is_compared ? entries_[entry].size : entries_[entry].data();
  if (shared_.writers == Writers::allowed || all <= announced + slack) return {};
  return at(entry, {Code::busy, "the source sends more than the " + std::to_string(announced) +
                                    " bytes that it announced; stop what writes to it, or pass -o freeze=none for a "
                                    "copy that may be torn"});
}

Result<> FileWriter::end(const Want& want, Outcome outcome, const Digest& digest) {
  if (auto finished = finish_extent(want, outcome, digest); !finished) return at(want.entry, finished.error());
  held_.pop_front();
  received_ = 0;
  kept_ = 0;
  return {};
}

Result<> FileWriter::finish_extent(const Want& want, Outcome outcome, const Digest& digest) {
  Digest written = digest_.finish();
  if (held_.front()) {
    written = held_.front()->finish();
    const std::uint64_t held = held_.front()->bytes();
    kept_ = held - std::min(held, received_);
    shared_.progress.bytes_done += kept_;
  }
  if (outcome != Outcome::vanished) {
    FERRY_TRY(open(want.entry));
    if (written != digest)
      return fail(Code::corrupt, "what was written is not what the sender read, in the " +
                                     std::to_string(extent_size(entries_[want.entry].size)) + " bytes from " +
                                     std::to_string(extent_of(entries_[want.entry].size, want.extent).begin) + " on");
  }
  // First, because whoever adds the last extent may then record that the file is complete.
  if (outcome != Outcome::vanished && (has_several_extents(want.entry) || is_patched(want.entry)))
    FERRY_TRY(note_extent(want, written, outcome));
  const auto file = shared_.assembly.add(want.entry, written, outcome);
  if (file.missing == 0) FERRY_TRY(file.outcome == Outcome::vanished ? drop(want.entry) : complete(want.entry, file));
  return {};
}

Result<> FileWriter::note_extent(const Want& want, const Digest& digest, Outcome outcome) {
  const std::string patch = is_patched(want.entry) ? held_.front()->patch().encode() : std::string();
  return shared_.journal.record_extent(Directories::path(entries_, want.entry),
                                       {want.extent, digest, received_ + kept_, outcome == Outcome::changed, patch});
}

/// All of it has come. A patched file gets its metadata when the patch is applied.
Result<> FileWriter::complete(std::uint32_t index, const Assembly::File& file) {
  const Entry& entry = entries_[index];
  ++shared_.progress.files_done;
  if (is_patched(index)) return {};
  const bool ends_in_hole = !has_several_extents(index) && written_end_ < entry.size;
  if (ends_in_hole && ::ftruncate(file_.get(), static_cast<off_t>(entry.size)) != 0) return fail_errno("set the size");
  FERRY_TRY(apply_metadata(file_.get(), entry, created_ ? &inherited_ : nullptr));
  file_.reset();
  FileProgress done = version_of(entry, shared_.manifest.info.stable_before_ns);
  done.complete = true;
  done.stable = done.stable && file.outcome == Outcome::complete;
  done.digest = file.digest;
  done.bytes = has_several_extents(index) ? file.bytes : received_;
  return shared_.journal.record(Directories::path(entries_, index), done);
}

/// The file is gone at the sender, so nothing of it may stay here.
Result<> FileWriter::drop(std::uint32_t index) {
  file_.reset();
  FERRY_ASSIGN(const Place place, places_.of(index));
  if (::unlinkat(place.directory, place.name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("remove");
  return {};
}

}  // namespace ferry::sync
