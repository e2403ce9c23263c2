#include "archive/pax.h"

#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <vector>

#include "archive/acl.h"
#include "base/log.h"

namespace ferry::archive {

namespace {

constexpr std::size_t name_size = 100;  // of the fields of a header
constexpr std::size_t prefix_size = 155;
constexpr std::string_view front_matter_name = "ferry-archive";

struct Header {
  std::string_view name;
  std::string_view prefix = {};
  std::string_view link = {};
  std::uint64_t mode = 0644;
  std::uint64_t uid = 0;
  std::uint64_t gid = 0;
  std::uint64_t size = 0;
  std::uint64_t mtime = 0;
  char type = '0';
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
};

constexpr std::uint64_t most_in(std::size_t width) { return (std::uint64_t{1} << (3 * (width - 1))) - 1; }
constexpr std::uint64_t most_id = most_in(8);
constexpr std::uint64_t most_size = most_in(12);

void append_field(std::string& out, std::string_view text, std::size_t width) {
  out += text;
  out.append(width - text.size(), '\0');
}

/// Octal digits and a NUL.
void append_octal(std::string& out, std::uint64_t number, std::size_t width) {
  std::string digits(width - 1, '0');
  for (std::size_t i = digits.size(); i-- > 0; number /= 8) digits[i] = static_cast<char>('0' + number % 8);
  out += digits;
  out += '\0';
}

std::uint64_t checksum(std::string_view header) {
  return std::accumulate(header.begin(), header.end(), std::uint64_t{0},
                         [](std::uint64_t sum, char c) { return sum + static_cast<unsigned char>(c); });
}

std::string encode(const Header& header) {
  constexpr std::size_t checksum_at = 148;
  std::string out;
  append_field(out, header.name, name_size);
  append_octal(out, header.mode, 8);
  append_octal(out, header.uid, 8);
  append_octal(out, header.gid, 8);
  append_octal(out, header.size, 12);
  append_octal(out, header.mtime, 12);
  out.append(8, ' ');
  out += header.type;
  append_field(out, header.link, name_size);
  append_field(out, "ustar", 6);
  append_field(out, "00", 2);
  append_field(out, "", 32);  // no names of users and groups: they mean nothing on another host
  append_field(out, "", 32);
  append_octal(out, header.major, 8);
  append_octal(out, header.minor, 8);
  append_field(out, header.prefix, prefix_size);
  out.append(tar_block - out.size(), '\0');
  std::string sum;
  append_octal(sum, checksum(out), 7);
  return out.replace(checksum_at, sum.size(), sum);
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 128; });
}

/// Records of an extended header.
class Records {
 public:
  /// "LENGTH KEY=VALUE\n", where LENGTH counts itself.
  void add(std::string_view key, std::string_view value) {
    const std::size_t rest = key.size() + value.size() + 3;
    std::size_t length = rest + 1;
    while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
    text_ += std::to_string(length);
    text_ += ' ';
    text_ += key;
    text_ += '=';
    text_ += value;
    text_ += '\n';
  }
  /// A path, which is UTF-8 unless it is said that it may be anything.
  void add_path(std::string_view key, std::string_view path) {
    if (!is_ascii(path) && !binary_) add("hdrcharset", "BINARY");
    binary_ = binary_ || !is_ascii(path);
    add(key, path);
  }
  const std::string& text() const { return text_; }

  /// The records as a member of their own; nothing if there are none.
  std::string member(char type, std::string_view name) const {
    if (text_.empty()) return {};
    Header header{.name = name};
    header.size = text_.size();
    header.type = type;
    return encode(header) + text_ + std::string(tar_padding(text_.size()), '\0');
  }

 private:
  std::string text_;
  bool binary_ = false;
};

