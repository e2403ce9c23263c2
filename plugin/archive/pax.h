#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sync/entry.h"
#include "sync/extent.h"

/// The pax interchange format (POSIX.1-2017, pax, "EXTENDED DESCRIPTION") with the records of GNU tar and star for what
/// POSIX has none. libarchive can read it, but what it writes GNU tar restores differently: fractions of seconds before
/// 1970, names of xattrs with other than plain characters, ACLs with ids from 2^31 on.
namespace ferry::archive {

constexpr std::uint64_t tar_block = 512;

/// What two blocks of zeros are to a tar: the end.
constexpr std::uint64_t end_marker = 2 * tar_block;

/// Bytes from the end of a member's content to the next header.
constexpr std::uint64_t tar_padding(std::uint64_t size) { return (tar_block - size % tar_block) % tar_block; }

/// Readers built upon libarchive 3.7 or older refuse more than 1 MiB of records for one member.
constexpr std::size_t longest_records = 1'000'000;

/// With which an archive of Ferry's begins: a header for the archive as a whole, which every tar ignores, as `git
/// archive` begins with one. It has a name of its own, so that a front matter that is damaged is not taken for none.
std::string front_matter_header(std::string_view front_matter);

/// The text in front_matter_header(), empty if that is damaged; none if `bytes`, the begin of an archive, is something
/// else. `needed` tells how many bytes there have to be for an answer: more than `bytes` has, or 0 if this is it.
std::optional<std::string_view> find_front_matter(std::string_view bytes, std::size_t& needed);

/// What stands before the content of a member. `path` ends with '/' if it is a directory; of `entry` the name does not
/// matter. `data` is what of a regular file is data: if that is less than all, a map of it is at the end of what is
/// returned, and of the file only that follows. Code::unsupported: no tar would read it.
Result<std::string> member_header(std::string_view path, const sync::Entry& entry,
                                  std::span<const sync::Extent> data = {});

/// The same for another name of the member `first`.
Result<std::string> link_header(std::string_view path, std::string_view first);

/// Of a file that is not part of the volume.
std::string plain_header(std::string_view name, std::uint64_t size);

}  // namespace ferry::archive
