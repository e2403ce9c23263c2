#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sync/blocks.h"
#include "sync/compression.h"
#include "sync/directories.h"
#include "sync/entry.h"
#include "sync/stream.h"
#include "sync/wire.h"

/// Content on the wire: the receiver's wants, and the sender's frames in answer. Grammar in docs/protocol.md.
namespace ferry::sync {

/// One extent (blocks.h) of file `entry`, an index into the manifest.
struct FileExtent {
  std::uint32_t entry = 0;
  std::uint32_t extent = 0;
};

/// A wish for the bytes of one extent (blocks.h) of file `entry`, an index into the manifest.
struct Want {
  std::uint32_t entry = 0;
  std::uint32_t extent = 0;
  /// Digests (page_digest) of the extent's pages in an older version that the receiver holds, 0 for those that are a
  /// hole there; only what differs is sent. None: everything is.
  std::vector<std::uint64_t> held;
};

/// Wishes for all of their bytes.
std::vector<Want> wants_of(std::span<const FileExtent> extents);

/// The largest extent of which pages can be compared.
constexpr std::uint64_t largest_held_extent = 256U << 20;

struct Wants {
  std::uint64_t seed = 0;  ///< of the page digests
  Compression compression = Compression::none;
  std::vector<Want> wants;
};

void append_wants(std::string& out, std::uint64_t seed, std::span<const Want> wants,
                  Compression compression = Compression::none);
/// Code::corrupt unless the wants are well-formed and name extents of regular files of `entries` in ascending order.
Result<Wants> read_wants(std::string_view bytes, const std::vector<Entry>& entries);

enum class FrameKind : std::uint8_t {
  data = 1,
  end = 2,
  failure = 3,
  hole = 4,        ///< in answer to a want with pages that are held: bytes that are a hole now
  compressed = 5,  ///< other frames (compression.h)
};

enum class Outcome : std::uint8_t {
  complete = 1,
  changed = 2,   ///< it is not, or did not stay, what the manifest says: what was sent may be torn
  vanished = 3,  ///< all its names are gone or mean another inode; nothing was sent
};

/// Reads the wanted content below a directory and encodes it as frames. Skips holes. Not thread-safe.
class ContentSource : public ByteSource {
 public:
  /// `root` and `entries` must outlive this object.
  ContentSource(int root, const std::vector<Entry>& entries, Wants wants);
  bool next(std::string& out) override;

 private:
  const Want& want() const { return wants_.wants[at_]; }
  const Entry& entry() const { return entries_[want().entry]; }
  bool done() const { return at_ == wants_.wants.size(); }
  Result<> open_next(std::string& out);
  Result<Fd> open_file();
  Result<Fd> open_name(std::uint32_t index);
  const std::vector<std::pair<std::uint32_t, std::uint32_t>>& links();
  Result<> read_block(std::string& out);
  Result<> fill_buffer(std::uint64_t begin, std::uint64_t end);
  void clear_holes(std::uint64_t block, const std::vector<Extent>& data);
  Result<Extent> find_data(std::uint64_t from, std::uint64_t end);
  Result<std::vector<Extent>> find_all_data(std::uint64_t end);
  void send_frame(Extent data, std::uint64_t block, std::string& out);
  void send_changed_pages(Extent data, std::uint64_t block, std::string& out);
  void send_holes(std::uint64_t end, std::string& out);
  std::uint64_t held_page(std::uint64_t offset) const;
  bool unchanged() const;
  void end(Outcome outcome, std::string& out);

  const std::vector<Entry>& entries_;
  const Wants wants_;
  Directories directories_;
  std::size_t at_ = 0;  // the want that comes next or is being answered
  std::optional<std::vector<std::pair<std::uint32_t, std::uint32_t>>> links_;  // (what it links to, hard link), sorted
  Fd file_;                                                                    // of file_entry_
  std::uint32_t file_entry_ = 0;
  bool answering_ = false;    // the want at_, from file_
  Extent extent_;             // of that want
  std::uint64_t offset_ = 0;  // before it, everything has been sent
  Extent data_;               // what was found last, in that extent
  ContentDigest digest_;
  std::string buffer_;
  bool failed_ = false;
};

/// Takes frames as a FrameDecoder finds them.
class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  /// Bytes of file `entry` at `offset`: 1 to block_size, of one block.
  virtual Result<> data(std::uint32_t entry, std::uint64_t offset, std::string_view payload) = 0;
  /// Bytes of file `entry` that are a hole, where the receiver holds something else. Whole pages, or up to its end.
  virtual Result<> hole(std::uint32_t entry, Extent hole) = 0;
  /// The want has been answered; `digest` is the ContentDigest of the whole extent.
  virtual Result<> end(const Want& want, Outcome outcome, const Digest& digest) = 0;
};

/// Checks that frames answer the wants in order, within the announced sizes, and hands them on. Not thread-safe.
class FrameDecoder {
 public:
  /// All must outlive this object.
  FrameDecoder(const std::vector<Entry>& entries, std::span<const Want> wants, FrameHandler& handler);
  Result<> feed(std::string_view bytes) { return records_.feed(bytes); }
  /// Code::corrupt if a want is unanswered.
  Result<> finish() const;

 private:
  Result<> record(std::string_view body);
  Result<> frame(FrameKind kind, Reader& reader);
  Result<> compressed(Reader& reader);
  Result<> data(Reader& reader);
  Result<> hole(Reader& reader);
  Result<> end(Reader& reader);
  void begin_want();
  bool fits_pages(std::uint64_t offset, std::uint64_t length) const;

  const std::vector<Entry>& entries_;
  const std::span<const Want> wants_;
  FrameHandler& handler_;
  RecordDecoder records_;
  Decompressor decompressor_;
  std::size_t at_ = 0;
  Extent left_;  // of the want at_: what frames may still be about
};

}  // namespace ferry::sync
