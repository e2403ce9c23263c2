#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "sync/entry.h"
#include "sync/wire.h"
#include "sync/xattr_sets.h"

/// The manifest on the wire: records of kind header, entry, origin and trailer; grammar in docs/protocol.md.
namespace ferry::sync {

constexpr std::size_t longest_manifest_record = 4U << 20;

/// The file from which a regular file of the sender was copied, with which it is still equal, as it is or was there.
struct Origin {
  std::uint32_t entry = 0;
  std::uint64_t inode = 0;
  std::uint64_t ctime_ns = 0;
  Digest digest{};  ///< its ContentDigest
};

/// What may differ between two trees that are equal.
struct Local {
  std::uint64_t data = 0;
  std::uint64_t inode = 0;
  std::uint64_t ctime_ns = 0;
};

void append_entry(std::string& out, const Entry& entry);
/// With those in place of the entry's.
void append_entry(std::string& out, const Entry& entry, const Local& local);
/// Before the entries: ManifestInfo's host, origin and origin_stamp.
void append_header(std::string& out, const ManifestInfo& info);
/// Behind its entry.
void append_origin(std::string& out, const Origin& origin);
/// The last record: the number of entries sent, against which the receiver checks that none is missing.
void append_trailer(std::string& out, const ManifestInfo& info, std::uint64_t entries);
/// Instead of the trailer, when the walk failed.
void append_failure(std::string& out, const Error& error);

struct Manifest : Tree {
  ManifestInfo info;
  std::vector<Origin> origins;  ///< in ascending order of `entry`
};

/// Of a manifest.
constexpr std::size_t most_entries = 50'000'000;

/// Half of the physical memory.
std::uint64_t memory_for_manifests();

/// Builds a manifest from a peer's bytes, which it checks as they come. Keeps the first 20 warnings, cut and escaped.
/// Not thread-safe.
class ManifestDecoder {
 public:
  /// More than `most` entries, or entries that take more than `memory` bytes, are refused, so that a peer cannot fill
  /// the memory. Beside them it holds one record.
  explicit ManifestDecoder(std::size_t most = most_entries, std::uint64_t memory = memory_for_manifests());
  Result<> feed(std::string_view bytes) { return records_.feed(bytes); }
  /// Instead of feed(): one record without its length.
  Result<> record(std::string_view body);
  /// The manifest, or Code::corrupt if the trailer is missing or its count is another.
  Result<Manifest> finish();

 private:
  Result<> entry(Reader& reader);
  Result<> keep(Entry entry);
  Result<> header(Reader& reader);
  Result<> origin(Reader& reader);
  Result<> trailer(Reader& reader);

  const std::size_t most_;
  const std::uint64_t memory_;
  RecordDecoder records_;
  EntryChecker checker_;
  XattrSets xattr_sets_;
  Manifest manifest_;
  std::uint64_t data_ = 0;  // sum over the entries
  std::uint64_t used_ = 0;  // bytes of memory that they take
  bool complete_ = false;
};

/// The error that a peer reports within a stream, as its record tells it.
tl::unexpected<Error> read_failure(Reader& reader);

}  // namespace ferry::sync
