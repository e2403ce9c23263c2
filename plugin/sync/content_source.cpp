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

std::uint64_t round_down(std::uint64_t offset, std::uint64_t unit) { return offset / unit * unit; }

void append_hole(std::string& out, const Extent& hole) {
  std::string body;
  Writer writer(body);
  writer.byte(static_cast<std::uint8_t>(FrameKind::hole));
  writer.number(hole.begin);
  writer.number(hole.end - hole.begin);
  append_record(out, body);
}

}  // namespace

ContentSource::ContentSource(int root, const std::vector<Entry>& entries, Wants wants)
    : entries_(entries), wants_(std::move(wants)), directories_(root, entries) {}

bool ContentSource::next(std::string& out) {
  if (failed_ || done()) return false;
  constexpr std::size_t piece = 256U << 10;  // small files are batched up to this many bytes
  while (!done() && out.size() < piece && !failed_) {
    const Result<> result = answering_ ? read_block(out) : open_next(out);
    if (result) continue;
    append_failure(
        out, Error{result.error().code, Directories::shown(entries_, want().entry) + ": " + result.error().message});
    failed_ = true;
  }
  return true;
}

bool ContentSource::unchanged() const {
  struct stat info {};
  return ::fstat(file_.get(), &info) == 0 && S_ISREG(info.st_mode) && info.st_ino == entry().inode &&
         static_cast<std::uint64_t>(info.st_size) == entry().size && ctime_ns(info) == entry().ctime_ns;
}

Result<> ContentSource::open_next(std::string& out) {
  extent_ = extent_of(entry().size, want().extent);
  offset_ = extent_.begin;
  data_ = {offset_, offset_};
  answering_ = true;
  if (file_ && file_entry_ == want().entry) return {};
  FERRY_ASSIGN(file_, open_file());
  file_entry_ = want().entry;
  if (!file_) end(Outcome::vanished, out);
  return {};
}

/// None if it is not there any more, under any of its names.
Result<Fd> ContentSource::open_file() {
  FERRY_ASSIGN(Fd file, open_name(want().entry));
  if (file) return file;
  const auto& all = links();
  auto link = std::lower_bound(all.begin(), all.end(), std::pair(want().entry, std::uint32_t{0}));
  for (; !file && link != all.end() && link->first == want().entry; ++link) {
    FERRY_ASSIGN(file, open_name(link->second));
  }
  return file;
}

/// None if that name is gone, or another inode's.
Result<Fd> ContentSource::open_name(std::uint32_t index) {
  const Entry& name = entries_[index];
  auto directory = directories_.open(name.parent);
  if (!directory && directory.error().code == Code::not_found) return Fd();
  if (!directory) return pass(directory);
  // O_NONBLOCK: what was a regular file may be a FIFO by now, which open(2) would wait on.
  auto file = open_at(*directory, name.name.str(), O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);
  if (!file && file.error().code == Code::not_found) return Fd();
  // Or a device, and such a one, or in such a place, that nobody may open it: so what it is counts, not the error.
  struct stat info {};
  const int found =
      file ? ::fstat(file->get(), &info) : ::fstatat(*directory, name.name.c_str(), &info, AT_SYMLINK_NOFOLLOW);
  if (found != 0) {
    const auto failed = fail_errno("stat");
    return failed.value().code == Code::not_found ? Result<Fd>(Fd()) : failed;
  }
  if (!S_ISREG(info.st_mode) || info.st_ino != entry().inode) return Fd();
  return file;
}

/// Looked for once, and only if a file has vanished.
const std::vector<std::pair<std::uint32_t, std::uint32_t>>& ContentSource::links() {
  if (links_) return *links_;
  links_.emplace();
  for (std::uint32_t index = 0; index < entries_.size(); ++index)
    if (entries_[index].type == Type::hard_link) links_->emplace_back(entries_[index].link, index);
  std::sort(links_->begin(), links_->end());
  return *links_;
}

/// The next data between `from` and `end`, from where nothing was found before. Asks the file system for every file:
/// the blocks of xattrs, of extent trees and behind the end make up for holes in what stat(2) tells.
Result<Extent> ContentSource::find_data(std::uint64_t from, std::uint64_t end) {
  if (from >= data_.end && data_.end < extent_.end) {
    FERRY_ASSIGN(data_, find_extent(file_.get(), from, extent_.end));
  }
  return Extent{std::clamp(data_.begin, from, end), std::clamp(data_.end, from, end)};
}

/// What of the rest of the extent up to `end` is data; whole pages where pages are held.
Result<std::vector<Extent>> ContentSource::find_all_data(std::uint64_t end) {
  std::vector<Extent> all;
  for (std::uint64_t at = offset_; at < end;) {
    FERRY_ASSIGN(Extent data, find_data(at, end));
    if (data.begin == data.end) break;
    if (!want().held.empty()) {
      data.begin = std::max(at, round_down(data.begin, page_size));
      data.end = std::min(round_down(data.end + page_size - 1, page_size), end);
    }
    all.push_back(data);
    at = data.end;
  }
  return all;
}

