#include "sync/candidates.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>

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

/// For one wanted file, whatever is alike on this host, and one of its own path: the first that is there still is
/// taken.
constexpr std::uint8_t most_candidates = 2;

std::uint64_t number_of(std::string_view bytes) { return page_digest(0, bytes); }

}  // namespace

std::size_t Candidates::add_root(Fd root) {
  roots_.push_back(std::move(root));
  return roots_.size() - 1;
}

void Candidates::add(std::uint32_t entry, std::size_t root, std::string_view path, bool is_own_path) {
  if (texts_.size() + path.size() + 2 > UINT32_MAX) return;
  const std::size_t begin_of_name = path.rfind('/') + 1;
  const std::string_view directory = path.substr(0, begin_of_name);
  const std::string_view name = path.substr(begin_of_name);
  if (directory != texts_.c_str() + directory_) directory_ = directory.empty() ? 0 : add_text(directory);
  Item item;
  item.entry = entry;
  item.root = static_cast<std::uint32_t>(root) & 0x7fffffff;
  item.is_other_path = is_own_path ? 0 : 1;
  item.directory = directory_;
  item.name = name == entries_[entry].name ? 0 : add_text(name);
  items_.push_back(item);
}

std::uint32_t Candidates::add_text(std::string_view text) {
  const auto begin = static_cast<std::uint32_t>(texts_.size());
  texts_.append(text);
  texts_ += '\0';
  return begin;
}

void Candidates::sort() {
  std::stable_sort(items_.begin(), items_.end(), [](const Item& a, const Item& b) {
    return a.entry != b.entry ? a.entry < b.entry : a.is_other_path < b.is_other_path;
  });
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
  const std::string path = std::string(texts_.c_str() + item.directory) +
                           (item.name == 0 ? entries_[item.entry].name.c_str() : texts_.c_str() + item.name);
  open_how how{};
  // O_NONBLOCK: what was a regular file may be a FIFO by now, which opening would wait on.
  how.flags = O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  Fd file(static_cast<int>(::syscall(SYS_openat2, roots_[item.root].get(), path.c_str(), &how, sizeof how)));
  if (!file) return fail_errno("open a candidate");
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return fail_errno("stat");
  if (!S_ISREG(info.st_mode)) return fail(Code::not_found, "the candidate is no file any more");
  return file;
}

fs::path index_of(const fs::path& baseline) { return baseline.string() + ".index"; }

Result<> write_index(const fs::path& path, const std::vector<Entry>& entries,
                     const std::function<bool(std::uint32_t entry)>& is_here) {
  std::optional<StateWriter> state;
  std::string body;
  Writer writer(body);
  for (std::uint32_t index = 0; index < entries.size(); ++index) {
    const Entry& entry = entries[index];
    if (entry.type != Type::regular || entry.size < least_indexed || entry.data() == 0 || !is_here(index)) continue;
    const std::string where = Directories::path(entries, index);
    if (where.size() >= PATH_MAX) continue;  // it could not be opened by that
    if (!state) {
      FERRY_ASSIGN(state, StateWriter::create(path));
      body.clear();
      writer.byte(kind_begin);
      writer.number(format);
      FERRY_TRY(state->record(body));
    }
    body.clear();
    writer.byte(kind_file);
    writer.fixed64(Search::likeness(entry));
    writer.raw(where);
    FERRY_TRY(state->record(body));
  }
  return state ? state->finish(StateWriter::Durable::no) : remove_tree(path);
}

Search::Search(const std::vector<FileExtent>& wants, const std::vector<Entry>& entries, const OldTree* old,
               std::uint64_t least, By by, Candidates& found)
    : entries_(entries), found_(found) {
  const auto for_each_file = [&](const auto& call) {
    std::uint32_t last = UINT32_MAX;
    for (const auto& want : wants) {
      const Entry& file = entries_[want.entry];
      const bool is_patched = old != nullptr && old->patched[want.entry];
      if (want.entry == std::exchange(last, want.entry) || is_patched || file.size < least || file.data() == 0 ||
          extent_size(file.size) > largest_held_extent)
        continue;
      call(want.entry, file);
    }
  };
  std::size_t count = 0;
  for_each_file([&](std::uint32_t, const Entry&) { ++count; });
  times_.reserve(count);
  wishes_.reserve(by == By::name_and_inode ? 2 * count : count);
  for_each_file([&](std::uint32_t index, const Entry& file) {
    times_.push_back(time_of(file));
    wishes_.push_back({likeness(file), index});
    if (by == By::name_and_inode) wishes_.push_back({likeness_of_inode(file, file.inode), index});
  });
  std::sort(times_.begin(), times_.end());
  sort();
}

