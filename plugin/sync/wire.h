#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sync/digest.h"

/// The primitives of docs/protocol.md: LEB128 varints, length-prefixed strings, and records (a varint length, then that
/// many bytes).
namespace ferry::sync {

/// Appends primitives to a string.
class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}
  void byte(std::uint8_t value) { out_ += static_cast<char>(value); }
  void number(std::uint64_t value);
  void signed_number(std::int64_t value);  ///< zigzag
  void string(std::string_view value);
  void fixed64(std::uint64_t value);  ///< 8 bytes, little-endian
  void digest(const Digest& value);
  void raw(std::string_view value) { out_.append(value); }

 private:
  std::string& out_;
};

/// Reads primitives from bytes that a peer sent. A read past the end, or of a value out of range, makes every later
/// read return zero, and ok() false; nothing is ever read out of bounds.
class Reader {
 public:
  explicit Reader(std::string_view in) : in_(in) {}
  std::uint8_t byte();
  std::uint64_t number();
  std::uint32_t number32();
  std::int64_t signed_number();
  std::string_view string(std::size_t longest);
  std::uint64_t fixed64();
  Digest digest();
  std::string_view rest();  ///< all that is left
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && in_.empty(); }

 private:
  std::string_view take(std::size_t count);
  std::string_view in_;
  bool ok_ = true;
};

/// Appends `body` as one record.
void append_record(std::string& out, std::string_view body);

/// Cuts a byte stream, arriving in pieces of any size, into records. Holds at most one record.
class RecordDecoder {
 public:
  using Handler = std::function<Result<>(std::string_view record)>;

  /// Records longer than `longest` bytes are refused (Code::corrupt).
  RecordDecoder(std::size_t longest, Handler handler) : longest_(longest), handler_(std::move(handler)) {}

  /// Calls the handler for each record that is complete; passes on its first error.
  Result<> feed(std::string_view bytes);

  /// Code::corrupt if the stream ended within a record.
  Result<> finish() const;

 private:
  Result<std::size_t> consume(std::string_view bytes);
  const std::size_t longest_;
  const Handler handler_;
  std::string pending_;
};

}  // namespace ferry::sync
