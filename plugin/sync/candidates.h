#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/content.h"
#include "sync/entry.h"

namespace ferry::sync {

/// Files on this host that probably have the content of files that are wanted, so that only what differs has to come.
/// That is a guess, from names and times: nothing may depend on its being right. Thread-safe when all are added.
class Candidates {
 public:
  /// A tree in which there are candidates, an open directory; returns its number.
  std::size_t add_root(Fd root);
  /// `path` is below the root of that number.
  void add(std::uint32_t entry, std::size_t root, std::string_view path);
  /// To be called between the last add() and the first of the following.
  void sort();

  bool contains(std::uint32_t entry) const;
  /// The first one of the entry that is there still, for reading. Follows no symlink.
  Result<Fd> open(std::uint32_t entry) const;

 private:
  struct Item {
    std::uint32_t entry = 0;
    std::uint32_t root = 0;
    std::size_t path = 0;  // where it begins in paths_
  };
  std::vector<Item>::const_iterator find(std::uint32_t entry) const;
  Result<Fd> open(const Item& item) const;

  std::vector<Fd> roots_;
  std::vector<Item> items_;
  std::string paths_;  // each ends in a NUL
};

/// Smaller files are sent rather than looked for in other volumes.
constexpr std::uint64_t least_indexed = 16U << 10;

/// Another volume on this host.
struct Neighbour {
  std::filesystem::path data;
  std::filesystem::path index;
};

/// Where the index of the volume is that has its baseline there.
std::filesystem::path index_of(const std::filesystem::path& baseline);

/// Stores under which names, sizes and times of modification there are files in a volume. `is_here` tells which entries
/// are.
Result<> write_index(const std::filesystem::path& path, const std::vector<Entry>& entries,
                     const std::function<bool(std::uint32_t entry)>& is_here);

/// What name, size and time of modification come to, by which copies of a file are found.
std::uint64_t likeness(const Entry& file);

/// Adds files of the neighbours that are like wanted ones. An index that cannot be read is passed over.
void look_in(std::span<const Neighbour> neighbours, const std::vector<FileExtent>& wants,
             const std::vector<Entry>& entries, Candidates& candidates);

/// Copies the bytes of `range` that are not in a hole, of one file into the same place of another one, which shares
/// them with it then if its file system can.
Result<> copy_range(int from, int to, const Extent& range);

}  // namespace ferry::sync