Result<> ContentSource::read_block(std::string& out) {
  FERRY_ASSIGN(const Extent data, find_data(offset_, extent_.end));
  if (data.begin == data.end) {
    send_holes(extent_.end, out);
    end(unchanged() ? Outcome::complete : Outcome::changed, out);
    return {};
  }
  const std::uint64_t begin = round_down(data.begin, block_size);
  const std::uint64_t end_of_block = std::min(begin + block_size, extent_.end);
  FERRY_ASSIGN(const auto all, find_all_data(end_of_block));
  FERRY_TRY(fill_buffer(begin, end_of_block));
  clear_holes(begin, all);
  digest_.add(begin, buffer_);
  for (const auto& each : all) {
    send_holes(each.begin, out);
    want().held.empty() ? send_frame(each, begin, out) : send_changed_pages(each, begin, out);
    offset_ = each.end;
  }
  send_holes(end_of_block, out);
  return {};
}

/// What was written into a hole since is not sent, so it must not be in the digest either.
void ContentSource::clear_holes(std::uint64_t block, const std::vector<Extent>& data) {
  std::uint64_t at = block;
  const auto clear = [&](std::uint64_t end) {
    if (at < end) std::fill_n(buffer_.begin() + static_cast<std::ptrdiff_t>(at - block), end - at, '\0');
  };
  for (const auto& each : data) {
    clear(each.begin);
    at = each.end;
  }
  clear(block + buffer_.size());
}

/// What a file that has become shorter lacks reads as zeros.
Result<> ContentSource::fill_buffer(std::uint64_t begin, std::uint64_t end) {
  buffer_.resize(static_cast<std::size_t>(end - begin));
  for (std::size_t filled = 0; filled < buffer_.size();) {
    const ssize_t count =
        ::pread(file_.get(), buffer_.data() + filled, buffer_.size() - filled, static_cast<off_t>(begin + filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read");
    if (count == 0) std::fill(buffer_.begin() + static_cast<std::ptrdiff_t>(filled), buffer_.end(), '\0');
    filled = count == 0 ? buffer_.size() : filled + static_cast<std::size_t>(count);
  }
  return {};
}

void ContentSource::send_frame(Extent data, std::uint64_t block, std::string& out) {
  std::string head;
  Writer writer(head);
  writer.byte(static_cast<std::uint8_t>(FrameKind::data));
  writer.number(data.begin);
  const auto payload = std::string_view(buffer_).substr(data.begin - block, data.end - data.begin);
  Writer frame(out);
  frame.number(head.size() + payload.size());
  frame.raw(head);
  frame.raw(payload);
}

/// Pages of `data` that the receiver does not hold, each run of them as one frame.
void ContentSource::send_changed_pages(Extent data, std::uint64_t block, std::string& out) {
  Extent run{data.begin, data.begin};
  const auto flush = [&] {
    if (run.begin != run.end) send_frame(run, block, out);
  };
  for (std::uint64_t at = data.begin; at < data.end; at += page_size) {
    const std::uint64_t end = std::min(at + page_size, data.end);
    if (held_page(at) == page_digest(wants_.seed, std::string_view(buffer_).substr(at - block, end - at))) {
      flush();
      run = {end, end};
    } else {
      run.end = end;
    }
  }
  flush();
}

/// The digest that the receiver has of its page; 0: it has none.
std::uint64_t ContentSource::held_page(std::uint64_t offset) const {
  const auto page = static_cast<std::size_t>((offset - extent_.begin) / page_size);
  return page < want().held.size() ? want().held[page] : 0;
}

/// Tells of pages from offset_ to `end`, which are a hole, where the receiver holds something else.
void ContentSource::send_holes(std::uint64_t end, std::string& out) {
  Extent run{offset_, offset_};
  const auto flush = [&] {
    if (run.begin != run.end) append_hole(out, run);
  };
  const std::uint64_t held_end = extent_.begin + want().held.size() * page_size;
  for (std::uint64_t at = offset_; at < std::min(end, held_end); at += page_size) {
    const std::uint64_t end_of_page = std::min(at + page_size, end);
    if (held_page(at) == 0) {
      flush();
      run = {end_of_page, end_of_page};
    } else {
      run.end = end_of_page;
    }
  }
  flush();
  offset_ = std::max(offset_, end);
}

void ContentSource::end(Outcome outcome, std::string& out) {
  std::string body;
  Writer writer(body);
  writer.byte(static_cast<std::uint8_t>(FrameKind::end));
  writer.byte(static_cast<std::uint8_t>(outcome));
  writer.digest(digest_.finish());
  append_record(out, body);
  answering_ = false;
  ++at_;
  if (done() || want().entry != file_entry_) file_.reset();
}

}  // namespace ferry::sync
