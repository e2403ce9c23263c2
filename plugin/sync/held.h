#pragma once

#include <algorithm>
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
/// sender's changes come. Of what came in earlier attempts, beside the other version, as much is taken as differs from
/// that. Not thread-safe.
class HeldExtent {
 public:
  /// Takes the open other version, and the file beside it if there is one, which has holes where nothing came, and
  /// reads the extent. What changes may be written to either, in the order in which it comes.
  static Result<HeldExtent> read(Fd old, const Extent& extent, std::uint64_t seed, Fd received = Fd());

  /// The digests of its pages, 0 for those that are a hole or behind its end; see Want::held.
  const std::vector<std::uint64_t>& pages() const { return pages_; }

  /// In ascending order.
  Result<> data(std::uint64_t offset, std::string_view bytes);
  Result<> hole(const Extent& hole);

  /// How many they have that are no hole now.
  std::uint64_t bytes() const;

  /// By which it differs from the other version. Its data is in the file beside that.
  Patch patch() const;
  /// The ContentDigest of what the extent has become. Ends it.
  Digest finish();

 private:
  HeldExtent(Fd old, Fd received, const Extent& extent)
      : old_(std::move(old)), received_(std::move(received)), extent_(extent) {}
  class DataFinder;
  Extent block_at(std::uint64_t begin) const { return {begin, std::min(begin + block_size, extent_.end)}; }
  Result<> add_block(std::uint64_t begin, std::uint64_t seed, DataFinder& old, DataFinder& received);
  Result<> read_block(std::uint64_t begin);
  Result<> change(std::uint64_t offset, std::uint64_t length, const char* bytes);
  void end_block();
  Digest& term(std::uint64_t block) { return terms_[static_cast<std::size_t>((block - extent_.begin) / block_size)]; }

  Fd old_;
  Fd received_;
  Extent extent_;
  std::vector<std::uint64_t> pages_;
  std::vector<Digest> terms_;           // of its blocks
  Patch kept_;                          // what came earlier, and differs
  Patch changes_;                       // what came now
  std::uint64_t punched_ = 0;           // bytes
  std::string buffer_;                  // the block that is changing
  std::optional<std::uint64_t> block_;  // where that begins
};

}  // namespace ferry::sync
