#pragma once

#include <sys/stat.h>

#include <atomic>
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
#include "sync/target.h"

namespace ferry::sync {

/// A new tree while it grows: makes it match a manifest, but for the content of files.
class Staging : public Target {
 public:
  /// All must outlive this object. `root` is the open staging directory, `baseline` where conclude() stores one; empty:
  /// nowhere. `cache` says whether what can be read there may be compared.
  Staging(int root, std::filesystem::path baseline, const Manifest& manifest, Journal& journal, Cache cache,
          const std::atomic<bool>& cancelled)
      : root_(root),
        baseline_(std::move(baseline)),
        manifest_(manifest),
        entries_(manifest.entries),
        stable_before_ns_(manifest.info.stable_before_ns),
        journal_(journal),
        cache_(cache),
        cancelled_(cancelled),
        directories_(root, manifest.entries) {}

  Result<Room> least_room() const override;
  /// Removes what the manifest does not have, and creates directories and special files.
  Result<std::vector<FileExtent>> prepare() override;
  void suggest(const std::vector<FileExtent>& /*wants*/, Candidates& /*candidates*/) const override {}
  const Room& room() const override { return room_; }
  bool forgot() const override { return forgot_; }
  const std::set<std::uint32_t>& unverified() const override { return unverified_; }
  Result<> make_large_files() override;
  /// Makes the hard links and gives directories their metadata, deepest first.
  Result<> finish(const std::set<std::uint32_t>& lost) override;
  bool overwrites() const override { return false; }
  bool changes_nothing() const override { return false; }
  /// Stores the baseline with which a later update begins.
  Result<> conclude(const std::vector<Digest>& digests, const std::set<std::uint32_t>& torn) override;
  Digest known_digest(std::uint32_t entry) const override;
  Places::Shape shape() const override { return Places::Shape::tree; }
  int root() const override { return root_; }
  const OldTree* old() const override { return nullptr; }

 private:
  enum class Existing { none, usable };
  Result<> prepare_directories();
  Result<> prepare_directory(std::uint32_t parent, std::uint32_t begin, std::uint32_t end);
  Result<> make_directory(int parent, std::uint32_t index);
  Result<> remove_unwanted(std::uint32_t parent, std::uint32_t begin, std::uint32_t end);
  Result<> prepare_entry(int directory, std::uint32_t index);
  Result<> prepare_new_file(std::uint32_t index);
  Result<> make_large_file(std::uint32_t index);
  Result<> want_all(std::uint32_t index);
  Result<> want_missing(int directory, std::uint32_t index, const FileProgress& known);
  Result<> prepare_used_file(int directory, std::uint32_t index, const struct stat& info);
  Result<> forget(std::uint32_t index);
  Result<Existing> examine(int directory, const Entry& entry, struct stat& info) const;
  Result<> link(std::uint32_t index);
  bool is_fresh(std::uint32_t directory) const { return fresh_[directory]; }
  Result<> check_cancelled() const;
  tl::unexpected<Error> at(std::uint32_t index, const Error& error) const;

  const int root_;
  const std::filesystem::path baseline_;
  const Manifest& manifest_;
  const std::vector<Entry>& entries_;
  const std::uint64_t stable_before_ns_;
  Journal& journal_;
  const Cache cache_;
  const std::atomic<bool>& cancelled_;
  Directories directories_;
  std::vector<bool> fresh_;  // by entry: a directory that this object created, so nothing is in it
  std::vector<FileExtent> wants_;
  std::vector<std::uint32_t> large_;  // files of several extents of which nothing is there
  std::set<std::uint32_t> unverified_;
  Room room_;
  bool forgot_ = false;
};

}  // namespace ferry::sync