/// Of those that are alike each gets a likeness with its path, and one wish that has none tells that they are many.
void Search::sort() {
  const auto is_less = [](const Wish& a, const Wish& b) { return a.likeness < b.likeness; };
  std::sort(wishes_.begin(), wishes_.end(), is_less);
  const std::size_t count = wishes_.size();
  for (std::size_t begin = 0, end = 0; begin < count; begin = end) {
    const std::uint64_t likeness = wishes_[begin].likeness;
    for (end = begin; end < count && wishes_[end].likeness == likeness;) ++end;
    if (end - begin == 1) continue;
    for (std::size_t i = begin; i < end; ++i)
      wishes_[i].likeness = likeness_of_path(likeness, Directories::path(entries_, wishes_[i].entry));
    Wish many;
    many.likeness = likeness;
    many.is_many = true;
    wishes_.push_back(many);
  }
  if (wishes_.size() != count) std::sort(wishes_.begin(), wishes_.end(), is_less);
}

Search::Wish* Search::find(std::uint64_t likeness) {
  const auto found = std::lower_bound(wishes_.begin(), wishes_.end(), likeness,
                                      [](const Wish& wish, std::uint64_t wanted) { return wish.likeness < wanted; });
  return found != wishes_.end() && found->likeness == likeness ? &*found : nullptr;
}

bool Search::is_of_interest(const Entry& file) const {
  return std::binary_search(times_.begin(), times_.end(), time_of(file));
}

void Search::offer(std::uint64_t likeness, std::size_t root, std::string_view path) {
  Wish* wish = find(likeness);
  if (wish != nullptr && wish->is_many) wish = find(likeness_of_path(likeness, path));
  if (wish == nullptr || wish->is_many) return;
  const bool is_own_path = Directories::path(entries_, wish->entry) == path;
  if (wish->found >= most_candidates && (!is_own_path || wish->found_own_path)) return;
  ++wish->found;
  wish->found_own_path = wish->found_own_path || is_own_path;
  found_.add(wish->entry, root, path, is_own_path);
}

std::uint64_t Search::time_of(const Entry& file) {
  std::string bytes;
  Writer writer(bytes);
  const Timestamp mtime = file.mtime();
  writer.fixed64(file.size);
  writer.fixed64(static_cast<std::uint64_t>(mtime.s));
  writer.fixed64(mtime.ns);
  return number_of(bytes);
}

std::uint64_t Search::likeness(const Entry& file) {
  std::string bytes;
  Writer writer(bytes);
  writer.fixed64(time_of(file));
  writer.raw(file.name);
  return number_of(bytes);
}

std::uint64_t Search::likeness_of_inode(const Entry& file, std::uint64_t inode) {
  std::string bytes;
  Writer writer(bytes);
  writer.fixed64(time_of(file));
  writer.byte('/');  // so begins no name
  writer.fixed64(inode);
  return number_of(bytes);
}

std::uint64_t Search::likeness_of_path(std::uint64_t likeness, std::string_view path) {
  std::string bytes;
  Writer writer(bytes);
  writer.fixed64(likeness);
  writer.raw(path);
  return number_of(bytes);
}

/// An index that cannot be read is passed over: what it told before that is no more of a guess than the rest.
void Search::look_in(const Neighbour& neighbour) {
  std::optional<std::size_t> root;
  const auto looked = read_state(neighbour.index, [&](std::string_view body) -> Result<> {
    Reader reader(body);
    switch (reader.byte()) {
      case kind_begin:
        if (reader.number() != format) return fail(Code::unsupported, "it is of another version");
        return {};
      case kind_file: {
        const std::uint64_t likeness = reader.fixed64();
        if (find(likeness) == nullptr) return {};
        if (!root) {
          FERRY_ASSIGN(Fd opened, open_at(AT_FDCWD, neighbour.data.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
          root = found_.add_root(std::move(opened));
        }
        offer(likeness, *root, reader.rest());
        return {};
      }
      default: return fail(Code::corrupt, "it is damaged");
    }
  });
  if (!looked && looked.error().code != Code::not_found)
    spdlog::debug("{} is of no use: {}", neighbour.index.string(), looked.error().message);
}

}  // namespace ferry::sync
