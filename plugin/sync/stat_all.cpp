#include "sync/stat_all.h"

#include <fcntl.h>

#include <future>

#include "sync/directories.h"

namespace ferry::sync {

namespace {

Result<struct stat> stat_entry(Directories& directories, const Entry& entry) {
  FERRY_ASSIGN(const int directory, directories.open(entry.parent));
  struct stat info {};
  if (::fstatat(directory, entry.name.c_str(), &info, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0)
    return fail_errno("stat");
  return info;
}

using Wanted = std::function<bool(std::uint32_t index)>;

void stat_range(int root, const std::vector<Entry>& entries, std::uint32_t begin, std::uint32_t end,
                const Wanted& is_wanted, const StatVisitor& visit) {
  Directories directories(root, entries);
  for (std::uint32_t index = begin; index < end; ++index) {
    if (entries[index].type == Type::hard_link || (is_wanted && !is_wanted(index))) continue;
    if (!visit(index, stat_entry(directories, entries[index]))) return;
  }
}

}  // namespace

void stat_all(int root, const std::vector<Entry>& entries, const StatVisitor& visit) {
  stat_some(root, entries, {}, visit);
}

void stat_some(int root, const std::vector<Entry>& entries, const Wanted& is_wanted, const StatVisitor& visit) {
  const auto count = static_cast<std::uint32_t>(entries.size());
  const std::uint32_t middle = count / 2;
  // Deferred if the system has no thread.
  auto rest = std::async(std::launch::async | std::launch::deferred,
                         [&] { stat_range(root, entries, middle, count, is_wanted, visit); });
  stat_range(root, entries, 0, middle, is_wanted, visit);
  rest.get();
}

}  // namespace ferry::sync
