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
#include "sync/places.h"

namespace ferry::sync {

/// Files on this host that probably have the content of files that are wanted, so that only what differs has to come.
/// That is a guess, from names and times: nothing may depend on its being right. Thread-safe when all are added.
class Candidates {
 public:
  /// Of those. They must outlive this object.
  explicit Candidates(const std::vector<Entry>& entries) : entries_(entries) {}

  /// A tree in which there are candidates, an open directory; returns its number.
  std::size_t add_root(Fd root);
  /// `path` is below the root of that number. Of several candidates for an entry those of its own path come first.
  void add(std::uint32_t entry, std::size_t root, std::string_view path, bool is_own_path);
  /// To be called between the last add() and the first of the following.
  void sort();

  bool contains(std::uint32_t entry) const;
  /// The first one of the entry that is there still, for reading. Follows no symlink.
  Result<Fd> open(std::uint32_t entry) const;

 private:
  /// There may be as many as entries, which mostly have the same name and the same directory as the one before.
  struct Item {
    std::uint32_t entry = 0;
    std::uint32_t root : 31 = 0;
    std::uint32_t is_other_path : 1 = 0;
    std::uint32_t directory = 0;  // where that begins in texts_
    std::uint32_t name = 0;       // likewise; 0: the entry's
  };
  std::vector<Item>::const_iterator find(std::uint32_t entry) const;
  Result<Fd> open(const Item& item) const;
  std::uint32_t add_text(std::string_view text);

  const std::vector<Entry>& entries_;
  std::vector<Fd> roots_;
  std::vector<Item> items_;
  std::string texts_ = std::string(1, '\0');  // each ends in a NUL; of a directory with a '/' before, or it is the root
  std::uint32_t directory_ = 0;               // the last one
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

/// What is wanted and may be found in files of this host, and what is known of where. Not thread-safe.
class Search {
 public:
  enum class By {
    name,
    name_and_inode,  ///< also that at the sender
  };
  /// Wanted files of which there is an `old` version (null: of none) are compared with that, and of less than `least`
  /// bytes are not looked for. The references must outlive this object.
  Search(const std::vector<FileExtent>& wants, const std::vector<Entry>& entries, const OldTree* old,
         std::uint64_t least, By by, Candidates& found);

  bool empty() const { return wishes_.empty(); }

  /// Whether a file is worth an offer: some wanted one has its size and time of modification.
  bool is_of_interest(const Entry& file) const;
  /// A file like that is below the candidates' root of that number.
  void offer(std::uint64_t likeness, std::size_t root, std::string_view path);

  /// What name, size and time of modification come to, by which copies of a file are found.
  static std::uint64_t likeness(const Entry& file);
  /// What stays if the sender renames it: `inode` is the one there.
  static std::uint64_t likeness_of_inode(const Entry& file, std::uint64_t inode);

  void look_in(const Neighbour& neighbour);

 private:
  /// There may be as many as entries.
  struct Wish {
    std::uint64_t likeness = 0;
    std::uint32_t entry = 0;
    std::uint8_t found = 0;
    bool found_own_path = false;
    bool is_many = false;  // no entry, but several are alike: then only the same path counts
  };
  static std::uint64_t time_of(const Entry& file);
  static std::uint64_t likeness_of_path(std::uint64_t likeness, std::string_view path);
  void sort();
  Wish* find(std::uint64_t likeness);

  const std::vector<Entry>& entries_;
  Candidates& found_;
  std::vector<Wish> wishes_;          // by likeness, of those that are alike with their paths
  std::vector<std::uint64_t> times_;  // sorted
};

}  // namespace ferry::sync
