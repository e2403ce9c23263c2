#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "archive/progress.h"
#include "base/result.h"
#include "sync/blocks.h"
#include "sync/entry.h"

struct evp_md_ctx_st;

namespace ferry::archive {

/// SHA-256 (FIPS 180-4). Not thread-safe.
class Sha256 {
 public:
  using Value = std::array<unsigned char, 32>;
  Sha256();
  void add(std::string_view bytes);
  /// Of all that came, and begins anew.
  Value finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

/// Of the content of one regular file.
struct FileDigest {
  enum class Kind : std::uint8_t {
    sha256,    ///< of all bytes, which sha256sum(1) computes as well
    non_zero,  ///< sync::ContentDigest, the first 16 bytes of `value`: takes no time for holes
  };
  Kind kind = Kind::sha256;
  Sha256::Value value{};
};

/// Which one a file has. To hash a hole takes as long as to hash data: where there is more of it, it is left out.
FileDigest::Kind kind_of_digest(std::uint64_t size, std::uint64_t data);

/// Takes the content of one file after the other. Fails when it is cancelled: who makes an archive can have a hole of
/// many TiB hashed. Not thread-safe.
class ContentHash {
 public:
  /// `progress` must outlive this object.
  explicit ContentHash(const Progress& progress) : progress_(progress) {}
  void begin(FileDigest::Kind kind);
  /// Bytes at `offset`, not before the end of what came last; none in between are zeros.
  Result<> add(std::uint64_t offset, std::string_view bytes);
  Result<FileDigest> finish(std::uint64_t size);

 private:
  Result<> add_zeros(std::uint64_t end);

  const Progress& progress_;
  FileDigest::Kind kind_ = FileDigest::Kind::sha256;
  Sha256 sha256_;
  std::uint64_t at_ = 0;  // before it, all is in sha256_
  sync::ContentDigest non_zero_;
};

/// Of everything in an archive that is not content of a file, as it is understood rather than as it is written: so it
/// also finds what a reader has taken for something else. docs/archive.md, "Digests". Not thread-safe.
class MetadataHash {
 public:
  explicit MetadataHash(std::string_view front_matter);
  /// An entry of which `entry.name` does not matter, at `path`, e.g. "./a/b".
  void add(std::string_view path, const sync::Entry& entry);
  /// Another name of a file that came before as `first`.
  void add_link(std::string_view path, std::string_view first);
  std::string finish();

 private:
  void add_text(std::string_view text);

  Sha256 sha256_;
};

std::string to_hex(const FileDigest& digest);

}  // namespace ferry::archive
