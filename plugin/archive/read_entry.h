#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "archive/handles.h"
#include "base/result.h"
#include "sync/entry.h"

namespace ferry::archive {

/// An entry of an archive as it is to be made, or why it cannot be. All but `entry` is valid as long as what it was
/// read from.
struct ReadEntry {
  std::string_view path;
  std::string_view hard_link;  ///< path of the entry of which it is another name; empty: of none
  bool is_socket = false;      ///< it means nothing here, and the rest is not read
  bool looked_up = false;      ///< an ACL has names, of which the numbers are those of this system
  std::uint64_t data = 0;      ///< of `entry.size`: what is no hole
  sync::Entry entry;           ///< its name is empty
};

/// Whose rules an archive obeys, where libarchive cannot tell.
enum class Origin { ferry, foreign };

/// Everything but the content. Code::corrupt or unsupported: it is refused, for a reason that does not name it.
Result<ReadEntry> read_entry(::archive_entry* from, Origin origin);

/// The names on the way to it from the volume's root; none for the root itself. Refuses what does not stay below it.
Result<std::vector<std::string_view>> names_of(std::string_view path);

}  // namespace ferry::archive
