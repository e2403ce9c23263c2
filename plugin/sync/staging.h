#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/content.h"
#include "sync/directories.h"
#include "sync/journal.h"
#include "sync/manifest.h"

namespace ferry::sync {

/// The receiver's tree while it grows: makes it match a manifest, but for the content of files. Not thread-safe.
class Staging {
 public:
  /// All must outlive this object. `root` is the open staging directory.
  Staging(int root, const std::vector<Entry>& entries, const Journal& journal)
      : root_(root), entries_(entries), journal_(journal), directories_(root, entries) {}

  /// Removes what the manifest does not have, creates directories and special files, and returns the content that is
  /// wanted: everything but what the journal knows to be there in the same version.
  Result<std::vector<Want>> prepare();

  /// Makes the hard links and gives directories their metadata, deepest first. Entries in `lost` (files that vanished
  /// at the sender before their content was read) and links to them are left out.
  Result<> finish(const std::set<std::uint32_t>& lost);

 private:
  enum class Existing { none, usable };
  Result<> prepare_directory(std::uint32_t parent, std::uint32_t begin, std::uint32_t end);
  Result<> remove_unwanted(std::uint32_t parent, std::uint32_t begin, std::uint32_t end);
  Result<> prepare_entry(int directory, std::uint32_t index);
  Result<> prepare_file(int directory, std::uint32_t index, Existing existing);
  Result<Existing> examine(int directory, const Entry& entry) const;
  Result<> link(std::uint32_t index);
  bool is_fresh(std::uint32_t directory) const { return fresh_[directory]; }
  tl::unexpected<Error> at(std::uint32_t index, Error error) const;

  const int root_;
  const std::vector<Entry>& entries_;
  const Journal& journal_;
  Directories directories_;
  std::vector<bool> fresh_;  // by entry: a directory that this object created, so nothing is in it
  std::vector<Want> wants_;
};

}  // namespace ferry::sync
