#include "engine/tar_entries.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace ferry::engine {

namespace {

// tar(5), "POSIX ustar Archives".
constexpr std::size_t block = 512;
constexpr std::size_t name_at = 0, name_size = 100;
constexpr std::size_t size_at = 124, size_size = 12;
constexpr std::size_t checksum_at = 148, checksum_size = 8;
constexpr std::size_t kind_at = 156;
constexpr std::size_t magic_at = 257;
constexpr std::size_t prefix_at = 345, prefix_size = 155;
constexpr std::size_t most_held = 1U << 20;

/// A field that ends with a NUL, or is full.
std::string text_of(std::string_view field) { return std::string(field.substr(0, field.find('\0'))); }

/// In octal; or, what GNU has for large ones, in base 256 with the highest bit set.
Result<std::uint64_t> number_of(std::string_view field) {
  std::uint64_t number = 0;
  if ((static_cast<unsigned char>(field[0]) & 0x80U) != 0) {
    for (std::size_t i = field.size() - 8; i < field.size(); ++i)
      number = number << 8U | static_cast<unsigned char>(field[i]);
    return number;
  }
  const auto begin = std::min(field.find_first_not_of(' '), field.size());
  const auto [end, error] = std::from_chars(field.data() + begin, field.data() + field.size(), number, 8);
  const bool ends = end == field.data() + field.size() || *end == ' ' || *end == '\0';
  if (!ends) return fail(Code::corrupt, "a header of the tar archive has no number where one should be");
  return number;
}

std::uint64_t sum_of(std::string_view header) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block; ++i)
    sum += i - checksum_at < checksum_size ? ' ' : static_cast<unsigned char>(header[i]);
  return sum;
}

/// One record of a pax header, "LENGTH KEY=VALUE\n", which it takes off `records`; empty key: there is none.
std::pair<std::string_view, std::string_view> take_record(std::string_view& records) {
  std::size_t size = 0;
  const auto [end, error] = std::from_chars(records.data(), records.data() + records.size(), size);
  const auto head = static_cast<std::size_t>(end - records.data()) + 1;
  if (error != std::errc{} || size > records.size() || head >= size) return {};
  const auto record = records.substr(head, size - head - 1);
  records.remove_prefix(size);
  const auto equals = record.find('=');
  if (equals == std::string_view::npos) return {};
  return {record.substr(0, equals), record.substr(equals + 1)};
}

}  // namespace

Result<> TarEntries::add(std::string_view piece, const Taker& taker) {
  while (!piece.empty()) {
    if (content_left_ + padding_left_ != 0) {
      const auto blocks = piece.substr(0, std::min<std::uint64_t>(piece.size(), content_left_ + padding_left_));
      const auto content = blocks.substr(0, std::min<std::uint64_t>(blocks.size(), content_left_));
      content_left_ -= content.size();
      padding_left_ -= blocks.size() - content.size();
      piece.remove_prefix(blocks.size());
      if (!in_extension_) {
        FERRY_TRY(taker({name_, blocks, content}));
        continue;
      }
      held_ += blocks;
      extension_ += content;
      if (content_left_ + padding_left_ == 0) FERRY_TRY(take_extension());
      continue;
    }
    const auto part = piece.substr(0, block - header_.size());
    header_ += part;
    piece.remove_prefix(part.size());
    if (header_.size() == block) FERRY_TRY(take_header(taker));
  }
  return {};
}

Result<> TarEntries::take_header(const Taker& taker) {
  const std::string header = std::exchange(header_, {});
  if (header.find_first_not_of('\0') == std::string::npos) {
    name_.clear();
    return taker({name_, header, {}});
  }
  const std::string_view fields = header;
  FERRY_ASSIGN(const std::uint64_t sum, number_of(fields.substr(checksum_at, checksum_size)));
  if (sum != sum_of(header)) return fail(Code::corrupt, "what should be a tar archive is none");
  FERRY_ASSIGN(std::uint64_t size, number_of(fields.substr(size_at, size_size)));
  kind_ = header[kind_at];
  in_extension_ = kind_ == 'x' || kind_ == 'g' || kind_ == 'L' || kind_ == 'K';
  if (!in_extension_ && std::exchange(has_long_size_, false)) size = long_size_;
  constexpr std::uint64_t largest = std::uint64_t{1} << 62U;
  if (size > largest || (in_extension_ && held_.size() + size > most_held))
    return fail(Code::corrupt, "an entry of the tar archive is too large");
  content_left_ = size;
  padding_left_ = (block - size % block) % block;
  held_ += header;
  if (in_extension_) return size == 0 ? take_extension() : Result<>();
  name_ = text_of(fields.substr(name_at, name_size));
  const std::string prefix = fields.substr(magic_at, 6) == std::string_view("ustar\0", 6)
                                 ? text_of(fields.substr(prefix_at, prefix_size))
                                 : "";
  if (!prefix.empty()) name_ = prefix + "/" + name_;
  if (!long_name_.empty()) name_ = std::exchange(long_name_, {});
  const std::string blocks = std::exchange(held_, {});
  return taker({name_, blocks, {}});
}

/// What it says of the next entry, as far as that matters here. A global one is taken for one of the next entry, which
/// writers of names and sizes do not use it for.
Result<> TarEntries::take_extension() {
  in_extension_ = false;
  const std::string content = std::exchange(extension_, {});
  if (kind_ == 'L') long_name_ = text_of(content);
  if (kind_ != 'x') return {};
  std::string_view records = content;
  while (!records.empty()) {
    const auto [key, value] = take_record(records);
    if (key.empty()) return fail(Code::corrupt, "a pax header of the tar archive cannot be read");
    if (key == "path") long_name_ = value;
    if (key != "size") continue;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), long_size_);
    if (error != std::errc{} || end != value.data() + value.size())
      return fail(Code::corrupt, "a pax header of the tar archive has no size where one should be");
    has_long_size_ = true;
  }
  return {};
}

}  // namespace ferry::engine
