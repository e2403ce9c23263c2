#include "sync/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <deque>
#include <variant>

#include "base/files.h"
#include "base/log.h"
#include "sync/blocks.h"
#include "sync/wire.h"

namespace ferry::sync {

namespace {

// 2 was a file in a version without extents.
enum Kind : std::uint8_t {
  kind_boot = 1,
  kind_durable = 3,
  kind_file = 4,
  kind_extent = 5,
  kind_distrust = 6,
  kind_end = 7
};
enum Flag : std::uint8_t { flag_complete = 1, flag_stable = 2, flag_old = 4 };

constexpr std::uint64_t longest_file = INT64_MAX;  // off_t
constexpr std::size_t longest_record = 256U << 10;
constexpr std::size_t most_pending_records = 64;

void write_progress(Writer& writer, const FileProgress& progress) {
  writer.number(progress.inode);
  writer.number(progress.size);
  writer.number(progress.ctime_ns);
  writer.byte(static_cast<std::uint8_t>((progress.complete ? flag_complete : 0) | (progress.stable ? flag_stable : 0) |
                                        (progress.old ? flag_old : 0)));
  writer.digest(progress.digest);
  writer.number(progress.bytes);
  if (!progress.old) return;
  writer.number(progress.old->inode);
  writer.number(progress.old->ctime_ns);
}

FileProgress read_progress(Reader& reader) {
  FileProgress progress;
  progress.inode = reader.number();
  progress.size = reader.number();
  progress.ctime_ns = reader.number();
  const std::uint8_t flags = reader.byte();
  progress.complete = (flags & flag_complete) != 0;
  progress.stable = (flags & flag_stable) != 0;
  progress.digest = reader.digest();
  progress.bytes = reader.number();
  if ((flags & flag_old) == 0) return progress;
  progress.old.emplace();
  progress.old->inode = reader.number();
  progress.old->ctime_ns = reader.number();
  return progress;
}

void write_extent(Writer& writer, const ExtentProgress& extent) {
  writer.number(extent.number);
  writer.digest(extent.digest);
  writer.number(extent.bytes);
  writer.byte(extent.torn ? 1 : 0);
  writer.string(extent.patch);
}

ExtentProgress read_extent(Reader& reader) {
  ExtentProgress extent;
  extent.number = reader.number32();
  extent.digest = reader.digest();
  extent.bytes = reader.number();
  extent.torn = reader.byte() != 0;
  extent.patch = reader.string(longest_record);
  return extent;
}

/// A record is a varint length, the body's digest, the body.
void append_checksummed(std::string& out, std::string_view body) {
  Writer writer(out);
  writer.number(sizeof(Digest) + body.size());
  writer.digest(digest_of(body));
  writer.raw(body);
}

}  // namespace

FileProgress version_of(const Entry& entry, std::uint64_t stable_before_ns) {
  FileProgress version;
  version.inode = entry.inode;
  version.size = entry.size;
  version.ctime_ns = entry.ctime_ns;
  version.stable = is_stable(entry.ctime_ns, stable_before_ns);
  return version;
}

std::size_t Journal::KeyHash::operator()(const Digest& key) const noexcept {
  std::size_t hash = 0;
  std::memcpy(&hash, key.data(), sizeof hash);
  return hash;
}

Result<std::unique_ptr<Journal>> Journal::open(const std::filesystem::path& path, Begin begin) {
  FERRY_ASSIGN(const std::string boot_id, read_file("/proc/sys/kernel/random/boot_id"));
  FERRY_ASSIGN(Fd file, open_at(AT_FDCWD, path.string(), O_RDWR | O_CREAT | O_APPEND, 0600));
  FERRY_ASSIGN(const std::string content, read_file(path, SIZE_MAX));
  std::unique_ptr<Journal> journal(new Journal(std::move(file), boot_id));
  FERRY_TRY(journal->load(content, begin));
  return journal;
}

/// Replays a journal's records.
class Journal::Loader {
 public:
  explicit Loader(Journal& journal) : journal_(journal) {}

