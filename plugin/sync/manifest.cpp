#include "sync/manifest.h"

#include <unistd.h>

#include "base/log.h"
#include "sync/blocks.h"
#include "sync/content.h"

namespace ferry::sync {

namespace {

enum Kind : std::uint8_t {
  kind_entry = 1,
  kind_trailer = 2,
  kind_failure = 3,  // FrameKind::failure too
  kind_header = 4,
  kind_origin = 5
};

constexpr std::size_t longest_uuid = 64;
constexpr std::size_t longest_name = 255;
constexpr std::size_t longest_target = 4096;
constexpr std::size_t longest_xattr = 65536;  // XATTR_SIZE_MAX, xattr(7)
constexpr std::size_t most_xattrs = 16384;
constexpr std::size_t most_warnings = 1000;
constexpr std::size_t longest_text = 4096;
constexpr std::size_t most_kept_warnings = 20;
constexpr std::size_t longest_kept_warning = 500;

/// What an entry's fields may be, apart from its place in the tree.
bool is_plausible(const Entry& entry) {
  constexpr auto nobody = static_cast<std::uint32_t>(-1);  // to chown(2) it means "no change"
  const bool device = entry.type == Type::character_device || entry.type == Type::block_device;
  return entry.uid != nobody && entry.gid != nobody && entry.mtime().ns < 1'000'000'000 && entry.data() <= entry.size &&
         entry.size <= static_cast<std::uint64_t>(INT64_MAX) && (entry.size == 0 || entry.type == Type::regular) &&
         (entry.extra().device == 0 || device) && (entry.type == Type::symlink) == !entry.extra().target.empty() &&
         entry.extra().target.find('\0') == std::string::npos;
}

Type read_type(Reader& reader, bool& known) {
  const std::uint8_t value = reader.byte();
  known = value >= static_cast<std::uint8_t>(Type::directory) && value <= static_cast<std::uint8_t>(Type::hard_link);
  return static_cast<Type>(value);
}

void write_xattrs(Writer& writer, const Xattrs& xattrs) {
  writer.number(xattrs.size());
  for (const auto& xattr : xattrs) {
    writer.string(xattr.name);
    writer.string(xattr.value);
  }
}

bool read_xattrs(Reader& reader, Xattrs& all) {
  const std::uint64_t count = reader.number();
  if (count > most_xattrs) return false;
  std::vector<Xattr> xattrs;
  for (std::uint64_t i = 0; i < count && reader.ok(); ++i) {
    Xattr xattr{std::string(reader.string(longest_name)), std::string(reader.string(longest_xattr))};
    if (xattr.name.empty() || xattr.name.find('\0') != std::string::npos) return false;
    if (!xattrs.empty() && xattr.name <= xattrs.back().name) return false;
    xattrs.push_back(std::move(xattr));
  }
  if (!xattrs.empty()) all = Xattrs(std::move(xattrs));
  return reader.ok();
}

/// Bytes of memory that an entry takes, of which some are `elsewhere`, with its extents if it has several: each may be
/// wanted, and noted in the journal. What is in a vector counts twice, since one that grows has room for twice as much.
std::uint64_t memory_of(const Entry& entry, std::uint64_t elsewhere) {
  constexpr std::size_t around_name = 3;    // see Name
  constexpr std::size_t noted_extent = 80;  // a map's node with a number and a string
  std::uint64_t bytes = 2 * sizeof(Entry) + around_name + entry.name.size() + elsewhere;
  if (const std::uint32_t extents = extent_count(entry.size); extents > 1)
    bytes += extents * (2 * sizeof(FileExtent) + noted_extent);
  return bytes;
}

}  // namespace

std::uint64_t memory_for_manifests() {
  return static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) /
         2;
}

void append_entry(std::string& out, const Entry& entry) {
  append_entry(out, entry, {entry.data(), entry.inode, entry.ctime_ns});
}

void append_entry(std::string& out, const Entry& entry, const Local& local) {
  thread_local std::string body;  // keeps its memory
  body.clear();
  Writer writer(body);
  writer.byte(kind_entry);
  writer.byte(static_cast<std::uint8_t>(entry.type));
  writer.number(entry.parent);
  writer.string(entry.name);
  if (entry.type == Type::hard_link) {
    writer.number(entry.link);
    append_record(out, body);
    return;
  }
  writer.number(entry.mode);
  writer.number(entry.uid);
  writer.number(entry.gid);
  const Timestamp mtime = entry.mtime();
  writer.signed_number(mtime.s);
  writer.number(mtime.ns);
  writer.number(entry.size);
  writer.number(local.data);
  writer.number(entry.extra().device);
  writer.number(local.inode);
  writer.number(local.ctime_ns);
  writer.string(entry.extra().target);
  write_xattrs(writer, entry.extra().xattrs);
  append_record(out, body);
}

void append_header(std::string& out, const ManifestInfo& info) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_header);
  writer.string(info.host);
  writer.string(info.lineage);
  writer.string(info.origin);
  writer.digest(info.origin_stamp);
  append_record(out, body);
}

void append_origin(std::string& out, const Origin& origin) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_origin);
  writer.number(origin.entry);
  writer.number(origin.inode);
  writer.number(origin.ctime_ns);
  writer.digest(origin.digest);
  append_record(out, body);
}

void append_trailer(std::string& out, const ManifestInfo& info, std::uint64_t entries) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_trailer);
  writer.number(entries);
  writer.number(info.stable_before_ns);
  writer.number(info.warnings.size());
  for (const auto& warning : info.warnings) writer.string(std::string_view(warning).substr(0, longest_text));
  append_record(out, body);
}

