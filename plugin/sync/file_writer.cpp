#include "sync/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "sync/metadata.h"

namespace ferry::sync {

namespace {

/// A large file's progress is journaled every so many bytes; at most these are sent again after an interruption.
constexpr std::uint64_t note_interval = 16 * block_size;

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

void Findings::complete(std::uint32_t entry, const Digest& digest) {
  const std::lock_guard guard(mutex_);
  digests_[entry] = digest;
}

void Findings::torn(std::uint32_t entry, const Digest& digest) {
  const std::lock_guard guard(mutex_);
  digests_[entry] = digest;
  torn_.insert(entry);
}

void Findings::lost(std::uint32_t entry) {
  const std::lock_guard guard(mutex_);
  lost_.insert(entry);
}

void Findings::take(std::vector<Digest>& digests, std::set<std::uint32_t>& torn, std::set<std::uint32_t>& lost) {
  const std::lock_guard guard(mutex_);
  digests = std::move(digests_);
  torn = std::move(torn_);
  lost = std::move(lost_);
}

FileWriter::FileWriter(Shared shared, std::span<const Want> wants)
    : shared_(shared),
      entries_(shared.manifest.entries),
      wants_(wants),
      directories_(shared.root, shared.manifest.entries) {}

tl::unexpected<Error> FileWriter::at(std::uint32_t entry, const Error& error) const {
  return fail(error.code, Directories::path(entries_, entry) + ": " + error.message);
}

Result<> FileWriter::open(std::uint32_t entry) {
  if (started_) return {};
  if (auto opened = start(entry, wants_[next_want_]); !opened) return at(entry, opened.error());
  started_ = true;
  return {};
}

/// Opens the file and makes it exactly what was kept of it.
Result<> FileWriter::start(std::uint32_t index, const Want& want) {
  const Entry& entry = entries_[index];
  FERRY_TRY(open_file(index, want));
  known_ = {};
  if (want.offset != 0)
    if (const auto journaled = shared_.journal.find(Directories::path(entries_, index))) known_ = *journaled;
  known_.inode = entry.inode;
  known_.size = entry.size;
  known_.ctime_ns = entry.ctime_ns;
  known_.offset = noted_ = want.offset;
  known_.complete = false;
  known_.stable = entry.ctime_ns < shared_.manifest.info.stable_before_ns;
  answer_ = {};
  shared_.progress.bytes_done += std::min(want.offset, entry.data);
  // What is journaled before it is complete needs its size, by which the next attempt knows it.
  return entry.size >= note_interval ? set_size(index) : Result<>();
}

Result<> FileWriter::open_file(std::uint32_t index, const Want& want) {
  const Entry& entry = entries_[index];
  FERRY_ASSIGN(const int directory, directories_.open(entry.parent));
  created_ = false;
  if (want.offset == 0) {
    auto made = open_at(directory, entry.name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (!made && made.error().code != Code::already_exists) return pass(made);
    created_ = made.has_value();
    if (created_) {
      file_ = std::move(*made);
      return learn_inherited(entry.parent);
    }
  }
  FERRY_ASSIGN(file_, open_at(directory, entry.name, O_RDWR | O_NOFOLLOW));
  if (::ftruncate(file_.get(), static_cast<off_t>(want.offset)) != 0) return fail_errno("truncate");
  return {};
}

/// From the first file that is created in a directory.
Result<> FileWriter::learn_inherited(std::uint32_t directory) {
  if (inherited_in_ == directory) return {};
  FERRY_ASSIGN(inherited_, inherited_by(file_.get()));
  inherited_in_ = directory;
  return {};
}

/// What is behind the last byte that was written becomes a hole.
Result<> FileWriter::set_size(std::uint32_t index) {
  if (::ftruncate(file_.get(), static_cast<off_t>(entries_[index].size)) != 0) return fail_errno("set the size");
  return {};
}

Result<> FileWriter::data(std::uint32_t entry, std::uint64_t offset, const Digest& digest, std::string_view payload) {
  if (shared_.cancelled) return fail(Code::cancelled, "cancelled");
  FERRY_TRY(open(entry));
  const Digest written = digest_of(payload);
  if (written != digest)
    return at(entry, {Code::corrupt, "content at offset " + std::to_string(offset) + " was damaged on the way"});
  FERRY_TRY(check_announced(entry, payload.size()));
  if (auto done = write_at(file_.get(), payload, offset); !done) return at(entry, done.error());
  answer_ = chain(answer_, offset, payload.size(), written);
  known_.digest = chain(known_.digest, offset, payload.size(), written);
  known_.offset = offset + payload.size();
  known_.bytes += payload.size();
  shared_.progress.bytes_done += payload.size();
  if (known_.offset - noted_ >= note_interval && known_.offset % block_size == 0) return note_progress(entry);
  return {};
}

/// The disk's room was checked for what the manifest announced. Code::busy: an honest source has been written to.
Result<> FileWriter::check_announced(std::uint32_t entry, std::uint64_t more) const {
  const std::uint64_t announced = entries_[entry].data;
  if (shared_.writers == Writers::allowed || known_.bytes + more <= announced + slack) return {};
  return at(entry, {Code::busy, "the source sends more than the " + std::to_string(announced) +
                                    " bytes that it announced; stop what writes to it, or pass -o freeze=none for a "
                                    "copy that may be torn"});
}

Result<> FileWriter::note_progress(std::uint32_t entry) {
  noted_ = known_.offset;
  return shared_.journal.record(Directories::path(entries_, entry), known_);
}

Result<> FileWriter::end(std::uint32_t entry, Outcome outcome, const Digest& digest) {
  if (outcome == Outcome::vanished) {
    auto dropped = drop(entry);
    if (!dropped) return at(entry, dropped.error());
  } else {
    FERRY_TRY(open(entry));
    if (answer_ != digest) return at(entry, {Code::corrupt, "what was written is not what the sender read"});
    if (auto completed = complete(entry, outcome); !completed) return at(entry, completed.error());
  }
  file_.reset();
  started_ = false;
  ++next_want_;
  return {};
}

Result<> FileWriter::complete(std::uint32_t index, Outcome outcome) {
  const Entry& entry = entries_[index];
  if (known_.offset < entry.size) FERRY_TRY(set_size(index));
  FERRY_TRY(apply_metadata(file_.get(), entry, created_ ? &inherited_ : nullptr));
  ++shared_.progress.files_done;
  if (outcome == Outcome::changed) {
    shared_.findings.torn(index, known_.digest);
    known_.stable = false;
  } else {
    shared_.findings.complete(index, known_.digest);
  }
  known_.offset = entry.size;
  known_.complete = true;
  return shared_.journal.record(Directories::path(entries_, index), known_);
}

/// The file is gone at the sender, so nothing of it may stay here.
Result<> FileWriter::drop(std::uint32_t index) {
  const Entry& entry = entries_[index];
  file_.reset();
  FERRY_ASSIGN(const int directory, directories_.open(entry.parent));
  if (::unlinkat(directory, entry.name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("remove");
  shared_.findings.lost(index);
  return {};
}

}  // namespace ferry::sync
