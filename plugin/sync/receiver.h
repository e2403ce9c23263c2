#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/candidates.h"
#include "sync/changes.h"
#include "sync/journal.h"
#include "sync/manifest.h"
#include "sync/pace.h"
#include "sync/seal.h"
#include "sync/stream.h"
#include "sync/target.h"

namespace ferry::sync {

class Assembly;
class FileWriter;

/// The sender of one migration as the receiver sees it, wherever it is. A Code::unavailable error means that the same
/// may work again later. content() is called from several threads at once.
class Source {
 public:
  virtual ~Source() = default;
  virtual Result<> manifest(const ByteSink& sink) = 0;
  virtual Result<> content(const std::string& wants, const ByteSink& sink) = 0;
  /// `unchanged`: the receiver knows it from an earlier copy, so that the sender need not look again.
  virtual Result<Seal> seal(bool unchanged) = 0;
};

/// Counters that others may read while a migration runs. Bytes are of content but for bytes_sent, which is what came
/// over the wire. Thread-safe.
struct Progress {
  std::atomic<const char*> phase{"connecting"};
  std::atomic<std::uint64_t> round{0};
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> bytes_done{0};
  std::atomic<std::uint64_t> bytes_sent{0};
  std::atomic<std::uint64_t> files_total{0};
  std::atomic<std::uint64_t> files_done{0};
};

/// Whether the source may change while it is read.
enum class Writers { none, allowed };

/// What is updated instead of a new tree being made.
struct UpdateOf {
  std::filesystem::path data;
  std::string host;  ///< UUID of this host's catalogue
  Replace replace = Replace::refuse;
};

struct ReceiverOptions {
  unsigned connections = 2;  ///< parallel content requests, at least 1
  unsigned rounds = 4;       ///< how often to look again for what changed meanwhile, at least 1
  Writers writers = Writers::none;
  std::uint64_t limit = 0;  ///< bytes per second over all connections; 0: none
  Compression compression = Compression::none;
  /// What the source must be, where it is not empty; Code::not_found otherwise.
  Identity expected;
  /// Where the Baseline is kept: of what is updated, or to be written for a new tree. Empty: nowhere.
  std::filesystem::path baseline;
  std::optional<UpdateOf> update;
  /// Where content may be found that need not come then.
  std::vector<Neighbour> neighbours;
};

/// What was received and verified.
struct Receipt {
  /// Of the whole tree as the manifest has it, metadata and content, as hex; see docs/protocol.md.
  std::string digest;
  std::uint64_t files = 0;  ///< regular files that are in the copy, hard links counted once
  std::uint64_t bytes = 0;  ///< their content without holes
  std::uint64_t rounds = 0;
  std::uint64_t changed = 0;          ///< entries that changed or vanished during the last round, at least
  std::string consistency;            ///< "idle" or "live": whether the copy may be torn
  std::vector<std::string> warnings;  ///< 20 at most
  /// Of an update that changes what is there: what that was. It holds only if Version::written() finds nothing when it
  /// is decided to apply the plan; otherwise it has to be received anew.
  std::shared_ptr<const Version> before;
};

/// The receiving end: makes the staging directory equal to the source's tree or, for an update, a directory with a Plan
/// (sync/plan.h) of all that has to change (none if nothing has), carrying on from what the journal says is there. Run
/// it again after an error to carry on. One thread calls run(); it starts and joins others.
class Receiver {
 public:
  /// `staging` must exist, for an update with what UpdatePaths names; `journal` is a file's path beside it. The
  /// references must outlive this object.
  Receiver(Source& source, std::filesystem::path staging, std::filesystem::path journal, ReceiverOptions options,
           Progress& progress, const std::atomic<bool>& cancelled);

  /// When it returns, everything is verified and durable. Once it is cancelled it only makes durable what has come, for
  /// 2 s at most, so that the next attempt carries on from there. Code::busy: the source kept changing (Writers::none).
  /// That something could not be made durable is told before any other error.
  Result<Receipt> run();

 private:
  struct Round {
    std::unique_ptr<Manifest> manifest;  // the target refers to it
    std::vector<Digest> digests;         // by entry: of regular files
    std::set<std::uint32_t> torn;        // files whose content changed while it was read
    std::set<std::uint32_t> lost;        // files that vanished before it was read
    Digest digest{};                     // of the whole tree
    Seal seal;
    std::unique_ptr<Target> target;
    std::optional<Candidates> candidates;  // once it is known what is wanted
  };
  Result<Receipt> receive(Journal& journal);
  Result<Round> round(Journal& journal);
  void find_candidates(Round& round, const std::vector<FileExtent>& wants) const;
  Result<std::unique_ptr<Target>> make_target(const Manifest& manifest, Journal& journal);
  std::shared_ptr<const Version> release_version();
  Result<Manifest> receive_manifest();
  static bool add_unsettled(Round& round);
  Result<> check_identity(const ManifestInfo& info) const;
  Result<> check_room(const Target::Room& wanted) const;
  Result<> fetch(Journal& journal, Round& round, const std::vector<FileExtent>& wants);
  Result<> fetch_batch(std::span<const FileExtent> batch, FileWriter& writer, const std::vector<Entry>& entries);
  void collect_known(Round& round, const Journal& journal, const std::vector<FileExtent>& wants, Assembly& assembly);
  static std::vector<std::string> warnings(const Round& round);
  static Receipt receipt(const Round& round, std::uint64_t rounds);
  enum class Last { no, yes };  ///< whether nothing more will be written
  Result<> make_durable(Journal& journal, Last last = Last::no) const;
  void count_received(std::size_t bytes);
  Result<> check_cancelled() const;

  Source& source_;
  const std::filesystem::path staging_;
  const std::filesystem::path journal_;
  const ReceiverOptions options_;
  Progress& progress_;
  const std::atomic<bool>& cancelled_;
  Pace pace_;
  Fd root_;                               // of staging
  std::future<Result<Version>> looking_;  // at what is updated
  std::optional<Version> version_;
  Target::Cache cache_ = Target::Cache::may_lie;
  bool writes_ = false;  // something may have been written
};

}  // namespace ferry::sync
