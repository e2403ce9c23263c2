#pragma once

#include <atomic>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sync/directories.h"
#include "sync/journal.h"
#include "sync/plan.h"
#include "sync/target.h"
#include "sync/version.h"

namespace ferry::sync {

/// Whether changes at the destination since the last copy may be lost.
enum class Replace { refuse, allowed };

/// The changes that make a volume's version equal to a manifest, while they are received beside it; they become a Plan.
class Changes : public Target {
 public:
  /// All must outlive this object. `content` is the open directory for what is received, `plan` where conclude() stores
  /// the plan.
  Changes(const Version& version, const Manifest& manifest, int content, std::filesystem::path plan, Replace replace,
          Journal& journal, Cache cache, const std::atomic<bool>& cancelled);

  Result<Room> least_room() const override { return Room{}; }
  /// Code::already_exists: the volume was changed at the destination (Replace::refuse).
  Result<std::vector<FileExtent>> prepare() override;
  /// Those that were renamed or copied at the sender.
  void suggest(const std::vector<FileExtent>& wants, Candidates& candidates) const override;
  const Room& room() const override { return room_; }
  bool forgot() const override { return forgot_; }
  const std::set<std::uint32_t>& unverified() const override { return unverified_; }
  Result<> make_large_files() override;
  Result<> finish(const std::set<std::uint32_t>& lost) override;
  /// After finish(). Once it is decided upon, the plan must not fail for good: Code::denied names what would have to
  /// change and cannot (obstacles.h), and says what to do about it.
  Result<> check_changeable() const;
  bool changes_nothing() const override { return changes_nothing_; }
  bool overwrites() const override { return overwrites_; }
  /// Stores the plan, if anything is to be done.
  Result<> conclude(const std::vector<Digest>& digests, const std::set<std::uint32_t>& torn) override;
  Digest known_digest(std::uint32_t entry) const override;
  Places::Shape shape() const override { return Places::Shape::flat; }
  int root() const override { return content_; }
  const OldTree* old() const override { return &old_; }

  /// After finish(): names that go, or make room; each with what is below it.
  std::size_t removals() const { return removals_.size(); }

 private:
  using Step = Plan::Step;
  /// What becomes a Plan::Entry: there may be millions.
  struct Decided {
    Step step = Step::keep;
    bool stable = false;
  };

  Result<> check_unchanged() const;
  Result<> check_linkable(const std::function<Result<>(std::uint32_t old)>& check) const;
  void decide_all();
  Step decide(std::uint32_t index);
  Step decide_file(std::uint32_t index);
  bool same_link(std::uint32_t index) const;
  bool is_sealed(std::uint32_t old);
  std::uint32_t inode_of(std::uint32_t old_entry) const;
  std::optional<Digest> equal_content(std::uint32_t index, std::uint32_t old) const;
  const Origin* origin_of(std::uint32_t index) const;
  std::optional<OldFile> old_file(std::uint32_t index) const;
  Result<> want(std::uint32_t index);
  Result<> want_missing(std::uint32_t index, const FileProgress& known);
  std::optional<std::uint64_t> received_size(std::uint32_t index) const;
  bool is_worth_comparing_received(std::uint32_t index) const;
  bool is_received(std::uint32_t index, const FileProgress& known) const;
  Result<> make_large_file(std::uint32_t index);
  Result<> take_away();
  bool is_all_as_copied() const;
  std::vector<Plan::FilePatch> take_patches(const std::set<std::uint32_t>& torn);
  Plan::Entry planned(std::uint32_t index, const Digest& digest) const;
  Here seen(std::uint32_t index) const;
  void touch(std::uint32_t directory);
  Step add_patches(std::uint32_t index, const FileProgress& received, std::vector<Plan::FilePatch>& patches) const;
  tl::unexpected<Error> at(std::uint32_t index, const Error& error) const;

  const Version& version_;
  const Manifest& manifest_;
  const std::vector<Entry>& entries_;
  const std::vector<Entry>& old_entries_;
  const int content_;
  const std::filesystem::path plan_path_;
  const Replace replace_;
  Journal& journal_;
  const Cache cache_;
  const std::atomic<bool>& cancelled_;
  std::vector<std::uint32_t> old_of_;  // by entry: the old one of the same path, or none
  std::vector<bool> taken_;            // by old entry: its inode is a file's already
  std::vector<bool> gone_;             // by old entry: its name goes
  std::vector<bool> relinked_;         // by old entry: its inode gets or loses names, which its ctime shows
  std::vector<Decided> plan_;
  std::vector<Plan::Removal> removals_;
  bool splits_inodes_ = false;
  bool changes_nothing_ = false;
  bool overwrites_ = false;
  OldTree old_;
  Directories old_directories_;
  std::vector<FileExtent> wants_;
  std::vector<std::uint32_t> large_;
  Room room_;
  bool forgot_ = false;
  std::set<std::uint32_t> unverified_;
};

}  // namespace ferry::sync
