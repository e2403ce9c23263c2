#include "archive/extraction.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "archive/archive_reader.h"
#include "archive/digest_list.h"
#include "archive/tree_writer.h"
#include "base/directory.h"
#include "base/log.h"

namespace ferry::archive {

namespace {

using sync::Entry;
using sync::Type;

/// Directories above an entry of a foreign archive: nobody's tree is that deep, and each is a step for each entry.
constexpr std::size_t most_levels = 10'000;

/// Whose bounds an archive goes beyond.
constexpr const char* announced = "than it says itself at its begin";

Result<> set_size(int file, std::uint64_t size) {
  if (::ftruncate(file, static_cast<off_t>(size)) != 0) return fail_errno("set the size");
  return {};
}

class Extraction {
 public:
  Extraction(ArchiveReader& reader, int staging, const Limits& limits, Progress& progress)
      : reader_(reader),
        origin_(reader.front_matter() ? Origin::ferry : Origin::foreign),
        limits_(limits),
        progress_(progress),
        writer_(staging, limits.entries, limits.memory, progress),
        metadata_(reader.front_text()),
        content_(progress) {
    if (!reader.front_matter()) return;
    progress_.bytes_total = reader.front_matter()->bytes;
    progress_.entries_total = reader.front_matter()->entries;
  }

  Result<Extracted> run() {
    while (true) {
      FERRY_ASSIGN(::archive_entry * entry, reader_.next());
      if (entry == nullptr) break;
      FERRY_TRY(take(entry));
    }
    FERRY_TRY(check_complete());
    FERRY_TRY(writer_.finish_directories());
    return result();
  }

 private:
  Result<> take(::archive_entry* from);
  Result<> make(const ReadEntry& read);
  Result<> make_link(const ReadEntry& read, const std::vector<std::string_view>& names);
  Result<> make_file(std::uint32_t index, const ReadEntry& read);
  Result<> write_content(int file, std::uint64_t size);
  Result<> check_room(std::uint64_t size) const;
  Result<> write_block(int file, const ArchiveReader::Block& block);
  Result<> fill_link(std::uint32_t target, const ReadEntry& read);
  Result<> drop_content();
  Result<> count_entry();
  Result<> count_bytes(std::uint64_t size);
  Result<> check_digests();
  tl::unexpected<Error> differs(const DigestLines& lines) const;
  Result<> check_complete() const;
  Extracted result();
  const std::optional<FrontMatter>& front() const { return reader_.front_matter(); }