  Result<> record(std::string_view record) {
    Reader reader(record);
    const Digest digest = reader.digest();
    const std::string_view body = reader.rest();
    if (!reader.ok() || digest_of(body) != digest) return fail(Code::corrupt, "damaged");
    Reader fields(body);
    switch (fields.byte()) {
      case kind_boot: begin_session(fields.rest()); break;
      case kind_file: {
        const Digest key = fields.digest();
        unsettled_.push_back({key, read_progress(fields)});
        break;
      }
      case kind_extent: {
        const Digest key = fields.digest();
        unsettled_.push_back({key, read_extent(fields)});
        break;
      }
      case kind_durable: settle(fields.number()); break;
      case kind_distrust: lose(); break;
      case kind_end: ended_ = true; break;
      default: return fail(Code::corrupt, "unknown record");
    }
    std::string again;
    append_record(again, record);
    good_ += again.size();
    return {};
  }

  void finish() {
    end_session();
    journal_.trusts_cache_ = lost_in_ != journal_.boot_id_;
  }

  std::size_t good() const { return good_; }  ///< bytes of intact records

 private:
  struct Unsettled {
    Digest key;
    std::variant<FileProgress, ExtentProgress> progress;
  };

  void begin_session(std::string_view boot_id) {
    end_session();
    boot_ = boot_id;
    settled_ = 0;
    ended_ = false;
  }

  void end_session() {
    if (!ended_) lose();
  }

  void lose() {
    for (const auto& [key, progress] : unsettled_) {
      const auto* file = std::get_if<FileProgress>(&progress);
      if (file != nullptr && file->complete && extent_count(file->size) == 1)
        journal_.claims_[key] = Journal::compact(*file);
      else
        journal_.claims_.erase(key);
    }
    unsettled_.clear();
    lost_in_ = boot_;
  }

  void settle(std::uint64_t up_to) {
    for (; settled_ < up_to && !unsettled_.empty(); ++settled_) {
      const Digest& key = unsettled_.front().key;
      auto& progress = unsettled_.front().progress;
      if (const auto* extent = std::get_if<ExtentProgress>(&progress))
        journal_.add_extent(key, *extent);
      else
        journal_.set(key, std::move(std::get<FileProgress>(progress)));
      unsettled_.pop_front();
    }
  }

