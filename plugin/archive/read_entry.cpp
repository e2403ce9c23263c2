#include "archive/read_entry.h"

#include <grp.h>
#include <linux/limits.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>

#include "archive/acl.h"
#include "base/log.h"
#include "base/time.h"

namespace ferry::archive {

namespace {

constexpr std::int64_t second = 1'000'000'000;  // in nanoseconds

/// See set_mtime() in pax.cpp.
sync::Timestamp mtime_of(::archive_entry* from, Origin origin) {
  if (::archive_entry_mtime_is_set(from) == 0) {
    const std::int64_t now = realtime_ns();
    return {now / second, static_cast<std::uint32_t>(now % second)};
  }
  std::int64_t s = ::archive_entry_mtime(from);
  auto ns = static_cast<std::uint32_t>(::archive_entry_mtime_nsec(from));
  const bool marked = origin == Origin::ferry && ::archive_entry_ctime_is_set(from) != 0;
  if (ns > 0 && (s < 0 || marked)) {
    s -= 1;
    ns = second - ns;
  }
  return {s, ns};
}

/// "%25" is '%': GNU tar escapes this and '=', libarchive more.
std::string unescaped(std::string_view name) {
  std::string text;
  for (std::size_t at = 0; at < name.size(); ++at) {
    unsigned char byte = 0;
    const char* const digits = name.data() + at + 1;
    if (name[at] == '%' && at + 2 < name.size() && std::from_chars(digits, digits + 2, byte, 16).ptr == digits + 2) {
      text += static_cast<char>(byte);
      at += 2;
    } else {
      text += name[at];
    }
  }
  return text;
}

/// The number of a user or group of that name on this system; none if there is none.
std::optional<std::uint32_t> look_up(std::uint16_t tag, const std::string& name) {
  std::string buffer(1U << 16, '\0');
  if (tag == AclEntry::user) {
    struct passwd record {};
    struct passwd* found = nullptr;
    ::getpwnam_r(name.c_str(), &record, buffer.data(), buffer.size(), &found);
    return found != nullptr ? std::optional(found->pw_uid) : std::nullopt;
  }
  struct group record {};
  struct group* found = nullptr;
  ::getgrnam_r(name.c_str(), &record, buffer.data(), buffer.size(), &found);
  return found != nullptr ? std::optional(found->gr_gid) : std::nullopt;
}

/// Of an entry of an ACL. What does not fit into an int has come as INT_MAX, and with its digits as the name. GNU tar
/// writes names only, and looks them up again where it extracts them.
Result<std::uint32_t> id_of(std::uint16_t tag, int number, const char* name, bool& looked_up) {
  if (number >= 0 && (number < INT32_MAX || name == nullptr)) return static_cast<std::uint32_t>(number);
  const std::string text = name == nullptr ? "" : name;
  std::uint32_t id = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), id);
  if (!text.empty() && parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) return id;
  looked_up = true;
  if (const auto found = look_up(tag, text)) return *found;
  return fail(Code::unsupported, "its ACL names " + quote(text) + " without a number, and nobody here has that name");
}

std::uint16_t tag_of(int tag) {
  switch (tag) {
    case ARCHIVE_ENTRY_ACL_USER_OBJ: return AclEntry::user_obj;
    case ARCHIVE_ENTRY_ACL_USER: return AclEntry::user;
    case ARCHIVE_ENTRY_ACL_GROUP_OBJ: return AclEntry::group_obj;
    case ARCHIVE_ENTRY_ACL_GROUP: return AclEntry::group;
    case ARCHIVE_ENTRY_ACL_MASK: return AclEntry::mask;
    default: return AclEntry::other;
  }
}

/// Empty if it has none of that type.
Result<std::vector<AclEntry>> acl_of(::archive_entry* from, int wanted, bool& looked_up) {
  std::vector<AclEntry> acl;
  ::archive_entry_acl_reset(from, wanted);
  int type = 0, permissions = 0, tag = 0, number = 0;
  const char* name = nullptr;
  while (::archive_entry_acl_next(from, wanted, &type, &permissions, &tag, &number, &name) == ARCHIVE_OK) {
    AclEntry entry;
    entry.tag = tag_of(tag);
    entry.permissions = static_cast<std::uint16_t>(permissions & 7);
    if (entry.tag == AclEntry::user || entry.tag == AclEntry::group) {
      FERRY_ASSIGN(entry.id, id_of(entry.tag, number, name, looked_up));
    }
    acl.push_back(entry);
  }
  return acl;
}

using Xattrs = std::map<std::string, std::string>;  // sorted, and each once

Result<> add_acls(::archive_entry* from, Xattrs& xattrs, bool& looked_up) {
  if ((::archive_entry_acl_types(from) & ARCHIVE_ENTRY_ACL_TYPE_NFS4) != 0)
    return fail(Code::unsupported, "it has an NFSv4 ACL, which this system does not know");
  for (const auto& [type, xattr] :
       {std::pair(ARCHIVE_ENTRY_ACL_TYPE_ACCESS, access_acl), std::pair(ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, default_acl)}) {
    FERRY_ASSIGN(auto acl, acl_of(from, type, looked_up));
    if (!acl.empty()) xattrs.emplace(xattr, to_xattr(std::move(acl)));
  }
  return {};
}

