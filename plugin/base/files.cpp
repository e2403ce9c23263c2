#include "base/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/random.h"

namespace ferry {

namespace fs = std::filesystem;

Result<Fd> open_at(int directory, const std::string& path, int flags, mode_t mode) {
  Fd fd(::openat(directory, path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) return fail_errno("open " + printable(path));
  return fd;
}

Result<std::string> read_file(const fs::path& path, std::size_t limit) {
  FERRY_ASSIGN(const Fd fd, open_at(AT_FDCWD, path.string(), O_RDONLY));
  std::string content;
  char buffer[1 << 16];
  while (true) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read " + path.string());
    if (n == 0) return content;
    content.append(buffer, static_cast<std::size_t>(n));
    if (content.size() > limit)
      return fail(Code::corrupt, path.string() + " is larger than " + std::to_string(limit) + " bytes");
  }
}

Result<> write_all(int fd, std::span<const char> data, std::string_view what) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("write " + std::string(what));
    data = data.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<bool> exists(const std::filesystem::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT) return false;
  return fail_errno("stat " + path.string());
}

Result<> sync_directory(const fs::path& path) {
  FERRY_ASSIGN(const Fd fd, open_at(AT_FDCWD, path.string(), O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path.string());
  return {};
}

namespace {

/// A new file whose content, but not yet its name, is durable. After an error there is none, unless it was there
/// before.
Result<> write_synced(const fs::path& path, std::string_view content, mode_t mode) {
  FERRY_ASSIGN(const Fd fd, open_at(AT_FDCWD, path.string(), O_WRONLY | O_CREAT | O_EXCL, mode));
  const auto fill = [&]() -> Result<> {
    FERRY_TRY(write_all(fd.get(), content, path.string()));
    if (::fchmod(fd.get(), mode) != 0) return fail_errno("chmod " + path.string());
    if (::fsync(fd.get()) != 0) return fail_errno("fsync " + path.string());
    return {};
  };
  Result<> filled = fill();
  if (!filled) ::unlink(path.c_str());
  return filled;
}

}  // namespace

Result<> write_new_file(const fs::path& path, std::string_view content, mode_t mode) {
  FERRY_TRY(write_synced(path, content, mode));
  Result<> synced = sync_directory(path.parent_path());
  if (!synced) ::unlink(path.c_str());
  return synced;
}

Result<> write_file_atomically(const fs::path& path, std::string_view content, mode_t mode) {
  const fs::path temporary = path.parent_path() / (".new-" + random_hex(8));
  FERRY_TRY(write_synced(temporary, content, mode));
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return fail_errno("rename " + path.string(), error);
  }
  return sync_directory(path.parent_path());
}

Result<> rename_durably(const fs::path& from, const fs::path& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) != 0)
    return fail_errno("rename " + from.string() + " to " + to.string());
  FERRY_TRY(sync_directory(to.parent_path()));
  return sync_directory(from.parent_path());
}

Result<> make_directories(const fs::path& path, mode_t mode) {
  std::error_code ignored;  // what stat(2) has against the path, mkdir(2) will tell
  if (path.empty() || fs::is_directory(path, ignored)) return {};
  FERRY_TRY(make_directories(path.parent_path(), mode));
  if (::mkdir(path.c_str(), mode) != 0) {
    const int error = errno;
    if (error != EEXIST || !fs::is_directory(path, ignored)) return fail_errno("mkdir " + path.string(), error);
  }
  return sync_directory(path.parent_path());
}

}  // namespace ferry
