#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "sync/stream.h"

struct ZSTD_CCtx_s;
struct ZSTD_DCtx_s;

/// Compression of content on its way, by zstd (RFC 8878). Grammar in docs/protocol.md.
namespace ferry::sync {

enum class Compression : std::uint8_t {
  none = 0,
  zstd = 1,
  automatic = 2,  ///< zstd as long as that makes the stream faster
};

/// What is compressed together, at most, in bytes.
constexpr std::size_t longest_compressed = 1U << 20;

/// Not thread-safe.
class Compressor {
 public:
  /// The compressed bytes, valid until the next call; none if that saves less than a tenth of them.
  std::optional<std::string_view> compress(std::string_view bytes);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_CCtx_s, Free> context_;
  std::string buffer_;
};

/// Not thread-safe.
class Decompressor {
 public:
  /// What was compressed, valid until the next call. Code::corrupt: it is not one zstd frame that tells its size, of
  /// longest_compressed at most.
  Result<std::string_view> decompress(std::string_view bytes);

 private:
  struct Free {
    void operator()(ZSTD_DCtx_s* context) const;
  };
  std::unique_ptr<ZSTD_DCtx_s, Free> context_;
  std::string buffer_;
};

/// Finds out, while streams of one source run, whether compressing makes them faster: whatever slows them down,
/// network, processor or disk, counts. It tries both ways for some MiB each, changes to the other one if that is better
/// twice, and tries again later, ever more seldom as long as nothing changes. Thread-safe.
class CompressionChoice {
 public:
  /// Whether what comes next is to be compressed.
  bool compress() const;

  /// A stream has made `bytes` (as they were before) ready by the time `now`. `compress` is what compress() had said
  /// then, `smaller` whether that saved anything.
  void sent(std::uint64_t bytes, bool compress, bool smaller, SteadyClock::time_point now);

 private:
  enum class Phase {
    begin,    // what is sent now fills buffers, and tells nothing
    measure,  // the way that was the better one
    settle,   // the other one: what was sent before is still on its way
    attempt,  // the other one
    rest,     // the better one, until it is time to try again
  };
  void enter(Phase phase, SteadyClock::time_point now);
  void decide(bool other_is_better, SteadyClock::time_point now);
  bool compress_locked() const;
  bool is_hopeless(SteadyClock::time_point now) const;
  std::uint64_t length() const;
  double rate(SteadyClock::time_point now) const;

  mutable std::mutex mutex_;
  Phase phase_ = Phase::begin;  // protected by mutex_, as are the following
  bool better_ = false;         // to compress
  std::uint64_t sent_ = 0;      // in this phase
  bool any_smaller_ = false;    // of what was compressed in it
  SteadyClock::time_point began_{};
  double measured_ = 0;  // bytes per second
  std::uint64_t rest_ = 0;
  unsigned wins_ = 0;  // of the other way, one after another
};

/// Another source's bytes, which are whole records: some or all of them compressed, a piece at a time. Not thread-safe.
class CompressedSource : public ByteSource {
 public:
  /// `choice` must outlive this object, and is for Compression::automatic.
  CompressedSource(std::unique_ptr<ByteSource> source, Compression compression, CompressionChoice& choice)
      : source_(std::move(source)), compression_(compression), choice_(choice) {}
  bool next(std::string& out) override;

 private:
  const std::unique_ptr<ByteSource> source_;
  const Compression compression_;
  CompressionChoice& choice_;
  Compressor compressor_;
  std::string plain_;
};

}  // namespace ferry::sync
