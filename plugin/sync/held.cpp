#include "sync/held.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ferry::sync {

Result<HeldExtent> HeldExtent::read(Fd old, const Extent& extent, std::uint64_t seed) {
  HeldExtent held(std::move(old), extent);
  Extent data{extent.begin, extent.begin};
  for (std::uint64_t begin = extent.begin; begin < extent.end; begin += block_size) {
    if (data.end <= begin) {
      FERRY_ASSIGN(data, find_extent(held.old_.get(), begin, extent.end));
    }
    held.terms_.push_back({});
    if (data.begin >= begin + block_size) {  // also behind its end
      const std::uint64_t end = std::min(begin + block_size, extent.end);
      held.pages_.insert(held.pages_.end(), static_cast<std::size_t>((end - begin + page_size - 1) / page_size), 0);
      continue;
    }
    FERRY_TRY(held.read_block(begin));
    held.terms_.back() = block_term(begin, held.buffer_);
    FERRY_TRY(held.add_pages(begin, seed, data));
  }
  while (!held.pages_.empty() && held.pages_.back() == 0) held.pages_.pop_back();
  held.buffer_ = std::string();  // there may be many
  return held;
}

/// What is behind the end of the file reads as zeros.
Result<> HeldExtent::read_block(std::uint64_t begin) {
  buffer_.assign(static_cast<std::size_t>(std::min(begin + block_size, extent_.end) - begin), '\0');
  for (std::size_t filled = 0; filled < buffer_.size();) {
    const ssize_t count =
        ::pread(old_.get(), buffer_.data() + filled, buffer_.size() - filled, static_cast<off_t>(begin + filled));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read the older version");
    if (count == 0) break;
    filled += static_cast<std::size_t>(count);
  }
  return {};
}

/// Those of the block in the buffer. `data` is the extent of data that the block begins in or has before it, and moves
/// on.
Result<> HeldExtent::add_pages(std::uint64_t begin, std::uint64_t seed, Extent& data) {
  const std::uint64_t end = begin + buffer_.size();
  for (std::uint64_t at = begin; at < end; at += page_size) {
    if (data.end <= at) {
      FERRY_ASSIGN(data, find_extent(old_.get(), at, extent_.end));
    }
    const std::uint64_t end_of_page = std::min(at + page_size, end);
    const bool is_data = data.begin < end_of_page && data.begin < data.end;
    pages_.push_back(is_data ? page_digest(seed, std::string_view(buffer_).substr(at - begin, end_of_page - at)) : 0);
  }
  return {};
}

Result<> HeldExtent::data(std::uint64_t offset, std::string_view bytes) {
  patch_.add({offset, offset + bytes.size()}, false);
  return change(offset, bytes.size(), bytes.data());
}

Result<> HeldExtent::hole(const Extent& hole) {
  punched_ += hole.end - hole.begin;
  patch_.add(hole, true);
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
