#include "archive/path_tree.h"

#include <utility>

namespace ferry::archive {

PathTree::PathTree() : index_(0, Hash{{&tree_.entries}}, Equal{{&tree_.entries}}) {
  sync::Entry root;
  root.type = sync::Type::directory;
  tree_.entries.push_back(std::move(root));
}

std::optional<std::uint32_t> PathTree::find(std::uint32_t parent, std::string_view name) const {
  const auto found = index_.find(Key{parent, name});
  if (found == index_.end()) return std::nullopt;
  return *found;
}

std::uint32_t PathTree::add(std::uint32_t parent, std::string_view name, sync::Entry entry) {
  const auto index = static_cast<std::uint32_t>(tree_.entries.size());
  entry.parent = parent;
  entry.name = tree_.names.add(name);
  tree_.entries.push_back(std::move(entry));
  index_.insert(index);
  return index;
}

}  // namespace ferry::archive
