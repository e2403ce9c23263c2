#include "sync/held.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ferry::sync {

namespace {

/// What is behind the end of the file is left as it is.
Result<> read_range(int file, const Extent& range, char* to) {
  for (std::uint64_t at = range.begin; at < range.end;) {
    const ssize_t count = ::pread(file, to, static_cast<std::size_t>(range.end - at), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read the older version");
    if (count == 0) break;
    at += static_cast<std::uint64_t>(count);
    to += count;
  }
  return {};
}

}  // namespace

/// Tells where a file has data, for ranges in ascending order.
class HeldExtent::DataFinder {
 public:
  /// No file has none.
  DataFinder(int file, const Extent& extent) : file_(file), end_(extent.end), data_{extent.begin, extent.begin} {}

  Result<bool> any_in(const Extent& range) {
    if (file_ < 0) return false;
    if (data_.end <= range.begin) {
      FERRY_ASSIGN(data_, find_extent(file_, range.begin, end_));
    }
    return data_.begin < range.end && data_.begin < data_.end;
  }

 private:
  int file_;
  std::uint64_t end_;
  Extent data_;
};

Result<HeldExtent> HeldExtent::read(Fd old, const Extent& extent, std::uint64_t seed, Fd received) {
  thread_local std::string buffer;  // the same for many: between what they keep, each would leave a gap of its size
  HeldExtent held(std::move(old), std::move(received), extent);
  held.buffer_.swap(buffer);
  DataFinder old_data(held.old_.get(), extent);
  DataFinder received_data(held.received_.get(), extent);
  for (std::uint64_t begin = extent.begin; begin < extent.end; begin += block_size)
    FERRY_TRY(held.add_block(begin, seed, old_data, received_data));
  while (!held.pages_.empty() && held.pages_.back() == 0) held.pages_.pop_back();
  held.buffer_.swap(buffer);
  return held;
}

Result<> HeldExtent::add_block(std::uint64_t begin, std::uint64_t seed, DataFinder& old, DataFinder& received) {
  const Extent block = block_at(begin);
  terms_.push_back({});
  FERRY_ASSIGN(const bool in_old, old.any_in(block));
  FERRY_ASSIGN(const bool in_received, received.any_in(block));
  if (!in_old && !in_received) {  // also behind its end
    pages_.insert(pages_.end(), static_cast<std::size_t>((block.end - begin + page_size - 1) / page_size), 0);
    return {};
  }
  FERRY_TRY(read_block(begin));
  std::string newer;
  if (in_received) {
    newer.assign(buffer_.size(), '\0');
    FERRY_TRY(read_range(received_.get(), block, newer.data()));
  }
  for (std::uint64_t at = begin; at < block.end; at += page_size) {
    const Extent page{at, std::min(at + page_size, block.end)};
    const std::size_t offset = static_cast<std::size_t>(at - begin);
    const std::size_t length = static_cast<std::size_t>(page.end - at);
    FERRY_ASSIGN(bool is_data, old.any_in(page));
    FERRY_ASSIGN(const bool came, received.any_in(page));
    if (came && (!is_data || std::memcmp(buffer_.data() + offset, newer.data() + offset, length) != 0)) {
      std::memcpy(buffer_.data() + offset, newer.data() + offset, length);
      kept_.add(page, false);
      is_data = true;
    }
    pages_.push_back(is_data ? page_digest(seed, std::string_view(buffer_).substr(offset, length)) : 0);
  }
  terms_.back() = block_term(begin, buffer_);
  return {};
}

/// What is behind the end of the file reads as zeros.
Result<> HeldExtent::read_block(std::uint64_t begin) {
  const Extent block = block_at(begin);
  buffer_.assign(static_cast<std::size_t>(block.end - begin), '\0');
  FERRY_TRY(read_range(old_.get(), block, buffer_.data()));
  for (const auto& [kept, hole] : kept_.changes()) {
    const Extent here{std::max(kept.begin, begin), std::min(kept.end, block.end)};
    if (here.begin < here.end) FERRY_TRY(read_range(received_.get(), here, buffer_.data() + (here.begin - begin)));
  }
  return {};
}

Result<> HeldExtent::data(std::uint64_t offset, std::string_view bytes) {
  changes_.add({offset, offset + bytes.size()}, false);
  return change(offset, bytes.size(), bytes.data());
}

Result<> HeldExtent::hole(const Extent& hole) {
  punched_ += hole.end - hole.begin;
  changes_.add(hole, true);
  return change(hole.begin, hole.end - hole.begin, nullptr);
}

Result<> HeldExtent::change(std::uint64_t offset, std::uint64_t length, const char* bytes) {
  while (length != 0) {
    const std::uint64_t at = offset % block_size;
    const std::uint64_t piece = std::min(length, block_size - at);
    if (block_ != offset - at) {
      end_block();
      FERRY_TRY(read_block(offset - at));
      block_ = offset - at;
    }
    if (bytes == nullptr) {
      std::memset(buffer_.data() + at, 0, piece);
    } else {
      std::memcpy(buffer_.data() + at, bytes, piece);
      bytes += piece;
    }
    offset += piece;
    length -= piece;
  }
  return {};
}

Patch HeldExtent::patch() const {
  Patch patch;
  std::uint64_t covered = extent_.begin;
  const auto keep = [&](const Extent& range) {
    const std::uint64_t begin = std::max(covered, range.begin);
    if (begin < range.end) patch.add({begin, range.end}, false);
  };
  auto kept = kept_.changes().begin();
  const auto last = kept_.changes().end();
  for (const auto& change : changes_.changes()) {
    for (; kept != last && kept->range.end <= change.range.begin; ++kept) keep(kept->range);
    if (kept != last) keep({kept->range.begin, std::min(kept->range.end, change.range.begin)});
    patch.add(change.range, change.hole);
    covered = change.range.end;
  }
  for (; kept != last; ++kept) keep(kept->range);
  return patch;
}

std::uint64_t HeldExtent::bytes() const {
  std::uint64_t bytes = 0;
  for (std::size_t page = 0; page < pages_.size(); ++page)
    if (pages_[page] != 0) bytes += std::min(page_size, extent_.end - extent_.begin - page * page_size);
  return bytes - std::min(bytes, punched_);
}

void HeldExtent::end_block() {
  if (block_) term(*block_) = block_term(*block_, buffer_);
  block_.reset();
}

Digest HeldExtent::finish() {
  end_block();
  Digest digest{};
  for (const auto& each : terms_) digest = add(digest, each);
  return digest;
}

}  // namespace ferry::sync