/// Puts a path where it fits: into the header, as it is, or into a record.
void set_path(Header& header, Records& records, std::string_view path) {
  header.name = path;
  if (path.size() <= name_size) return;
  const std::size_t slash = path.find('/', path.size() - name_size - 1);
  if (slash != std::string_view::npos && slash > 0 && slash <= prefix_size && slash + 1 < path.size()) {
    header.prefix = path.substr(0, slash);
    header.name = path.substr(slash + 1);
    return;
  }
  header.name = "././@PathInPaxHeader";
  records.add_path("path", path);
}

void set_link(Header& header, Records& records, std::string_view target) {
  header.link = target;
  if (target.size() <= name_size) return;
  header.link = "././@PathInPaxHeader";
  records.add_path("linkpath", target);
}

/// A number in its field, or where that is too small in a record.
std::uint64_t set_number(Records& records, std::string_view key, std::uint64_t number, std::uint64_t most) {
  if (number <= most) return number;
  records.add(key, std::to_string(number));
  return 0;
}

/// A decimal number: "-0.25" is a quarter of a second before 1970.
std::string decimal(const sync::Timestamp& time) {
  const bool negative = time.s < 0 && time.ns > 0;
  const std::uint32_t ns = negative ? 1'000'000'000 - time.ns : time.ns;
  std::string text = negative ? "-" + std::to_string(-(time.s + 1)) : std::to_string(time.s);
  if (ns == 0) return text;
  std::string fraction = std::to_string(1'000'000'000 + ns).substr(1);
  fraction.erase(fraction.find_last_not_of('0') + 1);
  return text + "." + fraction;
}

/// libarchive takes "-0.25" for 0.25, and "-1.25" for -0.75, so the full second before comes as the time of change, for
/// which a tar has no use.
std::uint64_t set_mtime(Records& records, const sync::Timestamp& time) {
  if (time.s < 0 && time.ns > 0) records.add("ctime", std::to_string(time.s));
  if (time.ns == 0 && time.s >= 0 && static_cast<std::uint64_t>(time.s) <= most_size)
    return static_cast<std::uint64_t>(time.s);
  records.add("mtime", decimal(time));
  return time.s < 0 ? 0 : std::min(static_cast<std::uint64_t>(time.s), most_size);
}

/// GNU tar decodes these two.
std::string escaped(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '%')
      text += "%25";
    else if (c == '=')
      text += "%3D";
    else
      text += c;
  }
  return text;
}

Result<> add_xattrs(Records& records, const sync::Entry& entry) {
  for (const auto& xattr : entry.extra().xattrs) {
    const bool is_acl = xattr.name == access_acl || xattr.name == default_acl;
    if (is_acl) {
      FERRY_ASSIGN(const auto acl, parse_acl(xattr.value));
      records.add(xattr.name == access_acl ? "SCHILY.acl.access" : "SCHILY.acl.default", to_text(acl));
      // libarchive takes two of these for one
      const auto is_large = [](const AclEntry& each) { return each.id != UINT32_MAX && each.id > INT32_MAX; };
      if (std::none_of(acl.begin(), acl.end(), is_large)) continue;
    }
    records.add("SCHILY.xattr." + escaped(xattr.name), xattr.value);
  }
  return {};
}

char type_of(sync::Type type) {
  switch (type) {
    case sync::Type::directory: return '5';
    case sync::Type::symlink: return '2';
    case sync::Type::fifo: return '6';
    case sync::Type::character_device: return '3';
    case sync::Type::block_device: return '4';
    case sync::Type::hard_link: return '1';
    case sync::Type::regular: break;
  }
  return '0';
}

/// GNU tar's sparse format 1.0. The last, empty extent tells where the file ends.
std::string map_of(std::span<const sync::Extent> data, std::uint64_t size) {
  const bool open_end = data.empty() || data.back().end < size;
  std::string map = std::to_string(data.size() + (open_end ? 1 : 0)) + "\n";
  for (const auto& extent : data)
    map += std::to_string(extent.begin) + "\n" + std::to_string(extent.end - extent.begin) + "\n";
  if (open_end) map += std::to_string(size) + "\n0\n";
  return map + std::string(tar_padding(map.size()), '\0');
}

