#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "archive/path_tree.h"
#include "archive/progress.h"
#include "archive/read_entry.h"
#include "base/fd.h"
#include "base/result.h"
#include "sync/directories.h"

namespace ferry::archive {

/// Makes entries of an archive below a directory. It only ever makes new names, by the descriptor of a directory that
/// it has made itself, so a symlink that came out of the archive leads nowhere. Not thread-safe.
class TreeWriter {
 public:
  /// `root`, an open empty directory, and `progress`, which can cancel it, must outlive this object. More than `most`
  /// names are Code::no_space, and so is more than `memory` bytes to keep them in.
  TreeWriter(int root, std::uint64_t most, std::uint64_t memory, const Progress& progress)
      : most_(std::min<std::uint64_t>(most, UINT32_MAX)),
        memory_(memory),
        progress_(progress),
        directories_(root, tree_.entries()) {}

  const std::vector<sync::Entry>& entries() const { return tree_.entries(); }
  bool has_root() const { return explicit_[0]; }

  /// Makes it, with directories on its way that have not come, and returns its index. A regular file is still empty;
  /// its content goes into open() and its metadata comes by finish().
  Result<std::uint32_t> make(const std::vector<std::string_view>& names, sync::Entry entry);

  /// Makes another name of the file `target`.
  Result<std::uint32_t> link(const std::vector<std::string_view>& names, std::uint32_t target);

  /// The file of that name, as something to link to.
  Result<std::uint32_t> find_file(const std::vector<std::string_view>& names) const;

  /// A regular file, to be written to.
  Result<Fd> open(std::uint32_t index);

  /// Counts so many bytes of memory that something else keeps of an entry until the end.
  Result<> use(std::uint64_t bytes);

  /// Gives a regular file, which has its content, its metadata.
  Result<> finish(std::uint32_t index, int file, const sync::Entry& entry);

  /// Gives all directories their metadata. Nothing can be made after that.
  Result<> finish_directories();

 private:
  struct Place {
    std::uint32_t parent = 0;
    std::string_view name;
  };
  Result<Place> place(const std::vector<std::string_view>& names);
  Result<std::uint32_t> make_directory(std::uint32_t parent, std::string_view name);
  Result<std::uint32_t> adopt(std::uint32_t index, sync::Entry entry);
  enum class Came { itself, implied };
  Result<std::uint32_t> add(const Place& place, sync::Entry entry, Came came);

  const std::uint64_t most_;
  const std::uint64_t memory_;
  const Progress& progress_;
  std::uint64_t used_ = 0;  // of memory_
  PathTree tree_;
  std::vector<bool> explicit_ = {false};  // by entry: not only something below it has come
  sync::Directories directories_;
};

}  // namespace ferry::archive
