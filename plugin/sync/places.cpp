#include "sync/places.h"

#include "sync/digest.h"

namespace ferry::sync {

Result<Place> Places::of(std::uint32_t entry) {
  if (shape_ == Shape::flat) return Place{root_, flat_name(entries_, entry), 0};
  FERRY_ASSIGN(const int directory, directories_.open(entries_[entry].parent));
  return Place{directory, entries_[entry].name.str(), entries_[entry].parent};
}

std::string Places::flat_name(const std::vector<Entry>& entries, std::uint32_t entry) {
  return to_hex(digest_of(Directories::path(entries, entry)));
}

}  // namespace ferry::sync
