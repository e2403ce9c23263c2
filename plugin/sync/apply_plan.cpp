#include <fcntl.h>
#include <linux/fs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <set>
#include <system_error>

#include "base/directory.h"
#include "base/files.h"
#include "base/log.h"
#include "sync/baseline.h"
#include "sync/blocks.h"
#include "sync/directories.h"
#include "sync/metadata.h"
#include "sync/obstacles.h"
#include "sync/places.h"
#include "sync/plan.h"
#include "sync/tree_index.h"

namespace ferry::sync {

namespace {

Result<> copy_range(int from, int to, const Extent& range) {
  std::string buffer;
  for (std::uint64_t at = range.begin; at < range.end;) {
    buffer.resize(static_cast<std::size_t>(std::min(block_size, range.end - at)));
    const ssize_t got = ::pread(from, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno("read what was received");
    if (got == 0) return fail(Code::corrupt, "what was received of it is not there any more");
    for (ssize_t put = 0; put < got;) {
      const ssize_t count =
          ::pwrite(to, buffer.data() + put, static_cast<std::size_t>(got - put), static_cast<off_t>(at) + put);
      if (count < 0 && errno != EINTR) return fail_errno("write");
      if (count > 0) put += count;
    }
    at += static_cast<std::uint64_t>(got);
  }
  return {};
}

Result<> empty_directory(int directory) {
  FERRY_ASSIGN(const auto names, names_in(directory));
  for (const auto& name : names) FERRY_TRY(remove_tree_at(directory, name));
  return {};
}

/// What an operator can do about what nobody is permitted to change, or where something has been mounted meanwhile.
tl::unexpected<Error> explained(const Error& error, const std::string& what) {
  for (const int mounted : {EXDEV, EBUSY})
    if (error.message.ends_with(std::generic_category().message(mounted)))
      return fail(Code::denied, error.message + "; is something mounted on " + what +
                                    " or its directory? `umount` it, and the update goes on");
  if (!error.message.ends_with(std::generic_category().message(EPERM))) return fail(error.code, error.message);
  return fail(Code::denied,
              error.message + "; is " + what +
                  " or its directory immutable or append-only (lsattr)? `chattr -i -a` it, and the update "
                  "goes on");
}

Result<> delete_gone(int gone, const UpdatePaths& paths) {
  if (auto done = empty_directory(gone); !done)
    return explained(
        {done.error().code, "what was taken away, in " + paths.gone.string() + ": " + done.error().message},
        "something there");
  return {};
}

bool find(int directory, const std::string& name, struct stat& info) {
  return ::fstatat(directory, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
}

/// Every step may have been done before. What has to go is renamed into `gone` first, so that it can be told from what
/// comes in its place.
class Applier {
 public:
  Applier(const Plan& plan, const UpdatePaths& paths, int data, int content, int gone)
      : plan_(plan),
        paths_(paths),
        entries_(plan.manifest.entries),
        data_(data),
        content_(content),
        gone_(gone),
        directories_(data, entries_) {}

  Result<> run() {
    FERRY_TRY(take_away());
    FERRY_TRY(each(&Applier::make_directory));
    FERRY_TRY(each(&Applier::change));
    FERRY_TRY(each(&Applier::link));
    for (auto index = static_cast<std::uint32_t>(entries_.size()); index-- > 0;)
      if (auto done = finish_directory(index); !done) return at(index, done.error());
    return {};
  }

 private:
  using Step = Plan::Step;

  tl::unexpected<Error> at(std::uint32_t index, const Error& error) const {
    return fail(error.code, Directories::shown(entries_, index) + ": " + error.message);
  }

  Result<> each(Result<> (Applier::*action)(std::uint32_t)) {
    for (std::uint32_t index = 0; index < entries_.size(); ++index)
      if (auto done = (this->*action)(index); !done) return at(index, done.error());
    return {};
  }

  Step step(std::uint32_t index) const { return plan_.entries[index].step; }

  Result<> take_away() {
    FERRY_ASSIGN(const bool taken, ferry::exists(paths_.taken));
    if (taken) return {};
    FERRY_TRY(accept_all_projects(gone_));
    for (std::size_t number = 0; number < plan_.removals.size(); ++number) {
      const auto& removal = plan_.removals[number];
      const std::string place = std::to_string(number);
      struct stat info {};
      if (find(gone_, place, info)) continue;
      FERRY_ASSIGN(const int directory, directories_.open(removal.directory));
      if (::renameat(directory, removal.name.c_str(), gone_, place.c_str()) != 0 && errno != ENOENT)
        return fail_errno("take away " + printable(removal.name) + " from " +
                          Directories::shown(entries_, removal.directory));
    }
    if (::syncfs(data_) != 0) return fail_errno("sync what was taken away");  // before anything comes in its place
    return write_file_atomically(paths_.taken, "");
  }

  Result<> make_directory(std::uint32_t index) {
    if (entries_[index].type != Type::directory || step(index) != Step::make) return {};
    FERRY_ASSIGN(const int parent, directories_.open(entries_[index].parent));
    const char* name = entries_[index].name.c_str();
    if (::mkdirat(parent, name, 0700) == 0) return {};
    struct stat info {};
    if (errno != EEXIST || !find(parent, name, info)) return fail_errno("create directory");
    if (S_ISDIR(info.st_mode)) return {};
    if (::unlinkat(parent, name, 0) != 0 || ::mkdirat(parent, name, 0700) != 0) return fail_errno("create directory");
    return {};
  }

  Result<> change(std::uint32_t index) {
    const Entry& entry = entries_[index];
    if (entry.type == Type::directory || entry.type == Type::hard_link) return {};
    switch (step(index)) {
      case Step::keep:
      case Step::absent: return {};
      case Step::metadata: return patch(index);
      case Step::patch: return patch(index);
      case Step::replace: return replace(index);
      case Step::make: return make_special(index);
    }
    return {};
  }

  Result<> make_special(std::uint32_t index) {
    FERRY_ASSIGN(const int parent, directories_.open(entries_[index].parent));
    if (::unlinkat(parent, entries_[index].name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("remove");
    return create_special(parent, entries_[index]);
  }

  Result<> replace(std::uint32_t index) {
    FERRY_ASSIGN(const int parent, directories_.open(entries_[index].parent));
    const std::string received = Places::flat_name(entries_, index);
    struct stat info {};
    const auto rename = [&] {
      return ::renameat(content_, received.c_str(), parent, entries_[index].name.c_str()) == 0 ? 0 : errno;
    };
    int error = rename();
    if (error == EXDEV) {
      FERRY_TRY(adopt(content_, received, parent));
      error = rename();
    }
    if (error == 0) return {};
    if (error == ENOENT && find(parent, entries_[index].name.str(), info) && S_ISREG(info.st_mode)) return {};
    return fail_errno("put it in its place", error);
  }

  /// Only what is written to has to be writable.
  Result<> patch(std::uint32_t index) {
    const Entry& entry = entries_[index];
    FERRY_ASSIGN(const int parent, directories_.open(entry.parent));
    const int access = step(index) == Step::patch ? O_RDWR : O_RDONLY;
    FERRY_ASSIGN(const Fd file, open_at(parent, entry.name.str(), access | O_NOFOLLOW));
    if (step(index) == Step::patch) FERRY_TRY(patch_content(index, file.get()));
    return apply_metadata(file.get(), entry);
  }

  Result<> patch_content(std::uint32_t index, int file) {
    const Entry& entry = entries_[index];
    if (::ftruncate(file, static_cast<off_t>(entry.size)) != 0) return fail_errno("set the size");
    FERRY_ASSIGN(const Fd received, open_at(content_, Places::flat_name(entries_, index), O_RDONLY | O_NOFOLLOW));
    while (next_patch_ < plan_.patches.size() && plan_.patches[next_patch_].entry < index) ++next_patch_;
    for (; next_patch_ < plan_.patches.size() && plan_.patches[next_patch_].entry == index; ++next_patch_) {
      const auto& of_extent = plan_.patches[next_patch_];
      FERRY_ASSIGN(const Patch patch, Patch::decode(*of_extent.patch, extent_of(entry.size, of_extent.extent)));
      for (const auto& change : patch.changes()) FERRY_TRY(apply(change, received.get(), file));
    }
    return {};
  }

  /// What is to get a name in a directory becomes part of that one's project.
  static Result<> adopt(int directory, const std::string& name, int by) {
    FERRY_ASSIGN(const Fd file, open_at(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
    return adopt_project(file.get(), by);
  }

  static Result<> apply(const Change& change, int received, int file) {
    if (!change.hole) return copy_range(received, file, change.range);
    return punch_hole(file, change.range);
  }

  Result<> link(std::uint32_t index) {
    const Entry& entry = entries_[index];
    if (entry.type != Type::hard_link || step(index) != Step::make) return {};
    const Entry& target = entries_[entry.link];
    FERRY_ASSIGN(const int found, directories_.open(target.parent));
    const Fd from(::fcntl(found, F_DUPFD_CLOEXEC, 0));  // the next open() may close it
    if (!from) return fail_errno("dup");
    FERRY_ASSIGN(const int to, directories_.open(entry.parent));
    if (::unlinkat(to, entry.name.c_str(), 0) != 0 && errno != ENOENT) return fail_errno("remove");
    const auto linked = [&] { return ::linkat(from.get(), target.name.c_str(), to, entry.name.c_str(), 0) == 0; };
    if (linked()) return {};
    if (errno == EXDEV && target.type == Type::regular) {
      FERRY_TRY(adopt(from.get(), target.name.str(), to));
      if (linked()) return {};
    }
    if (errno != EMLINK) return fail_errno("link");
    FERRY_TRY(delete_gone(gone_, paths_));  // its names count too
    if (!linked()) return fail_errno("link");
    return {};
  }

  Result<> finish_directory(std::uint32_t index) {
    if (entries_[index].type != Type::directory || step(index) == Step::keep) return {};
    FERRY_ASSIGN(const int directory, directories_.open(index, Directories::Keep::all_above));
    return apply_metadata(directory, entries_[index]);
  }

  const Plan& plan_;
  const UpdatePaths& paths_;
  const std::vector<Entry>& entries_;
  const int data_;
  const int content_;
  const int gone_;
  Directories directories_;
  std::size_t next_patch_ = 0;
};

/// The directories whose names were changed here and that have names now which no plan gave them: their times, which
/// would tell, were set after those came.
Result<std::set<std::uint32_t>> foreign_names(const Plan& plan, int root) {
  const auto& entries = plan.manifest.entries;
  const TreeIndex index(entries);
  Directories directories(root, entries);
  std::set<std::uint32_t> found;
  for (std::uint32_t directory = 0; directory < entries.size(); ++directory) {
    if (entries[directory].type != Type::directory || plan.entries[directory].step == Plan::Step::keep) continue;
    FERRY_ASSIGN(const int fd, directories.open(directory));
    FERRY_ASSIGN(const auto names, names_in(fd));
    for (const auto& name : names)
      if (index.find(directory, name) == TreeIndex::none) found.insert(directory);
  }
  return found;
}

}  // namespace

Result<> apply_plan(const std::filesystem::path& update, const std::filesystem::path& data,
                    const std::filesystem::path& baseline) {
  const UpdatePaths paths(update);
  FERRY_ASSIGN(const Plan plan, read_plan(paths.plan));
  FERRY_ASSIGN(const Fd root, open_at(AT_FDCWD, data.string(), O_RDONLY | O_DIRECTORY));
  FERRY_ASSIGN(const Fd content, open_at(AT_FDCWD, paths.content.string(), O_RDONLY | O_DIRECTORY));
  FERRY_ASSIGN(const Fd gone, open_at(AT_FDCWD, paths.gone.string(), O_RDONLY | O_DIRECTORY));
  if (auto done = Applier(plan, paths, root.get(), content.get(), gone.get()).run(); !done)
    return explained(done.error(), "that");
  // The ctimes of what stays change with that, and the baseline has to have the last ones.
  if (plan.splits_inodes) FERRY_TRY(delete_gone(gone.get(), paths));
  // What it lost is written again when the plan is repeated: patches are, and replacements were durable before.
  if (::syncfs(root.get()) != 0) return fail_errno("sync " + data.string());
  FERRY_ASSIGN(const auto foreign, foreign_names(plan, root.get()));
  return write_baseline(baseline, root.get(), plan.manifest, [&](std::uint32_t index) {
    const auto& entry = plan.entries[index];
    return Arrived{entry.digest, entry.stable, foreign.contains(index) ? changed_meanwhile : entry.seen};
  });
}

}  // namespace ferry::sync
