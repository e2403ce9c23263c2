#include "sync/entry.h"

#include "base/log.h"

namespace ferry::sync {

namespace {

constexpr std::size_t longest_name = 255;
constexpr std::int64_t second = 1'000'000'000;  // in nanoseconds

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= longest_name && name != "." && name != ".." &&
         name.find('/') == std::string::npos && name.find('\0') == std::string::npos;
}

tl::unexpected<Error> refuse(const Entry& entry, const std::string& why) {
  return fail(Code::corrupt, "the peer's manifest is refused: entry " + quote(entry.name) + " " + why);
}

}  // namespace

bool is_copied(std::string_view xattr) { return xattr != "trusted.SGI_ACL_FILE" && xattr != "trusted.SGI_ACL_DEFAULT"; }

std::uint64_t Xattrs::memory() const {
  std::uint64_t bytes = 0;
  for (const auto& xattr : *all_) bytes += 2 * sizeof(Xattr) + xattr.name.capacity() + xattr.value.capacity();
  return bytes;
}

bool is_stable(std::uint64_t ctime_ns, std::uint64_t stable_before_ns) {
  const std::uint64_t granularity = ctime_ns % second == 0 ? 2 * second : 0;
  return ctime_ns < stable_before_ns && stable_before_ns - ctime_ns > granularity;
}

template <class Change>
void Entry::change_rest(const Change& change) {
  Rest rest = *rest_;
  change(rest);
  rest_.set(std::move(rest));
}

void Entry::set_data(std::uint64_t bytes) {
  const std::uint64_t holes = size - bytes;
  const std::uint64_t blocks = bytes <= size && bytes % block == 0 ? size / block - bytes / block : UINT64_MAX;
  holes_ = holes_elsewhere;
  if (holes < holes_in_blocks)
    holes_ = holes & (holes_in_blocks - 1);
  else if (blocks < holes_elsewhere - holes_in_blocks)
    holes_ = (holes_in_blocks + blocks) & holes_elsewhere;
  change_rest([&](Rest& rest) { rest.holes = holes_ == holes_elsewhere ? holes : 0; });
}

Timestamp Entry::mtime() const {
  if (mtime_ns_ == mtime_elsewhere) return rest_->mtime;
  const std::int64_t ns = mtime_ns_ % second + (mtime_ns_ % second < 0 ? second : 0);
  return {(mtime_ns_ - ns) / second, static_cast<std::uint32_t>(ns)};
}

void Entry::set_mtime(const Timestamp& time) {
  constexpr std::int64_t most = INT64_MAX / second - 1;
  const bool fits = time.s >= -most && time.s <= most && time.ns < second;
  mtime_ns_ = fits ? time.s * second + time.ns : mtime_elsewhere;
  change_rest([&](Rest& rest) { rest.mtime = fits ? Timestamp{} : time; });
}

void Entry::set_extra(Extra extra) {
  change_rest([&](Rest& rest) { rest.extra = std::move(extra); });
}

std::uint64_t Entry::memory_elsewhere() const {
  if (rest_.empty()) return 0;
  return sizeof(Rest) + extra().target.capacity() + extra().xattrs.memory();
}

bool Entry::share_elsewhere(const Entry& other) {
  if (rest_ != other.rest_) return false;
  rest_ = other.rest_;
  return true;
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
