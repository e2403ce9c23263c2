#include "sync/directories.h"

#include <fcntl.h>

#include <algorithm>

#include "base/files.h"
#include "base/log.h"

namespace ferry::sync {

Result<int> Directories::open(std::uint32_t index, Keep keep) {
  if (index == 0) return root_;
  if (cached(index)) return slot(index).fd.get();
  std::vector<std::uint32_t> missing;
  std::uint32_t ancestor = index;
  for (; ancestor != 0 && !cached(ancestor); ancestor = entries_[ancestor].parent) missing.push_back(ancestor);
  int from = ancestor == 0 ? root_ : slot(ancestor).fd.get();
  for (auto it = missing.rbegin(); it != missing.rend(); ++it) {
    auto next = open_at(from, entries_[*it].name.str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
    if (!next) return fail(next.error().code, "in " + shown(entries_, index) + ": " + next.error().message);
    Slot& place = slot(keep == Keep::all_above ? *it : index);
    place = Slot{*it, std::move(*next)};  // perhaps in place of `from`
    from = place.fd.get();
  }
  return from;
}

std::string Directories::path(const std::vector<Entry>& entries, std::uint32_t index) {
  std::vector<std::uint32_t> chain;
  for (; index != 0; index = entries[index].parent) chain.push_back(index);
  std::string path;
  for (auto it = chain.rbegin(); it != chain.rend(); ++it) {
    if (!path.empty()) path += '/';
    path += entries[*it].name;
  }
  return path.empty() ? "." : path;
}

std::string Directories::shown(const std::vector<Entry>& entries, std::uint32_t index) {
  constexpr std::size_t longest = 300;
  return index == 0 ? "the volume's root" : printable(path(entries, index), longest);
}

}  // namespace ferry::sync
