#include "archive/archive_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "archive/compressed_sink.h"
#include "archive/digest_list.h"
#include "archive/pax.h"
#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "sync/directories.h"
#include "sync/extent.h"
#include "sync/inspect.h"
#include "sync/tree_index.h"
#include "sync/walk.h"

namespace ferry::archive {

namespace {

using sync::Entry;
using sync::Extent;
using sync::Type;

constexpr std::size_t piece = 256U << 10;

/// A map of so many extents takes a reader some MiB.
constexpr std::size_t most_extents = 100'000;

/// Names for a warning.
class Examples {
 public:
  void add(const std::string& path) {
    if (count_++ < most) shown_ += (shown_.empty() ? "" : ", ") + quote(path);
  }
  std::uint64_t count() const { return count_; }
  std::string shown() const { return shown_ + (count_ > most ? ", …" : ""); }

 private:
  static constexpr std::uint64_t most = 5;
  std::uint64_t count_ = 0;
  std::string shown_;
};

/// What of an open file is data. Behind most_extents, everything is.
Result<std::vector<Extent>> find_data(int file, std::uint64_t size) {
  std::vector<Extent> data;
  for (std::uint64_t at = 0; at < size;) {
    FERRY_ASSIGN(Extent next, sync::find_extent(file, at, size));
    if (next.begin == next.end) break;
    if (data.size() + 1 == most_extents) next.end = size;
    at = next.end;
    if (!data.empty() && data.back().end == next.begin)
      data.back().end = next.end;
    else
      data.push_back(next);
  }
  return data;
}

class ArchiveWriter {
 public:
  ArchiveWriter(int volume, const Facts& facts, Sink& out, Progress& progress)
      : volume_(volume), out_(out), progress_(progress), directories_(volume, tree_.entries), content_(progress) {
    front_.facts = facts;
    front_.digests = "ferry-digests-" + random_uuid();
  }

  Result<Written> run() {
    FERRY_TRY(walk());
    announce();
    FERRY_ASSIGN(const std::string front, encode(front_));
    FERRY_TRY(write(front_matter_header(front)));
    metadata_.emplace(front);
    FERRY_TRY(write_tree());
    FERRY_TRY(write(std::string(end_marker, '\0')));
    FERRY_TRY(write_digests());
    FERRY_TRY(write(std::string(end_marker, '\0')));
    return result();
  }

 private:
  /// Names of one directory that are still to be written.
  struct Level {
    std::uint32_t next = 0;
    std::uint32_t end = 0;
    std::size_t path = 0;  // length of the path of the directory
  };

  Result<> walk();
  void announce();
  Result<> write_tree();
  Result<> write_entry(std::uint32_t index, const std::string& path);
  Result<> write_member(std::uint32_t index, const Entry& entry, const std::string& path);
  Result<> write_file(std::uint32_t index, const Entry& entry, const std::string& path);
  Result<Fd> open_file(std::uint32_t index, const Entry& entry);
  Result<FileDigest> write_content(int file, const Entry& entry, const std::vector<Extent>& data);
  Result<> write_extent(int file, const Extent& extent);
  Result<> write_digests();
  Written result();

  Result<> write(std::string_view bytes) {
    auto written = out_.write({bytes.data(), bytes.size()});
    out_failed_ = out_failed_ || !written;
    return written;
  }