Result<sync::Xattrs> xattrs_of(::archive_entry* from, bool& looked_up) {
  Xattrs xattrs;
  ::archive_entry_xattr_reset(from);
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  while (::archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
    const std::string unescaped_name = unescaped(name);
    if (unescaped_name.size() > XATTR_NAME_MAX || size > XATTR_SIZE_MAX)
      return fail(Code::corrupt, "its xattr " + quote(unescaped_name.substr(0, XATTR_NAME_MAX)) + " has " +
                                     std::to_string(size) + " bytes; Linux has " + std::to_string(XATTR_SIZE_MAX) +
                                     " at most, and names of " + std::to_string(XATTR_NAME_MAX));
    if (sync::is_copied(unescaped_name))
      xattrs.insert_or_assign(unescaped_name, std::string(static_cast<const char*>(value), size));
  }
  FERRY_TRY(add_acls(from, xattrs, looked_up));
  std::vector<sync::Xattr> sorted;
  for (auto& [key, bytes] : xattrs) sorted.push_back({key, std::move(bytes)});
  return sync::Xattrs(std::move(sorted));
}

/// Where there is an access ACL, the group's bits are its mask; libarchive has made them the group's own.
std::uint16_t mode_of(::archive_entry* from, const sync::Xattrs& xattrs) {
  auto mode = static_cast<std::uint16_t>(::archive_entry_perm(from) & 07777);
  for (const auto& xattr : xattrs) {
    const auto acl = xattr.name == access_acl ? parse_acl(xattr.value) : std::vector<AclEntry>();
    if (!acl) continue;  // then it cannot be set
    for (const auto& entry : *acl)
      if (entry.tag == AclEntry::mask) mode = static_cast<std::uint16_t>((mode & ~070) | (entry.permissions << 3));
  }
  return mode;
}

std::optional<sync::Type> type_of(unsigned filetype) {
  switch (filetype) {
    case AE_IFREG: return sync::Type::regular;
    case AE_IFDIR: return sync::Type::directory;
    case AE_IFLNK: return sync::Type::symlink;
    case AE_IFIFO: return sync::Type::fifo;
    case AE_IFCHR: return sync::Type::character_device;
    case AE_IFBLK: return sync::Type::block_device;
    default: return std::nullopt;
  }
}

Result<> read_owner(::archive_entry* from, sync::Entry& entry) {
  constexpr std::int64_t most = UINT32_MAX - 1;  // the next means "leave alone" to chown(2)
  const std::int64_t uid = ::archive_entry_uid(from), gid = ::archive_entry_gid(from);
  if (uid < 0 || uid > most || gid < 0 || gid > most)
    return fail(Code::corrupt, "its owner is " + std::to_string(uid) + ":" + std::to_string(gid));
  entry.uid = static_cast<std::uint32_t>(uid);
  entry.gid = static_cast<std::uint32_t>(gid);
  return {};
}

Result<> read_size(::archive_entry* from, ReadEntry& read) {
  const std::int64_t size = ::archive_entry_size(from);
  if (size < 0) return fail(Code::corrupt, "its size is below zero");
  read.entry.size = read.data = static_cast<std::uint64_t>(size);
  if (::archive_entry_sparse_reset(from) == 0) return {};
  std::int64_t offset = 0, length = 0;
  read.data = 0;
  while (::archive_entry_sparse_next(from, &offset, &length) == ARCHIVE_OK)
    read.data += static_cast<std::uint64_t>(length);
  return {};
}

}  // namespace

Result<ReadEntry> read_entry(::archive_entry* from, Origin origin) {
  ReadEntry read;
  const char* path = ::archive_entry_pathname(from);
  if (path != nullptr) read.path = path;
  if (const char* link = ::archive_entry_hardlink(from)) read.hard_link = link;
  const unsigned filetype = ::archive_entry_filetype(from);
  read.is_socket = filetype == AE_IFSOCK;
  if (read.is_socket) return read;
  const auto type = filetype == 0 && !read.hard_link.empty() ? sync::Type::regular : type_of(filetype);
  if (!type) return fail(Code::unsupported, "it is of no type that Ferry knows");
  read.entry.type = *type;
  FERRY_TRY(read_owner(from, read.entry));
  read.entry.set_mtime(mtime_of(from, origin));
  if (*type == sync::Type::regular) FERRY_TRY(read_size(from, read));
  sync::Extra extra;
  FERRY_ASSIGN(extra.xattrs, xattrs_of(from, read.looked_up));
  read.entry.mode = mode_of(from, extra.xattrs) & 07777;
  if (*type == sync::Type::character_device || *type == sync::Type::block_device)
    extra.device = ::archive_entry_rdev(from);
  if (*type == sync::Type::symlink) {
    const char* target = ::archive_entry_symlink(from);
    if (target == nullptr || *target == '\0') return fail(Code::corrupt, "it is a symlink to nothing");
    extra.target = target;
  }
  read.entry.set_extra(std::move(extra));
  return read;
}

Result<std::vector<std::string_view>> names_of(std::string_view path) {
  constexpr std::size_t longest = 255;
  if (path.empty()) return fail(Code::corrupt, "its name is empty");
  if (path.front() == '/') return fail(Code::corrupt, "its path is absolute");
  std::vector<std::string_view> names;
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    if (name.empty() || name == ".") continue;
    if (name == "..") return fail(Code::corrupt, "its path has a \"..\"");
    if (name.size() > longest) return fail(Code::corrupt, "its path has a name of more than 255 bytes");
    names.push_back(name);
  }
  return names;
}

}  // namespace ferry::archive
