#include "sync/entry.h"

#include "base/log.h"

namespace ferry::sync {

namespace {

constexpr std::size_t longest_name = 255;

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= longest_name && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

tl::unexpected<Error> refuse(const Entry& entry, const std::string& why) {
  return fail(Code::corrupt, "the peer's manifest is refused: entry " + quote(entry.name) + " " + why);
}

}  // namespace

bool is_copied(std::string_view xattr) { return xattr != "trusted.SGI_ACL_FILE" && xattr != "trusted.SGI_ACL_DEFAULT"; }

bool is_stable(std::uint64_t ctime_ns, std::uint64_t stable_before_ns) {
  constexpr std::uint64_t second = 1'000'000'000;
  const std::uint64_t granularity = ctime_ns % second == 0 ? 2 * second : 0;
  return ctime_ns < stable_before_ns && stable_before_ns - ctime_ns > granularity;
}

Result<> EntryChecker::check(const Entry& entry) {
  if (types_.empty()) {
    if (!entry.name.empty() || entry.parent != 0 || entry.type != Type::directory)
      return refuse(entry, "is not the root directory");
    types_.push_back(entry.type);
    return {};
  }
  if (!is_name(entry.name)) return refuse(entry, "is not a file name");
  if (entry.parent >= types_.size() || types_[entry.parent] != Type::directory)
    return refuse(entry, "is below something that is no directory");
  if (entry.parent < last_parent_) return refuse(entry, "is out of order");
  if (types_.size() > 1 && entry.parent == last_parent_ && entry.name <= last_name_)
    return refuse(entry, "is out of order or there twice");
  if (entry.type == Type::hard_link &&
      (entry.link >= types_.size() || types_[entry.link] == Type::directory || types_[entry.link] == Type::hard_link))
    return refuse(entry, "links to something that cannot be linked to");
  types_.push_back(entry.type);
  last_parent_ = entry.parent;
  last_name_ = entry.name;
  return {};
}

}  // namespace ferry::sync
