#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "archive/stream.h"
#include "base/result.h"
#include "sync/pace.h"

namespace ferry::migration {

/// What archives take of a network or disk: counted, and held to a rate. Outlives what is metered. Used by one thread
/// at a time, but for bytes().
class Meter {
 public:
  /// `limit`: bytes per second, see sync::Pace, which `cancelled` ends.
  Meter(std::uint64_t limit, const std::atomic<bool>& cancelled) : pace_(limit, cancelled) {}
  void spend(std::size_t bytes) {
    bytes_ += bytes;
    pace_.spend(bytes);
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::atomic<std::uint64_t> bytes_{0};
  sync::Pace pace_;
};

/// All that is read from `source`, which has to outlive it.
class MeteredSource final : public archive::Source {
 public:
  MeteredSource(archive::Source& source, Meter& meter) : source_(source), meter_(meter) {}
  Result<std::size_t> read(std::span<char> buffer) override {
    FERRY_ASSIGN(const std::size_t n, source_.read(buffer));
    meter_.spend(n);
    return n;
  }

 private:
  archive::Source& source_;
  Meter& meter_;
};

/// All that is written to `sink`, which has to outlive it.
class MeteredSink final : public archive::Sink {
 public:
  MeteredSink(archive::Sink& sink, Meter& meter) : sink_(sink), meter_(meter) {}
  Result<> write(std::span<const char> bytes) override {
    FERRY_TRY(sink_.write(bytes));
    meter_.spend(bytes.size());
    return {};
  }

 private:
  archive::Sink& sink_;
  Meter& meter_;
};

}  // namespace ferry::migration
