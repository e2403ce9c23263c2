#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/directories.h"
#include "sync/entry.h"
#include "sync/stream.h"
#include "sync/wire.h"

/// Content on the wire: the receiver's wants, and the sender's frames in answer. Grammar in docs/protocol.md.
namespace ferry::sync {

/// The largest payload of one frame, and the alignment of frames within a file.
constexpr std::uint64_t block_size = 1U << 20;

/// A wish for the bytes of file `entry` (an index into the manifest) from `offset`, block_size-aligned, to its end.
struct Want {
  std::uint32_t entry = 0;
  std::uint64_t offset = 0;
};

void append_wants(std::string& out, std::span<const Want> wants);
/// Code::corrupt unless the wants are well-formed and name regular files of `entries` in ascending order.
Result<std::vector<Want>> read_wants(std::string_view bytes, const std::vector<Entry>& entries);

enum class FrameKind : std::uint8_t { data = 1, end = 2, failure = 3 };

enum class Outcome : std::uint8_t {
  complete = 1,
  changed = 2,   ///< it is not, or did not stay, what the manifest says: what was sent may be torn
  vanished = 3,  ///< the name is gone or means another inode; nothing was sent
};

/// Reads the wanted content below a directory and encodes it as frames. Skips holes. Not thread-safe.
class ContentSource : public ByteSource {
 public:
  /// `root` and `entries` must outlive this object.
  ContentSource(int root, const std::vector<Entry>& entries, std::vector<Want> wants);
  bool next(std::string& out) override;

 private:
  Result<> open_next(std::string& out);
  Result<> read_block(std::string& out);
  Result<bool> find_data();
  bool unchanged() const;
  void end(Outcome outcome, std::string& out);

  const std::vector<Entry>& entries_;
  const std::vector<Want> wants_;
  Directories directories_;
  std::size_t at_ = 0;  // the want that comes next or is being answered
  Fd file_;             // of the want being answered
  std::uint64_t offset_ = 0;
  std::uint64_t data_end_ = 0;  // end of the data extent that offset_ is in
  Digest chain_{};
  std::string buffer_;
  bool failed_ = false;
};

/// Takes frames as a FrameDecoder finds them.
class FrameHandler {
 public:
  virtual ~FrameHandler() = default;
  /// Bytes of file `entry` at `offset`; `digest` is the sender's of `payload` (1 to block_size bytes).
  virtual Result<> data(std::uint32_t entry, std::uint64_t offset, const Digest& digest, std::string_view payload) = 0;
  /// The want for `entry` has been answered; `digest` chains the frames of this answer.
  virtual Result<> end(std::uint32_t entry, Outcome outcome, const Digest& digest) = 0;
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
  Result<> data(Reader& reader);
  Result<> end(Reader& reader);

  const std::vector<Entry>& entries_;
  const std::span<const Want> wants_;
  FrameHandler& handler_;
  RecordDecoder records_;
  std::size_t at_ = 0;
  std::uint64_t offset_ = 0;  // no frame may begin before it
};

}  // namespace ferry::sync