void append_failure(std::string& out, const Error& error) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_failure);
  writer.string(std::string_view(error.message).substr(0, longest_text));
  append_record(out, body);
}

tl::unexpected<Error> read_failure(Reader& reader) {
  const auto text = reader.string(longest_text);
  return fail(Code::io,
              reader.ok() ? "the peer reports: " + printable(text) : "the peer reports an error it cannot name");
}

ManifestDecoder::ManifestDecoder(std::size_t most, std::uint64_t memory)
    : most_(most),
      memory_(memory),
      records_(longest_manifest_record, [this](std::string_view body) { return record(body); }) {}

Result<> ManifestDecoder::record(std::string_view body) {
  if (complete_) return fail(Code::corrupt, "the peer's manifest goes on after its end");
  Reader reader(body);
  switch (reader.byte()) {
    case kind_entry: return entry(reader);
    case kind_header: return header(reader);
    case kind_origin: return origin(reader);
    case kind_trailer: return trailer(reader);
    case kind_failure: return read_failure(reader);
    default: return fail(Code::corrupt, "the peer's manifest has a record of an unknown kind");
  }
}

Result<> ManifestDecoder::entry(Reader& reader) {
  if (manifest_.entries.size() >= most_)
    return fail(Code::corrupt, "the peer's manifest has more than " + std::to_string(most_) + " entries");
  Entry entry;
  bool known = false;
  entry.type = read_type(reader, known);
  entry.parent = reader.number32();
  entry.name = manifest_.names.add(reader.string(longest_name));
  bool fits = known;
  if (entry.type == Type::hard_link) {
    entry.link = reader.number32();
  } else {
    const std::uint32_t mode = reader.number32();
    fits = fits && mode <= 07777;
    entry.mode = mode & 07777;
    entry.uid = reader.number32();
    entry.gid = reader.number32();
    const std::int64_t mtime_s = reader.signed_number();
    entry.set_mtime({mtime_s, reader.number32()});
    entry.size = reader.number();
    entry.set_data(reader.number());
    Extra extra;
    extra.device = reader.number();
    entry.inode = reader.number();
    entry.ctime_ns = reader.number();
    extra.target = reader.string(longest_target);
    fits = fits && read_xattrs(reader, extra.xattrs);
    entry.set_extra(std::move(extra));
    fits = fits && is_plausible(entry);
  }
  if (!fits || !reader.at_end())
    return fail(Code::corrupt, "the peer's manifest has a malformed entry " + quote(entry.name));
  FERRY_TRY(checker_.check(entry));
  return keep(std::move(entry));
}

Result<> ManifestDecoder::keep(Entry entry) {
  if (entry.data() > static_cast<std::uint64_t>(INT64_MAX) - data_)
    return fail(Code::corrupt, "the peer's manifest has more bytes than any file system");
  data_ += entry.data();
  const std::uint64_t elsewhere = xattr_sets_.share(entry);
  used_ += memory_of(entry, elsewhere);
  if (used_ > memory_)
    return fail(Code::unsupported, "the source has too many files for this host: the list of the first " +
                                       std::to_string(manifest_.entries.size()) + " takes " + std::to_string(memory_) +
                                       " bytes of memory, and no more than half of this host's may be used");
  manifest_.entries.push_back(std::move(entry));
  return {};
}

Result<> ManifestDecoder::header(Reader& reader) {
  auto& info = manifest_.info;
  const bool first = manifest_.entries.empty() && info.host.empty();
  info.host = reader.string(longest_uuid);
  info.lineage = reader.string(longest_uuid);
  info.origin = reader.string(longest_uuid);
  info.origin_stamp = reader.digest();
  if (first && reader.at_end()) return {};
  return fail(Code::corrupt, "the peer's manifest has a malformed header");
}

Result<> ManifestDecoder::origin(Reader& reader) {
  Origin origin;
  origin.entry = reader.number32();
  origin.inode = reader.number();
  origin.ctime_ns = reader.number();
  origin.digest = reader.digest();
  const auto& entries = manifest_.entries;
  const bool fits = reader.at_end() && !entries.empty() && origin.entry == entries.size() - 1 &&
                    entries.back().type == Type::regular &&
                    (manifest_.origins.empty() || manifest_.origins.back().entry < origin.entry);
  if (!fits) return fail(Code::corrupt, "the peer's manifest has a malformed origin");
  used_ += 2 * sizeof(Origin);
  manifest_.origins.push_back(origin);
  return {};
}

Result<> ManifestDecoder::trailer(Reader& reader) {
  const std::uint64_t entries = reader.number();
  manifest_.info.stable_before_ns = reader.number();
  const std::uint64_t warnings = reader.number();
  for (std::uint64_t i = 0; i < warnings && i < most_warnings && reader.ok(); ++i) {
    const auto text = reader.string(longest_text);
    if (i < most_kept_warnings) manifest_.info.warnings.push_back(printable(text, longest_kept_warning));
  }
  if (!reader.at_end() || entries != manifest_.entries.size() || entries == 0)
    return fail(Code::corrupt, "the peer's manifest does not add up");
  complete_ = true;
  return {};
}

Result<Manifest> ManifestDecoder::finish() {
  FERRY_TRY(records_.finish());
  if (!complete_) return fail(Code::corrupt, "the peer's manifest is incomplete");
  return std::move(manifest_);
}

}  // namespace ferry::sync
