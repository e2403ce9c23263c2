#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "sync/content.h"
#include "sync/extent.h"
#include "sync/inspect.h"
#include "sync/manifest.h"

namespace ferry::sync {

namespace {

/// A frame ends at a multiple of it. It and its copies stay in a core's own cache on the way from here to the socket.
constexpr std::uint64_t frame_size = 256U << 10;
static_assert(block_size % frame_size == 0);

}  // namespace

ContentSource::ContentSource(int root, const std::vector<Entry>& entries, std::vector<Want> wants)
    : entries_(entries), wants_(std::move(wants)), directories_(root, entries) {}

bool ContentSource::next(std::string& out) {
  if (failed_ || (at_ == wants_.size() && !file_)) return false;
  constexpr std::size_t piece = 256U << 10;  // small files are batched up to this many bytes
  while (at_ < wants_.size() && out.size() < piece && !failed_) {
    const Result<> result = file_ ? read_block(out) : open_next(out);
    if (result) continue;
    const std::string where = Directories::path(entries_, wants_[at_].entry);
    append_failure(out, Error{result.error().code, where + ": " + result.error().message});
    failed_ = true;
  }
  return true;
}

bool ContentSource::unchanged() const {
  const Entry& entry = entries_[wants_[at_].entry];
  struct stat info {};
  return ::fstat(file_.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_ino == entry.inode &&
         static_cast<std::uint64_t>(info.st_size) == entry.size && ctime_ns(info) == entry.ctime_ns;
}

Result<> ContentSource::open_next(std::string& out) {
  const Want& want = wants_[at_];
  const Entry& entry = entries_[want.entry];
  auto directory = directories_.open(entry.parent);
  // O_NONBLOCK: what was a regular file may be a FIFO by now, which open(2) would wait on.
  auto file = directory ? open_at(*directory, entry.name, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK)
                        : Result<Fd>(pass(directory));
  chain_ = {};
  offset_ = data_end_ = want.offset;
  if (!file && file.error().code != Code::not_found) return pass(file);
  struct stat info {};
  const bool same = file && ::fstat(file->get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_ino == entry.inode;
  if (same)
    file_ = std::move(*file);
  else
    end(Outcome::vanished, out);
  return {};
}

/// Moves offset_ to the next byte of data and data_end_ behind it; false if only a hole is left. Asks the file system
/// for every file: the blocks of xattrs, of extent trees and behind the end make up for holes in what stat(2) tells.
Result<bool> ContentSource::find_data() {
  const Entry& entry = entries_[wants_[at_].entry];
  if (offset_ >= entry.size) return false;
  if (offset_ < data_end_) return true;
  FERRY_ASSIGN(const Extent extent, find_extent(file_.get(), offset_, entry.size));
  offset_ = extent.begin;
  data_end_ = extent.end;
  return offset_ < data_end_;
}

Result<> ContentSource::read_block(std::string& out) {
  FERRY_ASSIGN(const bool more, find_data());
  if (!more) {
    end(unchanged() ? Outcome::complete : Outcome::changed, out);
    return {};
  }
  const std::uint64_t boundary = (offset_ / frame_size + 1) * frame_size;
  buffer_.resize(static_cast<std::size_t>(std::min(boundary, data_end_) - offset_));
  const ssize_t count = ::pread(file_.get(), buffer_.data(), buffer_.size(), static_cast<off_t>(offset_));
  if (count < 0 && errno == EINTR) return {};
  if (count < 0) return fail_errno("read");
  if (count == 0) {  // it has become shorter
    end(Outcome::changed, out);
    return {};
  }
  const std::string_view payload(buffer_.data(), static_cast<std::size_t>(count));
  const Digest digest = digest_of(payload);
  chain_ = chain(chain_, offset_, payload.size(), digest);
  std::string head;
  Writer writer(head);
  writer.byte(static_cast<std::uint8_t>(FrameKind::data));
  writer.number(offset_);
  writer.digest(digest);
  Writer frame(out);
  frame.number(head.size() + payload.size());
  frame.raw(head);
  frame.raw(payload);
  offset_ += payload.size();
  return {};
}

void ContentSource::end(Outcome outcome, std::string& out) {
  std::string body;
  Writer writer(body);
  writer.byte(static_cast<std::uint8_t>(FrameKind::end));
  writer.byte(static_cast<std::uint8_t>(outcome));
  writer.digest(chain_);
  append_record(out, body);
  file_.reset();
  ++at_;
}

}  // namespace ferry::sync