  ArchiveReader& reader_;
  const Origin origin_;
  const Limits limits_;
  Progress& progress_;
  TreeWriter writer_;
  DigestList list_;  // of what came
  MetadataHash metadata_;
  ContentHash content_;
  std::uint64_t written_ = 0;  // bytes
  std::uint64_t files_ = 0;
  std::uint64_t sockets_ = 0;
  std::uint64_t looked_up_ = 0;  // entries with names in ACLs
  bool verified_ = false;
};

/// libarchive keeps the path of a cpio archive's file that has further names, to find these.
constexpr std::size_t around_link = 64;

Result<> Extraction::take(::archive_entry* from) {
  auto read = read_entry(from, origin_);
  const char* path = ::archive_entry_pathname(from);
  if (path != nullptr && ::archive_entry_nlink(from) > 1)
    FERRY_TRY(writer_.use(std::string_view(path).size() + around_link));
  if (front() && path != nullptr && path == front()->digests) return check_digests();
  auto made = read ? make(*read) : Result<>(pass(read));
  if (made || made.error().code == Code::cancelled || reader_.failed_below()) return made;
  return fail(made.error().code, "entry " + quote(path != nullptr ? path : "") + ": " + made.error().message);
}

Result<> Extraction::make(const ReadEntry& read) {
  if (verified_) return fail(Code::corrupt, "it comes behind the digests, which are the last of an archive");
  if (read.is_socket) {
    ++sockets_;
    return drop_content();
  }
  FERRY_TRY(count_entry());
  FERRY_ASSIGN(const auto names, names_of(read.path));
  if (origin_ == Origin::foreign && names.size() > most_levels)
    return fail(Code::corrupt, "it is below more than " + std::to_string(most_levels) + " directories");
  if (!read.hard_link.empty()) return make_link(read, names);
  looked_up_ += read.looked_up ? 1 : 0;
  FERRY_ASSIGN(const std::uint32_t index, writer_.make(names, read.entry));
  metadata_.add(member_path(writer_.entries(), index), read.entry);
  if (read.entry.type != Type::regular) return drop_content();
  ++files_;
  return make_file(index, read);
}

Result<> Extraction::make_link(const ReadEntry& read, const std::vector<std::string_view>& names) {
  auto target_names = names_of(read.hard_link);
  if (!target_names)
    return fail(target_names.error().code, "the target of the hard link, " + quote(read.hard_link) +
                                               ", is refused: " + target_names.error().message);
  FERRY_ASSIGN(const std::uint32_t target, writer_.find_file(*target_names));
  FERRY_ASSIGN(const std::uint32_t index, writer_.link(names, target));
  metadata_.add_link(member_path(writer_.entries(), index), member_path(writer_.entries(), target));
  return read.entry.size > 0 ? fill_link(writer_.entries()[index].link, read) : drop_content();
}

/// A cpio archive has the content with one of the names, or with each of them.
Result<> Extraction::fill_link(std::uint32_t target, const ReadEntry& read) {
  const Entry& file = writer_.entries()[target];
  if (file.type != Type::regular || origin_ == Origin::ferry)
    return fail(Code::corrupt, "it is a hard link with content of its own");
  if (file.size > 0) return drop_content();
  return make_file(target, read);
}

Result<> Extraction::make_file(std::uint32_t index, const ReadEntry& read) {
  FERRY_TRY(count_bytes(read.entry.size));
  FERRY_TRY(check_room(read.data));
  FERRY_ASSIGN(const Fd file, writer_.open(index));
  FERRY_TRY(set_size(file.get(), read.entry.size));
  content_.begin(kind_of_digest(read.entry.size, std::min(read.data, read.entry.size)));
  const std::uint64_t written_before = written_;
  FERRY_TRY(write_content(file.get(), read.entry.size));
  const std::uint64_t data = written_ - written_before;
  if (data < read.data) return fail(Code::corrupt, "its content is shorter than its size");
  if (origin_ == Origin::ferry) {
    FERRY_ASSIGN(const FileDigest digest, content_.finish(read.entry.size));
    list_.files.push_back({index, digest});
  }
  progress_.bytes_done += read.entry.size - data;
  return writer_.finish(index, file.get(), read.entry);
}

Result<> Extraction::write_content(int file, std::uint64_t size) {
  std::uint64_t at = 0;
  while (true) {
    FERRY_ASSIGN(const auto block, reader_.read());
    if (!block) return {};
    if (block->offset < at) return fail(Code::corrupt, "its content is out of order");
    if (block->offset > size || block->bytes.size() > size - block->offset)
      return fail(Code::corrupt, "its content is longer than its size");
    if (origin_ == Origin::ferry) FERRY_TRY(content_.add(block->offset, block->bytes));
    FERRY_TRY(write_block(file, *block));
    at = block->offset + block->bytes.size();
    progress_.bytes_done += block->bytes.size();
  }
}

Result<> Extraction::check_room(std::uint64_t size) const {
  if (size <= limits_.bytes - written_) return {};
  return fail(Code::no_space,
              "the archive takes more than the " + std::to_string(limits_.bytes) + " bytes that there is room for");
}

Result<> Extraction::write_block(int file, const ArchiveReader::Block& block) {
  FERRY_TRY(check_room(block.bytes.size()));
  written_ += block.bytes.size();
  std::string_view rest = block.bytes;
  auto offset = static_cast<off_t>(block.offset);
  while (!rest.empty()) {
    const ssize_t count = ::pwrite(file, rest.data(), rest.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("write");
    rest.remove_prefix(static_cast<std::size_t>(count));
    offset += count;
  }
  return {};
}

Result<> Extraction::drop_content() {
  while (true) {
    FERRY_ASSIGN(const auto block, reader_.read());
    if (!block) return {};
  }
}

Result<> Extraction::count_entry() {
  ++list_.entries;
  ++progress_.entries_done;
  if (front() && list_.entries > front()->entries)
    return fail(Code::corrupt, std::string("the archive has more entries ") + announced);
  return {};
}

Result<> Extraction::count_bytes(std::uint64_t size) {
  if (front() && size > front()->bytes - list_.bytes)
    return fail(Code::corrupt, std::string("the archive has more bytes ") + announced);
  list_.bytes += size;
  return {};
}

Result<> Extraction::check_digests() {
  list_.metadata = metadata_.finish();
  DigestLines lines(list_, writer_.entries());
  std::string line;
  std::size_t at = 0;
  while (true) {
    FERRY_ASSIGN(const auto block, reader_.read());
    std::string_view rest = block ? block->bytes : std::string_view();
    if (!block) break;
    while (!rest.empty()) {
      if (at == line.size()) {
        line = lines.next();
        at = 0;
      }
      const auto size = std::min(rest.size(), line.size() - at);
      if (size == 0 || rest.substr(0, size) != std::string_view(line).substr(at, size)) return differs(lines);
      rest.remove_prefix(size);
      at += size;
    }
  }
  if (at != line.size() || !lines.next().empty()) return differs(lines);
  verified_ = true;
  return {};
}

tl::unexpected<Error> Extraction::differs(const DigestLines& lines) const {
  if (lines.file() < 0)
    return fail(Code::corrupt, "the archive is damaged: names or metadata of its entries are not what was written");
  const auto& file = list_.files[static_cast<std::size_t>(lines.file())];
  return fail(Code::corrupt, "the archive is damaged: the content of " +
                                 quote(member_path(writer_.entries(), file.entry)) + " is not what was written");
}

Result<> Extraction::check_complete() const {
  if (front() && !verified_) return fail(Code::corrupt, "the archive is incomplete: its digests are missing");
  if (!front() && list_.entries == 0) return fail(Code::corrupt, "the archive has no entries");
  return {};
}

Extracted Extraction::result() {
  Extracted extracted;
  if (front()) extracted.facts = front()->facts;
  if (front()) extracted.id = front()->digests;
  extracted.verified = verified_;
  extracted.has_root = writer_.has_root();
  extracted.entries = list_.entries;
  extracted.files = files_;
  extracted.bytes = list_.bytes;
  extracted.format = reader_.format();
  const auto warn = [&](std::uint64_t count, const std::string& what) {
    if (count > 0) extracted.warnings.push_back(std::to_string(count) + " " + what);
  };
  warn(sockets_, "sockets were left out, which mean nothing on another host");
  warn(looked_up_, "entries have ACLs with names and no numbers: they were given the numbers of Ferry's own system");
  return extracted;
}

}  // namespace

Result<std::optional<FrontMatter>> read_front_matter(Source& source, const Progress& progress) {
  FERRY_ASSIGN(const auto reader, ArchiveReader::open(source, progress));
  return reader->front_matter();
}

Result<Extracted> extract_archive(Source& source, int staging, const Limits& limits, Progress& progress) {
  FERRY_ASSIGN(const auto names, names_in(staging));
  if (!names.empty()) return fail(Code::invalid_argument, "the directory to extract into is not empty");
  FERRY_ASSIGN(const auto reader, ArchiveReader::open(source, progress));
  return Extraction(*reader, staging, limits, progress).run();
}

}  // namespace ferry::archive
