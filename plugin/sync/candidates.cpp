#include "sync/candidates.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <unordered_map>

#include "base/files.h"
#include "base/log.h"
#include "sync/directories.h"
#include "sync/extent.h"
#include "sync/state_file.h"

namespace ferry::sync {

namespace fs = std::filesystem;

namespace {

constexpr std::uint8_t kind_begin = 1;
constexpr std::uint8_t kind_file = 2;
constexpr std::uint64_t format = 1;

/// Wanted files by what they are like.
using Wanted = std::unordered_multimap<std::uint64_t, std::uint32_t>;

Wanted files_worth_a_look(const std::vector<FileExtent>& wants, const std::vector<Entry>& entries) {
  Wanted wanted;
  std::uint32_t last = UINT32_MAX;
  for (const auto& want : wants) {
    const Entry& file = entries[want.entry];
    if (want.entry != std::exchange(last, want.entry) && file.size >= least_indexed && file.data != 0 &&
        extent_size(file.size) <= largest_held_extent)
      wanted.emplace(likeness(file), want.entry);
  }
  return wanted;
}

Result<> look_in(const Neighbour& neighbour, const Wanted& wanted, Candidates& candidates) {
  std::optional<std::size_t> root;
  return read_state(neighbour.index, [&](std::string_view body) -> Result<> {
    Reader reader(body);
    switch (reader.byte()) {
      case kind_begin:
        if (reader.number() != format) return fail(Code::unsupported, "it is of another version");
        return {};
      case kind_file: {
        const auto [begin, end] = wanted.equal_range(reader.fixed64());
        const std::string_view path = reader.rest();
        if (begin != end && !root) {
          FERRY_ASSIGN(Fd opened, open_at(AT_FDCWD, neighbour.data.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
          root = candidates.add_root(std::move(opened));
        }
        for (auto it = begin; it != end; ++it) candidates.add(it->second, *root, path);
        return {};
      }
      default: return fail(Code::corrupt, "it is damaged");
    }
  });
}

}  // namespace

std::size_t Candidates::add_root(Fd root) {
  roots_.push_back(std::move(root));
  return roots_.size() - 1;
}

void Candidates::add(std::uint32_t entry, std::size_t root, std::string_view path) {
  items_.push_back({entry, static_cast<std::uint32_t>(root), paths_.size()});
  paths_.append(path);
  paths_ += '\0';
}

void Candidates::sort() {
  const auto before = [](const Item& a, const Item& b) { return a.entry < b.entry; };
  std::stable_sort(items_.begin(), items_.end(), before);  // the first one of an entry stays the first
}

std::vector<Candidates::Item>::const_iterator Candidates::find(std::uint32_t entry) const {
  return std::lower_bound(items_.begin(), items_.end(), entry,
                          [](const Item& item, std::uint32_t wanted) { return item.entry < wanted; });
}

bool Candidates::contains(std::uint32_t entry) const {
  const auto found = find(entry);
  return found != items_.end() && found->entry == entry;
}

Result<Fd> Candidates::open(std::uint32_t entry) const {
  for (auto item = find(entry); item != items_.end() && item->entry == entry; ++item)
    if (auto file = open(*item)) return file;
  return fail(Code::not_found, "no candidate is there");
}

Result<Fd> Candidates::open(const Item& item) const {
  open_how how{};
  // O_NONBLOCK: what was a regular file may be a FIFO by now, which opening would wait on.
  how.flags = O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  Fd file(
      static_cast<int>(::syscall(SYS_openat2, roots_[item.root].get(), paths_.c_str() + item.path, &how, sizeof how)));
  if (!file) return fail_errno("open a candidate");
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat");
  if (!S_ISREG(info.st_mode)) return fail(Code::not_found, "the candidate is no file any more");
  return file;
}

fs::path index_of(const fs::path& baseline) { return baseline.string() + ".index"; }

std::uint64_t likeness(const Entry& file) {
  std::string bytes;
  Writer writer(bytes);
  writer.string(file.name);
  writer.number(file.size);
  writer.signed_number(file.mtime_s);
  writer.number(file.mtime_ns);
  return page_digest(0, bytes);
}

Result<> write_index(const fs::path& path, const std::vector<Entry>& entries,
                     const std::function<bool(std::uint32_t entry)>& is_here) {
  FERRY_ASSIGN(StateWriter state, StateWriter::create(path));
  std::string body;
  Writer writer(body);
  writer.byte(kind_begin);
  writer.number(format);
  FERRY_TRY(state.record(body));
  for (std::uint32_t index = 0; index < entries.size(); ++index) {
    const Entry& entry = entries[index];
    if (entry.type != Type::regular || entry.size < least_indexed || entry.data == 0 || !is_here(index)) continue;
    const std::string where = Directories::path(entries, index);
    if (where.size() >= PATH_MAX) continue;  // it could not be opened by that
    body.clear();
    writer.byte(kind_file);
    writer.fixed64(likeness(entry));
    writer.raw(where);
    FERRY_TRY(state.record(body));
  }
  return state.finish();
}

void look_in(std::span<const Neighbour> neighbours, const std::vector<FileExtent>& wants,
             const std::vector<Entry>& entries, Candidates& candidates) {
  if (neighbours.empty()) return;
  const Wanted wanted = files_worth_a_look(wants, entries);
  if (wanted.empty()) return;
  for (const auto& neighbour : neighbours)
    if (auto looked = look_in(neighbour, wanted, candidates); !looked && looked.error().code != Code::not_found)
      spdlog::debug("{} is of no use: {}", neighbour.index.string(), looked.error().message);
}

Result<> copy_range(int from, int to, const Extent& range) {
  for (std::uint64_t at = range.begin; at < range.end;) {
    FERRY_ASSIGN(const Extent data, find_extent(from, at, range.end));
    if (data.begin == data.end) return {};
    auto in = static_cast<off64_t>(data.begin);
    auto out = in;
    while (static_cast<std::uint64_t>(in) < data.end) {
      const ssize_t count = ::copy_file_range(from, &in, to, &out,
                                              static_cast<std::size_t>(data.end - static_cast<std::uint64_t>(in)), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return fail_errno("copy within the host");
      if (count == 0) return {};  // it has become shorter
    }
    at = data.end;
  }
  return {};
}

}  // namespace ferry::sync
