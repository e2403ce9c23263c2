#include "migration/file_archive.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "base/fd.h"
#include "base/files.h"

namespace ferry::migration {

namespace {

/// Of a path below a directory, which no symlink in it leads out of.
Result<Fd> open_below(int directory, const std::string& path, std::uint64_t flags, std::uint64_t mode = 0) {
  struct open_how how {};
  how.flags = flags | O_CLOEXEC;
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  const long fd = ::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how);
  if (fd < 0 && errno == ENOSYS)
    return fail(Code::unsupported, "archives in file:// need Linux 5.6 or later (openat2); use sftp://");
  if (fd < 0) return fail_errno("file://" + path);
  return Fd(static_cast<int>(fd));
}

class FileInput final : public ArchiveInput {
 public:
  explicit FileInput(Fd file) : file_(std::move(file)) {}

  Result<std::size_t> read(std::span<char> buffer) override {
    while (true) {
      if (aborted_) return fail(Code::cancelled, "cancelled");
      const ssize_t n = ::read(file_.get(), buffer.data(), buffer.size());
      if (n >= 0) return static_cast<std::size_t>(n);
      if (errno != EINTR) return fail_errno("read the archive");
    }
  }
  std::uint64_t size() const override {
    struct stat info {};
    return ::fstat(file_.get(), &info) == 0 && S_ISREG(info.st_mode) ? static_cast<std::uint64_t>(info.st_size) : 0;
  }
  void hurry(Deadline) override {}
  void take_time() override {}
  std::string trouble() const override { return {}; }
  void abort() override { aborted_ = true; }

 private:
  const Fd file_;
  std::atomic<bool> aborted_{false};
};

class FileOutput final : public ArchiveOutput {
 public:
  FileOutput(Fd directory, Fd file, std::string part, std::string name, std::string shown, bool replace)
      : directory_(std::move(directory)),
        file_(std::move(file)),
        part_(std::move(part)),
        name_(std::move(name)),
        shown_(std::move(shown)),
        replace_(replace) {}
  ~FileOutput() override {
    if (!finished_) ::unlinkat(directory_.get(), part_.c_str(), 0);
  }

  Result<> write(std::span<const char> bytes) override {
    while (!bytes.empty()) {
      if (aborted_) return fail(Code::cancelled, "cancelled");
      const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
      if (n < 0 && errno != EINTR) return fail_errno("write " + shown_);
      if (n <= 0) continue;
      bytes = bytes.subspan(static_cast<std::size_t>(n));
      dirty_ += static_cast<std::size_t>(n);
    }
    if (dirty_ < most_dirty) return {};
    dirty_ = 0;
    return ::fdatasync(file_.get()) == 0 ? Result<>() : Result<>(fail_errno("write " + shown_));
  }

  std::optional<std::uint64_t> free_bytes() const override {
    struct statvfs facts {};
    if (::fstatvfs(file_.get(), &facts) != 0) return std::nullopt;
    return static_cast<std::uint64_t>(facts.f_bavail) * facts.f_frsize;
  }
  Result<> flush() override { return {}; }
  Result<> finish() override {
    if (::fsync(file_.get()) != 0) return fail_errno("write " + shown_);
    FERRY_TRY(give_name());
    finished_ = true;
    if (::fsync(directory_.get()) != 0) return fail_errno("write the directory of " + shown_);
    return {};
  }
  std::string trouble() const override { return {}; }
  void abort() override { aborted_ = true; }

 private:
  /// So that no fsync takes long, which nothing can interrupt.
  static constexpr std::size_t most_dirty = 64U << 20;

  /// NFS, 9p and others know no RENAME_NOREPLACE; a link is as good, where there are any.
  Result<> give_name() {
    const unsigned flags = replace_ ? 0U : static_cast<unsigned>(RENAME_NOREPLACE);
    if (::renameat2(directory_.get(), part_.c_str(), directory_.get(), name_.c_str(), flags) == 0) return {};
    if (!replace_ && (errno == EINVAL || errno == ENOSYS)) return give_new_name();
    return refuse_name();
  }
  Result<> give_new_name() {
    if (::linkat(directory_.get(), part_.c_str(), directory_.get(), name_.c_str(), 0) == 0) {
      ::unlinkat(directory_.get(), part_.c_str(), 0);
      return {};
    }
    if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS) return refuse_name();
    struct stat info {};
    if (::fstatat(directory_.get(), name_.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) errno = EEXIST;
    if (errno == EEXIST) return refuse_name();
    if (::renameat(directory_.get(), part_.c_str(), directory_.get(), name_.c_str()) == 0) return {};
    return refuse_name();
  }
  Result<> refuse_name() const {
    if (errno == EEXIST) return fail(Code::already_exists, shown_ + " exists already");
    return fail_errno("give " + shown_ + " its name");
  }

  const Fd directory_;
  const Fd file_;
  const std::string part_;
  const std::string name_;
  const std::string shown_;
  const bool replace_;
  std::size_t dirty_ = 0;
  std::atomic<bool> aborted_{false};
  bool finished_ = false;
};

Result<Fd> open_directory(const std::filesystem::path& files) {
  if (files.empty())
    return fail(Code::denied,
                "no directory is mounted for archives; `docker plugin disable -f ferry; docker plugin set "
                "ferry archives.source=/DIRECTORY; docker plugin enable ferry`");
  return open_at(AT_FDCWD, files.string(), O_RDONLY | O_DIRECTORY);
}

/// A directory in the mounted one, and whether there is an archive of that name in it.
struct FilePlace {
  Fd directory;
  std::string name;
  bool there = false;
};

Result<FilePlace> find_place(const std::filesystem::path& files, const ArchiveAddress& address) {
  FERRY_ASSIGN(const Fd root, open_directory(files));
  const auto slash = address.path.rfind('/');
  FilePlace place;
  place.name = address.path.substr(slash + 1);
  FERRY_ASSIGN(place.directory, open_below(root.get(), address.path.substr(0, slash + 1), O_RDONLY | O_DIRECTORY));
  struct stat info {};
  place.there = ::fstatat(place.directory.get(), place.name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  if (!place.there && errno != ENOENT) return fail_errno(address.text());
  if (place.there && S_ISDIR(info.st_mode)) return fail(Code::already_exists, address.text() + " is a directory");
  return place;
}

std::string last_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Result<std::unique_ptr<ArchiveInput>> open_file(const ArchiveAddress& address, const std::filesystem::path& files) {
  FERRY_ASSIGN(const Fd directory, open_directory(files));
  FERRY_ASSIGN(Fd file, open_below(directory.get(), address.path, O_RDONLY | O_NONBLOCK));
  struct stat info {};
  if (::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode))
    return fail(Code::invalid_argument, address.text() + " is no regular file");
  return std::unique_ptr<ArchiveInput>(std::make_unique<FileInput>(std::move(file)));
}

Result<std::unique_ptr<ArchiveOutput>> create_file(const ArchiveAddress& address, const std::filesystem::path& files,
                                                   const std::string& part, bool replace) {
  FERRY_ASSIGN(FilePlace place, find_place(files, address));
  if (place.there && !replace) return exists_already(address);
  const std::string part_name = last_name(part);
  ::unlinkat(place.directory.get(), part_name.c_str(), 0);
  FERRY_ASSIGN(Fd file, open_below(place.directory.get(), part_name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW,
                                   S_IRUSR | S_IWUSR));
  return std::unique_ptr<ArchiveOutput>(std::make_unique<FileOutput>(std::move(place.directory), std::move(file),
                                                                     part_name, place.name, address.text(), replace));
}

}  // namespace ferry::migration
