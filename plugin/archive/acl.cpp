#include "archive/acl.h"

#include <algorithm>
#include <tuple>

namespace ferry::archive {

namespace {

constexpr std::uint32_t version = 2;
constexpr std::size_t header_size = 4;
constexpr std::size_t entry_size = 8;

/// Little-endian.
std::uint32_t number_at(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < size; ++i) number |= std::uint32_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
  return number;
}

void append_number(std::string& out, std::uint32_t number, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) out += static_cast<char>(number >> (8 * i));
}

std::string_view name_of(std::uint16_t tag) {
  switch (tag) {
    case AclEntry::user_obj:
    case AclEntry::user: return "user";
    case AclEntry::group_obj:
    case AclEntry::group: return "group";
    case AclEntry::mask: return "mask";
    case AclEntry::other: return "other";
    default: return "";
  }
}

bool has_id(std::uint16_t tag) { return tag == AclEntry::user || tag == AclEntry::group; }

}  // namespace

Result<std::vector<AclEntry>> parse_acl(std::string_view xattr) {
  const auto refuse = [] { return fail(Code::unsupported, "its ACL is of a form that Ferry does not know"); };
  if (xattr.size() < header_size || (xattr.size() - header_size) % entry_size != 0) return refuse();
  if (number_at(xattr, 0, 4) != version) return refuse();
  std::vector<AclEntry> acl;
  for (std::size_t at = header_size; at < xattr.size(); at += entry_size) {
    AclEntry entry;
    entry.tag = static_cast<std::uint16_t>(number_at(xattr, at, 2));
    entry.permissions = static_cast<std::uint16_t>(number_at(xattr, at + 2, 2));
    if (name_of(entry.tag).empty() || entry.permissions > 7) return refuse();
    if (has_id(entry.tag)) entry.id = number_at(xattr, at + 4, 4);
    acl.push_back(entry);
  }
  return acl;
}

std::string to_xattr(std::vector<AclEntry> acl) {
  std::sort(acl.begin(), acl.end(),
            [](const AclEntry& a, const AclEntry& b) { return std::tie(a.tag, a.id) < std::tie(b.tag, b.id); });
  std::string xattr;
  append_number(xattr, version, 4);
  for (const auto& entry : acl) {
    append_number(xattr, entry.tag, 2);
    append_number(xattr, entry.permissions, 2);
    append_number(xattr, entry.id, 4);
  }
  return xattr;
}

std::string to_text(const std::vector<AclEntry>& acl) {
  std::string text;
  for (const auto& entry : acl) {
    if (!text.empty()) text += ',';
    text += name_of(entry.tag);
    text += ':';
    if (has_id(entry.tag)) text += std::to_string(entry.id);
    text += ':';
    text += (entry.permissions & 4) != 0 ? 'r' : '-';
    text += (entry.permissions & 2) != 0 ? 'w' : '-';
    text += (entry.permissions & 1) != 0 ? 'x' : '-';
  }
  return text;
}

}  // namespace ferry::archive
