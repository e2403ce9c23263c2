#pragma once

#include <cstdint>
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

/// A header for the archive as a whole, which every tar ignores, as `git archive` begins with one. The comment must not
/// be longer than longest_front_matter.
std::string global_comment(std::string_view comment);

/// The comment of global_comment(), where `bytes`, the begin of an archive, has one. `needed` tells how many bytes are
/// to be there for an answer: more than `bytes` has, or none if it is the answer.
std::string_view find_global_comment(std::string_view bytes, std::size_t& needed);

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