  const int volume_;
  Sink& out_;
  Progress& progress_;
  FrontMatter front_;
  sync::Tree tree_;
  sync::Directories directories_;
  std::vector<bool> linked_;                                     // by entry: others are names of the same file
  std::unordered_map<std::uint32_t, std::uint32_t> written_as_;  // of those: the name under which it is in the archive
  std::optional<MetadataHash> metadata_;
  ContentHash content_;
  std::string buffer_;
  DigestList list_;
  Examples sockets_, changed_, vanished_;
  bool out_failed_ = false;  // so an error says nothing about an entry
};

Result<> ArchiveWriter::walk() {
  sync::ManifestSource source(volume_, tree_, {}, nullptr, sync::ManifestSource::Keep::all);
  std::string ignored;
  while (source.next(ignored)) {
    FERRY_TRY(progress_.check());
    ignored.clear();
  }
  for (const auto& socket : source.left_out()) sockets_.add(member_path(tree_.entries, socket.parent) + socket.name);
  return source.outcome();
}

void ArchiveWriter::announce() {
  linked_.assign(tree_.entries.size(), false);
  for (const auto& entry : tree_.entries) {
    if (entry.type == Type::hard_link) linked_[entry.link] = true;
    if (entry.type == Type::regular) front_.bytes += entry.size;
  }
  front_.entries = tree_.entries.size();
  progress_.bytes_total = front_.bytes;
  progress_.entries_total = front_.entries;
}

/// Depth first, because GNU tar gives a directory its times once it comes to something outside of it.
Result<> ArchiveWriter::write_tree() {
  const sync::TreeIndex index(tree_.entries);
  std::string path = "./";
  FERRY_TRY(write_entry(0, path));
  std::vector<Level> levels;
  const auto enter = [&](std::uint32_t directory) {
    const auto children = index.children(directory);
    levels.push_back({children.begin, children.end, path.size()});
  };
  enter(0);
  while (!levels.empty()) {
    Level& level = levels.back();
    path.resize(level.path);
    if (level.next == level.end) {
      levels.pop_back();
      continue;
    }
    const std::uint32_t child = level.next++;
    const bool is_directory = tree_.entries[child].type == Type::directory;
    path += tree_.entries[child].name.view();
    if (is_directory) path += '/';
    FERRY_TRY(write_entry(child, path));
    if (is_directory) enter(child);
  }
  return {};
}

Result<> ArchiveWriter::write_entry(std::uint32_t index, const std::string& path) {
  FERRY_TRY(progress_.check());
  const Entry& name = tree_.entries[index];
  const std::uint32_t file = name.type == Type::hard_link ? name.link : index;
  auto written = write_member(index, tree_.entries[file], path);
  if (!written && (out_failed_ || written.error().code == Code::cancelled)) return written;
  if (!written) return fail(written.error().code, quote(path) + ": " + written.error().message);
  ++progress_.entries_done;
  return {};
}

Result<> ArchiveWriter::write_member(std::uint32_t index, const Entry& entry, const std::string& path) {
  const auto file = static_cast<std::uint32_t>(&entry - tree_.entries.data());
  if (const auto first = written_as_.find(file); first != written_as_.end()) {
    const std::string target = member_path(tree_.entries, first->second);
    FERRY_ASSIGN(const std::string header, link_header(path, target));
    metadata_->add_link(path, target);
    ++list_.entries;
    return write(header);
  }
  if (entry.type == Type::regular) return write_file(index, entry, path);
  FERRY_ASSIGN(const std::string header, member_header(path, entry));
  metadata_->add(path, entry);
  if (linked_[file]) written_as_.emplace(file, index);
  ++list_.entries;
  return write(header);
}

Result<> ArchiveWriter::write_file(std::uint32_t index, const Entry& entry, const std::string& path) {
  FERRY_ASSIGN(const Fd file, open_file(index, entry));
  if (!file) {
    vanished_.add(path);
    progress_.bytes_done += entry.size;
    return {};
  }
  FERRY_ASSIGN(const auto data, find_data(file.get(), entry.size));
  FERRY_ASSIGN(const std::string header, member_header(path, entry, data));
  metadata_->add(path, entry);
  FERRY_TRY(write(header));
  FERRY_ASSIGN(const FileDigest digest, write_content(file.get(), entry, data));
  list_.files.push_back({index, digest});
  ++list_.entries;
  list_.bytes += entry.size;
  const auto number = static_cast<std::uint32_t>(&entry - tree_.entries.data());
  if (linked_[number]) written_as_.emplace(number, index);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat");
  if (static_cast<std::uint64_t>(info.st_size) != entry.size || sync::ctime_ns(info) != entry.ctime_ns)
    changed_.add(path);
  return {};
}

/// None if that name is gone, or another file's by now.
Result<Fd> ArchiveWriter::open_file(std::uint32_t index, const Entry& entry) {
  const Entry& name = tree_.entries[index];
  auto directory = directories_.open(name.parent);
  // O_NONBLOCK: what was a regular file may be a FIFO by now, which open(2) would wait on.
  auto file = directory ? open_at(*directory, name.name.str(), O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK)
                        : Result<Fd>(pass(directory));
  if (!file && file.error().code == Code::not_found) return Fd();
  if (!file) return pass(file);
  struct stat info {};
  if (::fstat(file->get(), &info) != 0) return fail_errno("stat");
  return S_ISREG(info.st_mode) && info.st_ino == entry.inode ? std::move(*file) : Fd();
}

Result<FileDigest> ArchiveWriter::write_content(int file, const Entry& entry, const std::vector<Extent>& data) {
  std::uint64_t bytes = 0;
  for (const auto& extent : data) bytes += extent.end - extent.begin;
  content_.begin(kind_of_digest(entry.size, bytes));
  for (const auto& extent : data) FERRY_TRY(write_extent(file, extent));
  FERRY_TRY(write(std::string(tar_padding(bytes), '\0')));
  progress_.bytes_done += entry.size - bytes;
  return content_.finish(entry.size);
}

/// What a file that has become shorter lacks reads as zeros.
Result<> ArchiveWriter::write_extent(int file, const Extent& extent) {
  buffer_.resize(piece);
  for (std::uint64_t at = extent.begin; at < extent.end;) {
    FERRY_TRY(progress_.check());
    const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(piece, extent.end - at));
    ssize_t count = ::pread(file, buffer_.data(), wanted, static_cast<off_t>(at));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail_errno("read");
    if (count == 0) {
      std::fill_n(buffer_.begin(), wanted, '\0');
      count = static_cast<ssize_t>(wanted);
    }
    const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(count));
    FERRY_TRY(content_.add(at, bytes));
    FERRY_TRY(write(bytes));
    at += bytes.size();
    progress_.bytes_done += bytes.size();
  }
  return {};
}

