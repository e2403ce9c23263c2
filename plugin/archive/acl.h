#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

/// POSIX ACLs as the kernel gives them (an xattr's value, linux/posix_acl_xattr.h) and as tar archives have them (the
/// short text form of acl(5) with numbers for names).
namespace ferry::archive {

constexpr std::string_view access_acl = "system.posix_acl_access";
constexpr std::string_view default_acl = "system.posix_acl_default";

struct AclEntry {
  enum Tag : std::uint16_t { user_obj = 1, user = 2, group_obj = 4, group = 8, mask = 16, other = 32 };
  std::uint16_t tag = 0;
  std::uint16_t permissions = 0;  ///< 4 read, 2 write, 1 execute
  std::uint32_t id = UINT32_MAX;  ///< of `user` and `group` only
};

/// Code::unsupported if it is no such value.
Result<std::vector<AclEntry>> parse_acl(std::string_view xattr);

/// In the kernel's order, whatever the order of `acl`.
std::string to_xattr(std::vector<AclEntry> acl);

/// "user::rwx,user:7:r--,group::r-x,mask::r-x,other::r-x"
std::string to_text(const std::vector<AclEntry>& acl);

}  // namespace ferry::archive