std::uint64_t bytes_of(std::span<const sync::Extent> data) {
  return std::accumulate(data.begin(), data.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const sync::Extent& each) { return sum + each.end - each.begin; });
}

Result<std::string> join(const Records& records, const Header& header, const std::string& map) {
  if (records.text().size() > longest_records)
    return fail(Code::unsupported, "its path and extended attributes take " + std::to_string(records.text().size()) +
                                       " bytes, and tar archives have room for " + std::to_string(longest_records));
  return records.member('x', "././@PaxHeader") + encode(header) + map;
}

}  // namespace

std::string front_matter_header(std::string_view front_matter) {
  Records records;
  records.add("comment", front_matter);
  return records.member('g', front_matter_name);
}

std::optional<std::string_view> find_front_matter(std::string_view bytes, std::size_t& needed) {
  constexpr std::size_t size_at = 124, size_width = 11;
  constexpr std::string_view key = " comment=";
  needed = tar_block;
  if (bytes.size() < tar_block) return std::nullopt;
  needed = 0;
  if (!bytes.starts_with(front_matter_name) || bytes[front_matter_name.size()] != '\0') return std::nullopt;
  std::size_t size = 0;
  const char* const digits = bytes.data() + size_at;
  const auto parsed = std::from_chars(digits, digits + size_width, size, 8);
  if (parsed.ec != std::errc() || size > longest_records) return "";
  if (bytes.size() < tar_block + size) {
    needed = tar_block + size;
    return std::nullopt;
  }
  const std::string_view record = bytes.substr(tar_block, size);
  const std::string start = std::to_string(size) + std::string(key);
  if (!record.starts_with(start) || record.back() != '\n') return "";
  return record.substr(start.size(), size - start.size() - 1);
}

Result<std::string> member_header(std::string_view path, const sync::Entry& entry, std::span<const sync::Extent> data) {
  Header header;
  Records records;
  std::string map, sparse_name;
  header.type = type_of(entry.type);
  header.mode = entry.mode;
  header.uid = set_number(records, "uid", entry.uid, most_id);
  header.gid = set_number(records, "gid", entry.gid, most_id);
  header.mtime = set_mtime(records, entry.mtime());
  header.major = major(entry.extra().device);
  header.minor = minor(entry.extra().device);
  if (entry.type == sync::Type::symlink) set_link(header, records, entry.extra().target);
  std::uint64_t size = entry.size;
  if (bytes_of(data) < size) {
    // A tar that knows nothing of maps must not write one where the file should be.
    constexpr std::size_t longest = 80;
    sparse_name = "./GNUSparseFile.0/" + std::string(path.substr(path.rfind('/') + 1).substr(0, longest));
    header.name = sparse_name;
    records.add("GNU.sparse.major", "1");
    records.add("GNU.sparse.minor", "0");
    records.add_path("GNU.sparse.name", path);
    records.add("GNU.sparse.realsize", std::to_string(size));
    map = map_of(data, size);
    size = map.size() + bytes_of(data);
  } else {
    set_path(header, records, path);
  }
  header.size = set_number(records, "size", size, most_size);
  FERRY_TRY(add_xattrs(records, entry));
  return join(records, header, map);
}

Result<std::string> link_header(std::string_view path, std::string_view first) {
  Header header;
  Records records;
  header.type = type_of(sync::Type::hard_link);
  set_path(header, records, path);
  set_link(header, records, first);
  return join(records, header, {});
}

std::string plain_header(std::string_view name, std::uint64_t size) {
  Header header{.name = name};
  Records records;
  header.size = set_number(records, "size", size, most_size);
  return records.member('x', "././@PaxHeader") + encode(header);
}

}  // namespace ferry::archive
