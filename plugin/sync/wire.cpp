#include "sync/wire.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace ferry::sync {

namespace {

constexpr std::size_t longest_number = 10;  // 64 bits, 7 in a byte

}  // namespace

void Writer::number(std::uint64_t value) {
  std::array<char, longest_number> bytes;
  std::size_t count = 0;
  for (; value >= 0x80; value >>= 7) bytes[count++] = static_cast<char>(value | 0x80);
  bytes[count++] = static_cast<char>(value);
  out_.append(bytes.data(), count);
}

void Writer::signed_number(std::int64_t value) {
  number((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void Writer::string(std::string_view value) {
  number(value.size());
  raw(value);
}

void Writer::fixed64(std::uint64_t value) {
  for (int i = 0; i < 8; ++i) byte(static_cast<std::uint8_t>(value >> (8 * i)));
}

void Writer::digest(const Digest& value) { out_.append(reinterpret_cast<const char*>(value.data()), value.size()); }

std::string_view Reader::take(std::size_t count) {
  if (!ok_ || count > in_.size()) {
    ok_ = false;
    return {};
  }
  const std::string_view taken = in_.substr(0, count);
  in_.remove_prefix(count);
  return taken;
}

std::uint8_t Reader::byte() {
  const auto taken = take(1);
  return taken.empty() ? std::uint8_t{0} : static_cast<std::uint8_t>(taken[0]);
}

std::uint64_t Reader::number() {
  std::uint64_t value = 0;
  const std::size_t longest = std::min(in_.size(), longest_number);
  for (std::size_t i = 0; i < longest && ok_; ++i) {
    const auto part = static_cast<std::uint8_t>(in_[i]);
    if (i == longest_number - 1 && part > 1) break;  // more than 64 bits
    value |= static_cast<std::uint64_t>(part & 0x7f) << (7 * i);
    if ((part & 0x80) != 0) continue;
    in_.remove_prefix(i + 1);
    return value;
  }
  ok_ = false;
  return 0;
}

std::uint32_t Reader::number32() {
  const std::uint64_t value = number();
  if (value <= std::numeric_limits<std::uint32_t>::max()) return static_cast<std::uint32_t>(value);
  ok_ = false;
  return 0;
}

std::int64_t Reader::signed_number() {
  const std::uint64_t value = number();
  return static_cast<std::int64_t>(value >> 1) ^ -static_cast<std::int64_t>(value & 1);
}

std::string_view Reader::string(std::size_t longest) {
  const std::uint64_t length = number();
  if (length > longest) ok_ = false;
  return take(static_cast<std::size_t>(length));
}

std::uint64_t Reader::fixed64() {
  std::uint64_t value = 0;
  const std::string_view bytes = take(8);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

Digest Reader::digest() {
  Digest value{};
  const auto taken = take(value.size());
  if (taken.size() == value.size()) std::memcpy(value.data(), taken.data(), taken.size());
  return value;
}

std::string_view Reader::rest() { return take(in_.size()); }

void append_record(std::string& out, std::string_view body) {
  Writer writer(out);
  writer.string(body);
}

namespace {

enum class Prefix { complete, incomplete, invalid };

/// Decodes a record's length prefix; `length` is the body's, `size` the prefix's own.
Prefix decode_prefix(std::string_view bytes, std::uint64_t& length, std::size_t& size) {
  constexpr std::size_t longest_prefix = 5;  // records are far below 2^35 bytes
  length = 0;
  for (size = 0; size < bytes.size() && size < longest_prefix;) {
    const auto part = static_cast<std::uint8_t>(bytes[size]);
    length |= static_cast<std::uint64_t>(part & 0x7f) << (7 * size);
    ++size;
    if ((part & 0x80) == 0) return Prefix::complete;
  }
  return size == longest_prefix ? Prefix::invalid : Prefix::incomplete;
}

}  // namespace

/// Handles the complete records at the start of `bytes` and returns how many bytes they took.
Result<std::size_t> RecordDecoder::consume(std::string_view bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    std::uint64_t length = 0;
    std::size_t prefix = 0;
    const Prefix state = decode_prefix(bytes.substr(done), length, prefix);
    if (state == Prefix::incomplete) break;
    if (state == Prefix::invalid || length > longest_)
      return fail(Code::corrupt,
                  "the peer sent a record longer than the " + std::to_string(longest_) + " bytes allowed");
    if (bytes.size() - done - prefix < length) break;
    FERRY_TRY(handler_(bytes.substr(done + prefix, static_cast<std::size_t>(length))));
    done += prefix + static_cast<std::size_t>(length);
  }
  return done;
}

Result<> RecordDecoder::feed(std::string_view bytes) {
  if (pending_.empty()) {
    FERRY_ASSIGN(const std::size_t done, consume(bytes));
    pending_.assign(bytes.substr(done));
    return {};
  }
  pending_.append(bytes);
  FERRY_ASSIGN(const std::size_t done, consume(pending_));
  pending_.erase(0, done);
  return {};
}

Result<> RecordDecoder::finish() const {
  if (!pending_.empty()) return fail(Code::corrupt, "the peer's answer ended in the middle of a record");
  return {};
}

}  // namespace ferry::sync
