#include "sync/compression.h"

#include <zstd.h>

#include <algorithm>

#include "sync/content.h"
#include "sync/wire.h"

namespace ferry::sync {

namespace {

constexpr int level = 1;

/// In bytes before compression. The sockets of two connections may hold 20 MiB (tcp(7)): while a network that is too
/// fast for compressed content lets them run empty, the first that is not compressed only seems to be sent.
constexpr std::uint64_t begin_length = 8U << 20;
constexpr std::uint64_t settle_length_compressed = 512U << 10;
constexpr std::uint64_t settle_length_plain = 32U << 20;
constexpr std::uint64_t measure_length = 3U << 20;
constexpr std::uint64_t shortest_rest_compressed = 256U << 20;  // against what it takes to try without
constexpr std::uint64_t shortest_rest_plain = 16U << 20;
constexpr std::uint64_t longest_rest = 1U << 30;

/// A piece that is shorter, such as the last one, tells nothing of what the next one will be like.
constexpr std::uint64_t shortest_telling = 64U << 10;

/// What is not this much better may be chance, and so may be what is so only once: a disk may have made everybody wait.
constexpr double gain = 1.1;
constexpr unsigned needed_wins = 2;
/// An attempt ends early when it is that much worse, after so many bytes.
constexpr double hopeless = 0.5;
constexpr std::uint64_t hopeless_length = 1U << 20;

tl::unexpected<Error> refuse() {
  return fail(Code::corrupt, "the peer sent compressed content that cannot be decompressed");
}

/// And nothing else: ZSTD_decompressDCtx() also takes several frames, ones to be skipped, and those of zstd before 1.0.
bool is_one_frame(std::string_view bytes) {
  Reader reader(bytes.substr(0, 8));
  const auto magic = static_cast<std::uint32_t>(reader.fixed64());
  return magic == ZSTD_MAGICNUMBER && ZSTD_findFrameCompressedSize(bytes.data(), bytes.size()) == bytes.size();
}

}  // namespace

void Compressor::Free::operator()(ZSTD_CCtx_s* context) const { ZSTD_freeCCtx(context); }

std::optional<std::string_view> Compressor::compress(std::string_view bytes) {
  if (!context_) context_.reset(ZSTD_createCCtx());
  if (!context_) return std::nullopt;
  buffer_.resize(bytes.size() - bytes.size() / 10);
  const std::size_t size =
      ZSTD_compressCCtx(context_.get(), buffer_.data(), buffer_.size(), bytes.data(), bytes.size(), level);
  if (ZSTD_isError(size) != 0) return std::nullopt;  // too little room in the buffer
  return std::string_view(buffer_).substr(0, size);
}

void Decompressor::Free::operator()(ZSTD_DCtx_s* context) const { ZSTD_freeDCtx(context); }

Result<std::string_view> Decompressor::decompress(std::string_view bytes) {
  if (!context_) context_.reset(ZSTD_createDCtx());
  if (!context_) return fail(Code::io, "no memory to decompress content");
  const unsigned long long size = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (!is_one_frame(bytes) || size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ||
      size > longest_compressed)
    return refuse();
  buffer_.resize(static_cast<std::size_t>(size));
  const std::size_t got =
      ZSTD_decompressDCtx(context_.get(), buffer_.data(), buffer_.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(got) != 0 || got != size) return refuse();
  return buffer_;
}

bool CompressionChoice::compress() const {
  const std::lock_guard guard(mutex_);
  return compress_locked();
}

bool CompressionChoice::compress_locked() const {
  const bool other = phase_ == Phase::settle || phase_ == Phase::attempt;
  return better_ != other;
}

/// What is not compressed can only seem to be too fast while it settles.
bool CompressionChoice::is_hopeless(SteadyClock::time_point now) const {
  const bool tells = phase_ == Phase::attempt || (phase_ == Phase::settle && better_);
  return tells && sent_ >= hopeless_length && rate(now) < hopeless * measured_;
}

std::uint64_t CompressionChoice::length() const {
  switch (phase_) {
    case Phase::begin: return begin_length;
    case Phase::settle: return better_ ? settle_length_plain : settle_length_compressed;
    case Phase::measure:
    case Phase::attempt: return measure_length;
    case Phase::rest: return rest_;
  }
  return 0;
}

double CompressionChoice::rate(SteadyClock::time_point now) const {
  const double seconds = std::chrono::duration<double>(now - began_).count();
  return static_cast<double>(sent_) / std::max(seconds, 1e-9);
}

void CompressionChoice::enter(Phase phase, SteadyClock::time_point now) {
  phase_ = phase;
  began_ = now;
  sent_ = 0;
  any_smaller_ = false;
}

void CompressionChoice::decide(bool other_is_better, SteadyClock::time_point now) {
  if (other_is_better) better_ = !better_;
  wins_ = 0;
  const std::uint64_t shortest = better_ ? shortest_rest_compressed : shortest_rest_plain;
  rest_ = other_is_better || rest_ == 0 ? shortest : std::min(2 * rest_, longest_rest);
  enter(Phase::rest, now);
}

void CompressionChoice::sent(std::uint64_t bytes, bool compress, bool smaller, SteadyClock::time_point now) {
  const std::lock_guard guard(mutex_);
  if (compress != compress_locked()) return;  // another stream has begun the next phase meanwhile
  sent_ += bytes;
  any_smaller_ = any_smaller_ || smaller;
  if (is_hopeless(now)) return decide(false, now);
  if (sent_ < length()) return;
  switch (phase_) {
    case Phase::begin:
    case Phase::rest: return enter(Phase::measure, now);
    case Phase::measure: measured_ = rate(now); return enter(Phase::settle, now);
    case Phase::settle:  // without going on if compressing did not even make it smaller
      return better_ || any_smaller_ ? enter(Phase::attempt, now) : decide(false, now);
    case Phase::attempt:
      if (rate(now) <= gain * measured_) return decide(false, now);
      return ++wins_ < needed_wins ? enter(Phase::measure, now) : decide(true, now);
  }
}

bool CompressedSource::next(std::string& out) {
  const bool compress =
      compression_ == Compression::zstd || (compression_ == Compression::automatic && choice_.compress());
  std::uint64_t bytes = 0;
  bool smaller = false;
  bool more = false;
  if (compress) {
    plain_.clear();
    more = source_->next(plain_);
    bytes = plain_.size();
    const auto compressed = bytes <= longest_compressed ? compressor_.compress(plain_) : std::nullopt;
    smaller = compressed.has_value();
    if (compressed) {
      Writer writer(out);
      writer.number(compressed->size() + 1);
      writer.byte(static_cast<std::uint8_t>(FrameKind::compressed));
      writer.raw(*compressed);
    } else {
      out += plain_;
    }
  } else {
    const std::size_t before = out.size();
    more = source_->next(out);
    bytes = out.size() - before;
  }
  if (compression_ == Compression::automatic && bytes >= shortest_telling)
    choice_.sent(bytes, compress, smaller, SteadyClock::now());
  return more;
}

}  // namespace ferry::sync
