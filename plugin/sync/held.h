#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "sync/blocks.h"
#include "sync/directories.h"
#include "sync/patch.h"

namespace ferry::sync {

/// An extent of a file of which the receiver has another version: what that has there, and what it becomes as the
/// sender's changes come. Not thread-safe.
class HeldExtent {
 public:
  /// Takes the open other version and reads the extent. What changes may be written to that same file, in the order in
  /// which it comes.
  static Result<HeldExtent> read(Fd old, const Extent& extent, std::uint64_t seed);

  /// The digests of its pages, 0 for those that are a hole or behind its end; see Want::held.
  const std::vector<std::uint64_t>& pages() const { return pages_; }

  /// In ascending order.
  Result<> data(std::uint64_t offset, std::string_view bytes);
  Result<> hole(const Extent& hole);

  /// How many they have that are no hole now.
  std::uint64_t bytes() const;

  const Patch& patch() const { return patch_; }
  /// The ContentDigest of what the extent has become. Ends it.
  Digest finish();

 private:
  HeldExtent(Fd old, const Extent& extent) : old_(std::move(old)), extent_(extent) {}
  Result<> read_block(std::uint64_t begin);
  Result<> add_pages(std::uint64_t begin, std::uint64_t seed, Extent& data);
  Result<> change(std::uint64_t offset, std::uint64_t length, const char* bytes);
  void end_block();
  Digest& term(std::uint64_t block) { return terms_[static_cast<std::size_t>((block - extent_.begin) / block_size)]; }

  Fd old_;
  Extent extent_;
  std::vector<std::uint64_t> pages_;
  std::vector<Digest> terms_;  // of its blocks
  Patch patch_;
  std::uint64_t punched_ = 0;           // bytes
  std::string buffer_;                  // the block that is changing
  std::optional<std::uint64_t> block_;  // where that begins
};

}  // namespace ferry::sync
