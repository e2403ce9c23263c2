#include "archive/tree_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "archive/digest_list.h"
#include "base/files.h"
#include "base/log.h"
#include "base/time.h"
#include "sync/metadata.h"

namespace ferry::archive {

namespace {

using sync::Entry;
using sync::Type;

/// Bytes of memory for an entry but its name and xattrs: twice in a vector, which may have room for as many again, its
/// node in PathTree's set, and its digest.
constexpr std::uint64_t around_entry = 2 * (sizeof(Entry) + sizeof(DigestList::File)) + 64;

/// A directory that the archive does not have itself.
Entry implied_directory() {
  constexpr std::int64_t second = 1'000'000'000;
  const std::int64_t now = realtime_ns();
  Entry entry;
  entry.type = Type::directory;
  entry.mode = 0755;
  entry.set_mtime({now / second, static_cast<std::uint32_t>(now % second)});
  return entry;
}

}  // namespace

/// Of memory, until the end.
Result<> TreeWriter::use(std::uint64_t bytes) {
  used_ += bytes;
  if (used_ <= memory_) return {};
  return fail(Code::no_space, "the archive has too many entries for this host: what has to be known of the first " +
                                  std::to_string(entries().size()) + " takes the " + std::to_string(memory_) +
                                  " bytes of memory that there are for it");
}

/// Before anything is made of that name.
Result<std::uint32_t> TreeWriter::add(const Place& place, Entry entry, Came came) {
  if (entries().size() >= most_)
    return fail(Code::no_space,
                "the archive has more than the " + std::to_string(most_) + " entries that there is room for");
  FERRY_TRY(use(around_entry + place.name.size()));
  explicit_.push_back(came == Came::itself);
  return tree_.add(place.parent, place.name, std::move(entry));
}

/// Where it is to be made. Makes the directories on its way that are missing.
Result<TreeWriter::Place> TreeWriter::place(const std::vector<std::string_view>& names) {
  Place place;
  for (std::size_t i = 0; i + 1 < names.size(); ++i) {
    const auto found = tree_.find(place.parent, names[i]);
    if (found && entries()[*found].type != Type::directory)
      return fail(Code::corrupt, "it is below " + quote(names[i]) + ", which is no directory in this archive");
    if (found) {
      place.parent = *found;
    } else {
      FERRY_TRY(progress_.check());
      FERRY_ASSIGN(place.parent, make_directory(place.parent, names[i]));
    }
  }
  place.name = names.back();
  return place;
}

Result<std::uint32_t> TreeWriter::make_directory(std::uint32_t parent, std::string_view name) {
  FERRY_ASSIGN(const std::uint32_t index, add({parent, name}, implied_directory(), Came::implied));
  FERRY_ASSIGN(const int directory, directories_.open(parent));
  if (::mkdirat(directory, std::string(name).c_str(), 0700) != 0) return fail_errno("create directory");
  return index;
}

/// Takes the metadata of a directory that is there only because something in it came first.
Result<std::uint32_t> TreeWriter::adopt(std::uint32_t index, Entry entry) {
  if (explicit_[index] || entry.type != Type::directory || entries()[index].type != Type::directory)
    return fail(Code::corrupt, "the archive has it twice");
  FERRY_TRY(use(entry.memory_elsewhere()));
  Entry& known = tree_.entry(index);
  entry.name = known.name;
  entry.parent = known.parent;
  known = std::move(entry);
  explicit_[index] = true;
  return index;
}

Result<std::uint32_t> TreeWriter::make(const std::vector<std::string_view>& names, Entry entry) {
  if (names.empty() && entry.type != Type::directory)
    return fail(Code::corrupt, "the volume's root would be no directory");
  if (names.empty()) return adopt(0, std::move(entry));
  FERRY_ASSIGN(const Place at, place(names));
  if (const auto found = tree_.find(at.parent, at.name)) return adopt(*found, std::move(entry));
  if (entry.type == Type::directory) {
    FERRY_ASSIGN(const std::uint32_t made, make_directory(at.parent, at.name));
    return adopt(made, std::move(entry));
  }
  const bool is_regular = entry.type == Type::regular;
  Entry kept;
  kept.type = entry.type;
  FERRY_ASSIGN(const std::uint32_t index, add(at, std::move(kept), Came::itself));
  FERRY_ASSIGN(const int directory, directories_.open(at.parent));
  entry.name = entries()[index].name;
  if (!is_regular) {
    FERRY_TRY(sync::create_special(directory, entry));
    return index;
  }
  FERRY_TRY(open_at(directory, std::string(at.name), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  return index;
}

Result<std::uint32_t> TreeWriter::find_file(const std::vector<std::string_view>& names) const {
  std::uint32_t at = 0;
  for (const auto name : names) {
    const auto found = tree_.find(at, name);
    if (!found) return fail(Code::corrupt, "it links to what has not come before in this archive");
    at = *found;
  }
  if (entries()[at].type == Type::directory) return fail(Code::corrupt, "it links to a directory");
  return at;
}

Result<std::uint32_t> TreeWriter::link(const std::vector<std::string_view>& names, std::uint32_t target) {
  if (names.empty()) return fail(Code::corrupt, "the volume's root would be no directory");
  FERRY_ASSIGN(const Place at, place(names));
  if (tree_.find(at.parent, at.name)) return fail(Code::corrupt, "the archive has it twice");
  const Entry& file = entries()[target];
  Entry entry;
  entry.type = Type::hard_link;
  entry.link = file.type == Type::hard_link ? file.link : target;
  FERRY_ASSIGN(const std::uint32_t index, add(at, std::move(entry), Came::itself));
  FERRY_ASSIGN(const int found, directories_.open(entries()[target].parent));
  const Fd from(::fcntl(found, F_DUPFD_CLOEXEC, 0));  // the next open() may close it
  if (!from) return fail_errno("dup");
  FERRY_ASSIGN(const int to, directories_.open(at.parent));
  if (::linkat(from.get(), entries()[target].name.c_str(), to, std::string(at.name).c_str(), 0) != 0)
    return fail_errno("link");
  return index;
}

Result<Fd> TreeWriter::open(std::uint32_t index) {
  FERRY_ASSIGN(const int directory, directories_.open(entries()[index].parent));
  return open_at(directory, entries()[index].name.str(), O_WRONLY | O_NOFOLLOW);
}

Result<> TreeWriter::finish(std::uint32_t index, int file, const Entry& entry) {
  tree_.entry(index).size = entry.size;
  return sync::apply_metadata(file, entry);
}

Result<> TreeWriter::finish_directories() {
  for (auto index = static_cast<std::uint32_t>(entries().size()); index-- > 0;) {
    const Entry& entry = entries()[index];
    if (entry.type != Type::directory || (index == 0 && !has_root())) continue;
    FERRY_TRY(progress_.check());
    auto directory = directories_.open(index, sync::Directories::Keep::all_above);
    const auto applied = directory ? sync::apply_metadata(*directory, entry) : Result<>(pass(directory));
    if (!applied)
      return fail(applied.error().code,
                  "entry " + quote(member_path(entries(), index)) + ": " + applied.error().message);
  }
  return {};
}

}  // namespace ferry::archive