  Journal& journal_;
  std::deque<Unsettled> unsettled_;
  std::uint64_t settled_ = 0;  // of the current session
  std::string boot_;           // of the current session
  bool ended_ = true;          // so is none
  std::string lost_in_;        // the last boot in which pages may have been lost
  std::size_t good_ = 0;
};

Result<> Journal::load(const std::string& content, Begin begin) {
  Loader loader(*this);
  RecordDecoder decoder(longest_record, [&](std::string_view record) { return loader.record(record); });
  (void)decoder.feed(content);  // a damaged or torn record ends what can be trusted
  loader.finish();
  if (::ftruncate(file_.get(), static_cast<off_t>(loader.good())) != 0) return fail_errno("truncate the journal");
  length_ = loader.good();
  std::string body;
  Writer writer(body);
  writer.byte(kind_boot);
  writer.raw(boot_id_);
  append_checksummed(pending_, body);
  if (begin == Begin::again && loader.good() == 0) {
    append_checksummed(pending_, std::string(1, kind_distrust));
    trusts_cache_ = false;
  }
  return write_pending();
}

Journal::~Journal() {
  if (auto written = write_pending(); !written) spdlog::warn("{}", written.error().message);
}

Result<> Journal::write_pending() {
  if (auto written = write_all(file_.get(), pending_, "the journal"); !written) {
    (void)::ftruncate(file_.get(), static_cast<off_t>(length_));  // nothing behind a torn record would be believed
    return written;
  }
  length_ += pending_.size();
  pending_.clear();
  pending_records_ = 0;
  return {};
}

std::optional<FileProgress> Journal::find(std::string_view path) const {
  const std::lock_guard guard(mutex_);
  const Digest key = digest_of(path);
  const auto it = files_.find(key);
  if (it == files_.end()) return std::nullopt;
  return get(key, it->second);
}

std::optional<FileProgress> Journal::claimed(std::string_view path) const {
  const std::lock_guard guard(mutex_);
  if (claims_.empty()) return std::nullopt;
  const Digest key = digest_of(path);
  const auto it = claims_.find(key);
  if (it == claims_.end()) return std::nullopt;
  FileProgress progress = get(key, it->second);
  progress.old.reset();
  progress.extents.clear();
  return progress;
}

bool Journal::has_claims() const {
  const std::lock_guard guard(mutex_);
  return !claims_.empty();
}

FileProgress Journal::get(const Digest& key, const Compact& file) const {
  FileProgress progress;
  progress.inode = file.inode;
  progress.size = file.size;
  progress.ctime_ns = file.ctime_ns;
  progress.complete = file.complete != 0;
  progress.stable = file.stable != 0;
  progress.digest = file.digest;
  progress.bytes = file.bytes;
  if (const auto it = partial_.find(key); it != partial_.end()) {
    progress.old = it->second.old;
    progress.extents = it->second.extents;
  }
  return progress;
}

Journal::Compact Journal::compact(const FileProgress& progress) {
  Compact file;
  file.inode = progress.inode;
  file.ctime_ns = progress.ctime_ns;
  file.size = progress.size & longest_file;
  file.bytes = progress.bytes & longest_file;
  file.complete = progress.complete ? 1 : 0;
  file.stable = progress.stable ? 1 : 0;
  file.digest = progress.digest;
  return file;
}

void Journal::set(const Digest& key, FileProgress progress) {
  files_[key] = compact(progress);
  claims_.erase(key);
  if (progress.old || !progress.extents.empty())
    partial_[key] = {progress.old, std::move(progress.extents)};
  else
    partial_.erase(key);
}

void Journal::add_extent(const Digest& key, const ExtentProgress& extent) {
  const auto [it, is_new] = partial_[key].extents.try_emplace(extent.number);
  if (!is_new) return;
  it->second.set(extent.patch);
  Compact& file = files_[key];
  file.digest = add(file.digest, extent.digest);
  file.bytes = (file.bytes + extent.bytes) & longest_file;
  if (extent.torn) file.stable = 0;
}

Result<bool> Journal::forget(std::string_view path) {
  const auto known = find(path);
  if (!known || *known == FileProgress{}) return false;
  FERRY_TRY(record(path, {}));
  return true;
}

bool Journal::empty() const {
  const std::lock_guard guard(mutex_);
  return files_.empty();
}

Result<> Journal::record(std::string_view path, const FileProgress& progress) {
  const Digest key = digest_of(path);
  std::string body;
  Writer writer(body);
  writer.byte(kind_file);
  writer.digest(key);
  write_progress(writer, progress);
  const std::lock_guard guard(mutex_);
  set(key, progress);
  return append(body);
}

Result<> Journal::record_extent(std::string_view path, const ExtentProgress& extent) {
  const Digest key = digest_of(path);
  std::string body;
  Writer writer(body);
  writer.byte(kind_extent);
  writer.digest(key);
  write_extent(writer, extent);
  const std::lock_guard guard(mutex_);
  add_extent(key, extent);
  return append(body);
}

Result<> Journal::append(std::string_view body) {
  if (!distrusted_) return distrusted_;
  ++position_;
  append_checksummed(pending_, body);
  if (++pending_records_ < most_pending_records) return {};
  return write_pending();
}

std::uint64_t Journal::position() const {
  const std::lock_guard guard(mutex_);
  return position_;
}

Result<> Journal::mark_durable(std::uint64_t position) {
  const std::lock_guard guard(mutex_);
  if (!distrusted_) return distrusted_;
  append_durable(position);
  return sync_pending();
}

Result<> Journal::end() {
  const std::lock_guard guard(mutex_);
  if (!distrusted_) return distrusted_;
  append_durable(position_);
  append_checksummed(pending_, std::string(1, kind_end));
  return sync_pending();
}

void Journal::append_durable(std::uint64_t position) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_durable);
  writer.number(position);
  append_checksummed(pending_, body);
}

Result<> Journal::sync_pending() {
  FERRY_TRY(write_pending());
  if (::fdatasync(file_.get()) != 0) return fail_errno("sync the journal");
  return {};
}

void Journal::distrust(const Error& reason) {
  const std::lock_guard guard(mutex_);
  if (!distrusted_) return;
  distrusted_ = tl::unexpected<Error>(reason);
  pending_.clear();
  append_checksummed(pending_, std::string(1, kind_distrust));
  if (sync_pending()) return;  // pages of the journal itself may be lost
  // What cannot be told from lost pages must not be believed.
  pending_.clear();
  if (::ftruncate(file_.get(), 0) != 0) spdlog::error("{}", fail_errno("truncate the journal").value().message);
}

Result<> Journal::check() const {
  const std::lock_guard guard(mutex_);
  return distrusted_;
}

}  // namespace ferry::sync
