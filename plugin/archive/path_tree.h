#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "sync/entry.h"

namespace ferry::archive {

/// The entries of a tree in the order in which they come, found by name. Not thread-safe.
class PathTree {
 public:
  /// With a root.
  PathTree();
  PathTree(const PathTree&) = delete;

  const std::vector<sync::Entry>& entries() const { return tree_.entries; }
  sync::Entry& entry(std::uint32_t index) { return tree_.entries[index]; }

  /// The entry of that name in the directory `parent`.
  std::optional<std::uint32_t> find(std::uint32_t parent, std::string_view name) const;

  /// `name` must not be there yet.
  std::uint32_t add(std::uint32_t parent, std::string_view name, sync::Entry entry);

 private:
  struct Key {
    std::uint32_t parent;
    std::string_view name;
  };
  struct Look {
    using is_transparent = void;
    const std::vector<sync::Entry>* entries;
    Key key(std::uint32_t index) const { return {(*entries)[index].parent, (*entries)[index].name.view()}; }
    static Key key(const Key& key) { return key; }
  };
  struct Hash : Look {
    template <class Any>
    std::size_t operator()(const Any& any) const {
      const Key key = this->key(any);
      return std::hash<std::string_view>()(key.name) ^ (key.parent * 0x9e3779b97f4a7c15U);
    }
  };
  struct Equal : Look {
    template <class A, class B>
    bool operator()(const A& a, const B& b) const {
      const Key left = this->key(a), right = this->key(b);
      return left.parent == right.parent && left.name == right.name;
    }
  };

  sync::Tree tree_;
  std::unordered_set<std::uint32_t, Hash, Equal> index_;  // but the root
};

}  // namespace ferry::archive
