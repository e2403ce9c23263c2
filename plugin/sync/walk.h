#pragma once

#include <cstdint>
#include <deque>
#include <future>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/thread_pool.h"
#include "sync/baseline.h"
#include "sync/directories.h"
#include "sync/entry.h"
#include "sync/inspect.h"
#include "sync/stream.h"
#include "sync/tree_index.h"
#include "sync/xattr_sets.h"

namespace ferry::sync {

/// Walks a tree breadth-first and encodes its manifest; see Inspector for how it looks at each name. The names are
/// looked at by several threads ahead of the encoding. Starts with syncfs(2): a write through mmap changes a file's
/// ctime only when its page was clean, so only after a writeback does an old ctime mean that nothing was written. That
/// is of the root's file system: of what is mounted below it the manifest has ctimes that prove nothing. Not
/// thread-safe.
class ManifestSource : public ByteSource {
 public:
  enum class Keep {
    no_extras,  ///< a sender, which sends them once
    all,
  };

  /// Walks below `root`, an open directory that must outlive this object. `tree`, which must be empty, receives every
  /// entry, with its Extra only if that is to be kept; it must outlive this object too. `identity`: see ManifestInfo.
  /// `baseline`: of the tree, if it is a copy.
  ManifestSource(int root, Tree& tree, const Identity& identity, std::shared_ptr<const Baseline> baseline,
                 Keep keep = Keep::no_extras, TreeKind kind = TreeKind::plain);
  bool next(std::string& out) override;

  /// When next() has returned false: the error, if the walk failed, of which the manifest tells the peer.
  const Result<>& outcome() const { return outcome_; }
  /// When next() has returned true: since when writes show in ctimes, see ManifestInfo.
  std::uint64_t stable_before_ns() const { return info_.stable_before_ns; }

  /// What means nothing elsewhere and has no entry; complete when next() has returned false.
  const std::vector<LeftOut>& left_out() const { return left_out_; }

 private:
  enum class Step { begin, walk, done };
  struct Part {  // names of one directory
    std::uint32_t directory = 0;
    std::shared_ptr<const Fd> fd;
    std::vector<std::string> names;
  };
  using Batch = std::vector<Part>;
  struct Found {
    std::uint32_t directory;
    std::string name;
    Result<Inspected> result;
  };
  Result<> begin(std::string& out);
  Result<> walk(std::string& out);
  void end(std::string& out);
  Result<Batch> next_batch();
  Result<Part> read_directory(std::uint32_t index);
  static std::vector<Found> inspect(Batch batch, const Inspector& inspector);
  Result<> add(Found& found, std::string& out);
  void keep(Inspected found, const std::string& name, std::string& out);
  bool is_synced(std::uint64_t device, std::uint32_t parent, const std::string& name);

  void add_origin(std::uint32_t index, std::string& out);

  const int root_;
  const Keep keep_;
  const TreeKind kind_;
  Tree& tree_;
  std::vector<Entry>& entries_;
  const std::shared_ptr<const Baseline> baseline_;
  std::optional<TreeIndex> copied_;         // names of the baseline
  std::vector<std::uint32_t> copied_from_;  // by entry: that of the baseline, or none
  Directories directories_;
  Inspector inspector_{false, 0};
  std::uint64_t root_device_ = 0;
  std::map<std::uint64_t, bool> synced_;                                     // by device: it is the root's file system
  std::deque<std::uint32_t> pending_;                                        // directories still to be read
  Part rest_;                                                                // the last one,
  std::size_t rest_at_ = 0;                                                  // of whose names the ones before are taken
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> linked_;  // (device, inode) with several names
  XattrSets xattr_sets_;
  std::vector<LeftOut> left_out_;
  ManifestInfo info_;
  Step step_ = Step::begin;
  Result<> outcome_;
  std::deque<std::future<std::vector<Found>>> ahead_;  // in the order of their entries
  ThreadPool pool_;                                    // last: its threads end before what they use
};

}  // namespace ferry::sync
