#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "base/result.h"

namespace ferry::transport {

/// The secret that all hosts of one group share. Has no operator<< or to_string on purpose; wiped when it is destroyed.
class Key {
 public:
  static constexpr std::size_t size = 32;

  explicit Key(std::span<const std::uint8_t, size> bytes);
  Key(const Key&) = default;
  Key& operator=(const Key&) = default;
  ~Key();

  std::span<const std::uint8_t, size> bytes() const { return bytes_; }

  /// Eight hex digits of SHA-256("ferry key fingerprint 1" || 0 || key): tells keys apart in logs and on the wire.
  /// It is public. Of a random 256-bit key it gives 32 bits of a one-way function: who sees it learns which hosts share
  /// a key and nothing that helps to find the key (a TLS handshake's PSK binder already allows to test guesses, so a
  /// key that can be guessed is lost with or without it).
  std::string fingerprint() const;

 private:
  std::array<std::uint8_t, size> bytes_;
};

/// The file that holds the key: 64 hex digits and a newline, mode 0600. Thread-safe.
class KeyFile {
 public:
  explicit KeyFile(std::filesystem::path path) : path_(std::move(path)) {}

  const std::filesystem::path& path() const { return path_; }

  /// Creates the file with a random key, durably, if there is none. One that exists is never replaced, and checked as
  /// in load().
  Result<> ensure() const;

  /// The key as the file has it now: it is read at each call, so a replaced file counts from the next handshake on.
  /// Refuses (Code::denied) a file that its group or others may access or that belongs to another user, and
  /// (Code::corrupt) one with other content, by a line that names the file and says what is right.
  Result<Key> load() const;

 private:
  std::filesystem::path path_;
};

}  // namespace ferry::transport
