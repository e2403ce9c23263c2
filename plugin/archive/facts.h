#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ferry::archive {

/// What an archive says of its volume, beside the content.
struct Facts {
  std::string name;
  std::string lineage;      ///< UUID that the volume keeps through all its copies; empty: it has none
  std::uint64_t epoch = 1;  ///< ownership counter
  std::string mode = "rw";  ///< or "ro"
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> options;
  bool labels_known = true;  ///< false: the host had no Docker Engine to ask
  std::uint64_t data = 0;    ///< bytes that it took on disk, or fewer
  bool operator==(const Facts&) const = default;
};

/// With which an archive of Ferry's begins: docs/archive.md, "Front matter".
struct FrontMatter {
  Facts facts;
  std::uint64_t entries = 0;  ///< so many at most, the root among them
  std::uint64_t bytes = 0;    ///< of regular files, holes included, each file once: so many at most
  std::string digests;        ///< name of the member with the digests, which no other archive has
};

/// The longest text that there may be of it, in bytes.
constexpr std::size_t longest_front_matter = 900'000;

/// As text. Code::invalid_argument: that is too long, or not UTF-8.
Result<std::string> encode(const FrontMatter& front);

/// Code::unsupported: it is of a later version's; Code::corrupt: damaged.
Result<FrontMatter> decode(std::string_view text);

}  // namespace ferry::archive
