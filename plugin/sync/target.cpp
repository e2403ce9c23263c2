#include "sync/target.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/files.h"
#include "sync/blocks.h"
#include "sync/metadata.h"

namespace ferry::sync {

namespace {

constexpr std::uint64_t least_compared = 64U << 10;

/// Of any page of the range of an open file; also if nobody is allowed to know (mincore(2)).
bool is_cached(int file, const Extent& range) {
  const auto page = static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  const auto length = static_cast<std::size_t>(range.end - range.begin);
  void* const mapped = ::mmap(nullptr, length, PROT_NONE, MAP_SHARED, file, static_cast<off_t>(range.begin));
  if (mapped == MAP_FAILED) return true;
  std::vector<unsigned char> pages((length + page - 1) / page);
  const bool known = ::mincore(mapped, length, pages.data()) == 0;
  ::munmap(mapped, length);
  return !known || std::any_of(pages.begin(), pages.end(), [](unsigned char each) { return (each & 1) != 0; });
}

/// Makes reads of an open file come from the disk; false if pages stay, because they are dirty for example.
bool drop_clean(int file, std::uint64_t size) {
  constexpr std::uint64_t window = 64U << 20;
  if (::posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) != 0) return false;
  for (std::uint64_t at = 0; at < size; at += window)
    if (is_cached(file, {at, std::min(size, at + window)})) return false;
  return true;
}

/// Its ContentDigest; an error if it cannot be read, or is shorter.
Result<Digest> digest_of_content(int file, std::uint64_t size) {
  ContentDigest digest;
  std::string buffer;
  for (std::uint64_t at = 0; at < size;) {
    buffer.resize(static_cast<std::size_t>(std::min(block_size, size - at)));
    const ssize_t count = ::pread(file, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return fail_errno("read what came");
    digest.add(at, std::string_view(buffer).substr(0, static_cast<std::size_t>(count)));
    at += static_cast<std::uint64_t>(count);
  }
  return digest.finish();
}

}  // namespace

Target::Room room_of(const std::vector<Entry>& entries) {
  Target::Room room;
  for (std::size_t index = 1; index < entries.size(); ++index) {
    room.new_files += entries[index].type == Type::hard_link ? 0 : 1;
    room.bytes += static_cast<std::int64_t>(entries[index].data());
  }
  return room;
}

Result<> check_room(int directory, const std::string& shown, const Target::Room& wanted) {
  struct statvfs room {};
  if (::fstatvfs(directory, &room) != 0) return fail_errno("look for room in " + shown);
  const std::uint64_t free_bytes = static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
  if (wanted.bytes > 0 && static_cast<std::uint64_t>(wanted.bytes) > free_bytes)
    return fail(Code::no_space, "too little space in " + shown + ": " + std::to_string(wanted.bytes) +
                                    " more bytes are needed, " + std::to_string(free_bytes) + " are free");
  if (room.f_files != 0 && wanted.new_files > room.f_favail)
    return fail(Code::no_space, "too few inodes in " + shown + ": " + std::to_string(wanted.new_files) +
                                    " more are needed, " + std::to_string(room.f_favail) + " are free");
  return {};
}

bool is_worth_comparing(const Entry& entry, std::uint64_t size) {
  return std::min(size, entry.size) >= least_compared && entry.data() >= entry.size / 2 &&
         extent_size(entry.size) <= largest_held_extent;
}

bool drop_cached(int directory, const std::string& name, std::uint64_t size) {
  const auto file = open_at(directory, name, O_RDONLY | O_NOFOLLOW);
  return file && ::fdatasync(file->get()) == 0 && drop_clean(file->get(), size);
}

Result<bool> confirm_claim(Journal& journal, const std::string& path, const Entry& entry, int directory,
                           const std::string& name) {
  const auto claim = journal.claimed(path);
  if (!claim || !claim->same_version(entry) || !claim->stable) return false;
  const auto file = open_at(directory, name, O_RDWR | O_NOFOLLOW);
  struct stat info {};
  if (!file || ::fstat(file->get(), &info) != 0 || static_cast<std::uint64_t>(info.st_size) != entry.size) return false;
  if (!drop_clean(file->get(), entry.size)) return false;
  const auto digest = digest_of_content(file->get(), entry.size);
  if (!digest || *digest != claim->digest) return false;
  FERRY_TRY(apply_metadata(file->get(), entry));
  FERRY_TRY(journal.record(path, *claim));
  return true;
}

Result<> for_missing_extents(int file, std::uint64_t size, const FileProgress& known, Unverified unverified,
                             const std::function<void(std::uint32_t extent)>& want) {
  for (std::uint32_t number = 0; number < extent_count(size); ++number) {
    if (known.extents.contains(number)) continue;
    if (unverified == Unverified::drop) FERRY_TRY(punch_hole(file, extent_of(size, number)));
    want(number);
  }
  return {};
}

}  // namespace ferry::sync