Result<> ArchiveWriter::write_digests() {
  list_.metadata = metadata_->finish();
  std::uint64_t size = 0;
  DigestLines counted(list_, tree_.entries);
  for (std::string line; !(line = counted.next()).empty();) size += line.size();
  FERRY_TRY(write(plain_header(front_.digests, size)));
  DigestLines written(list_, tree_.entries);
  for (std::string line; !(line = written.next()).empty();) {
    FERRY_TRY(progress_.check());
    FERRY_TRY(write(line));
  }
  return write(std::string(tar_padding(size), '\0'));
}

Written ArchiveWriter::result() {
  Written written;
  written.id = front_.digests;
  written.entries = list_.entries;
  written.files = list_.files.size();
  written.bytes = list_.bytes;
  written.sockets = sockets_.count();
  written.changed = changed_.count();
  written.vanished = vanished_.count();
  const auto warn = [&](const Examples& examples, const std::string& what) {
    if (examples.count() > 0)
      written.warnings.push_back(std::to_string(examples.count()) + " " + what + ": " + examples.shown());
  };
  warn(sockets_, "sockets were left out, which mean nothing on another host");
  warn(changed_, "files changed while they were read, and may be torn");
  warn(vanished_, "files went away while the archive was written, and are left out");
  return written;
}

}  // namespace

Result<Written> write_archive(int volume, const Facts& facts, Compression compression, Sink& sink, Progress& progress) {
  std::unique_ptr<CompressedSink> compressed;
  if (compression != Compression::none) {
    FERRY_ASSIGN(compressed, CompressedSink::open(sink, compression));
  }
  ArchiveWriter writer(volume, facts, compressed ? static_cast<Sink&>(*compressed) : sink, progress);
  FERRY_ASSIGN(Written written, writer.run());
  if (compressed) FERRY_TRY(compressed->finish());
  return written;
}

}  // namespace ferry::archive
