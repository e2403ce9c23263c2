#include "support/intercepted_calls.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <filesystem>
#include <thread>

namespace ferry::test {

namespace {

using Kind = InterceptedCalls::Kind;

std::atomic<const InterceptedCalls::Hook*> active_changes = nullptr;
std::atomic<const InterceptedCalls::Hook*> active_reads = nullptr;
thread_local bool deciding = false;
std::atomic<int> deciding_now = 0;  // so many threads may use a hook

/// Of what is open; a path that begins with /proc/self/fd/N means what is open as N, and one that begins nowhere is
/// below the thread's working directory.
std::string place_of(int fd, std::string path) {
  constexpr std::string_view descriptors = "/proc/self/fd/";
  if (path.starts_with(descriptors)) {
    const std::size_t end = path.find('/', descriptors.size());
    fd = std::stoi(path.substr(descriptors.size()));
    path = end == std::string::npos ? "" : path.substr(end + 1);
  }
  if (path.starts_with('/')) return path;
  std::error_code ignored;
  const auto open = std::filesystem::read_symlink(
      fd == AT_FDCWD ? "/proc/thread-self/cwd" : std::string(descriptors) + std::to_string(fd), ignored);
  return path.empty() ? open.string() : (open / path).string();
}

auto& active(Kind kind) { return kind == Kind::changes ? active_changes : active_reads; }

int decide(Kind kind, std::string_view name, int fd, const char* path) {
  if (deciding) return 0;
  ++deciding_now;
  int error = 0;
  if (const auto* hook = active(kind).load(); hook != nullptr) {
    deciding = true;
    error = (*hook)({name, place_of(fd, path)});
    deciding = false;
  }
  --deciding_now;
  return error;
}

template <class... Arguments>
long call_of(Kind kind, std::string_view name, int fd, const char* path, long number, Arguments... arguments) {
  const int saved = errno;
  const int error = decide(kind, name, fd, path);
  errno = saved;
  if (error == 0) return ::syscall(number, arguments...);
  if (error == InterceptedCalls::done) return 0;
  errno = error;
  return -1;
}

template <class... Arguments>
long call(Arguments... arguments) {
  return call_of(Kind::changes, arguments...);
}

template <class... Arguments>
int int_call(Arguments... arguments) {
  return static_cast<int>(call(arguments...));
}

template <class... Arguments>
long read_call(Arguments... arguments) {
  return call_of(Kind::reads, arguments...);
}

template <class... Arguments>
int int_read_call(Arguments... arguments) {
  return static_cast<int>(read_call(arguments...));
}

}  // namespace

InterceptedCalls::InterceptedCalls(Hook hook, Kind kind) : hook_(std::move(hook)), kind_(kind) {
  active(kind_) = &hook_;
}
InterceptedCalls::~InterceptedCalls() {
  active(kind_) = nullptr;
  while (deciding_now != 0) std::this_thread::yield();
}

}  // namespace ferry::test

// These stand before the C library's.
extern "C" {

using ferry::test::call;
using ferry::test::int_call;
using ferry::test::int_read_call;
using ferry::test::read_call;

ssize_t write(int fd, const void* data, size_t size) { return call("write", fd, "", SYS_write, fd, data, size); }
ssize_t pwrite(int fd, const void* data, size_t size, off_t offset) {
  return call("pwrite", fd, "", SYS_pwrite64, fd, data, size, offset);
}
ssize_t copy_file_range(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t size, unsigned flags) {
  return call("copy_file_range", out, "", SYS_copy_file_range, in, in_offset, out, out_offset, size, flags);
}
int openat(int directory, const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
  va_end(arguments);
  const bool changes = (flags & (O_CREAT | O_TRUNC)) != 0;
  return changes ? int_call("openat", directory, path, SYS_openat, directory, path, flags, mode)
                 : int_read_call("openat", directory, path, SYS_openat, directory, path, flags, mode);
}
int mkdir(const char* path, mode_t mode) noexcept {
  return int_call("mkdir", AT_FDCWD, path, SYS_mkdirat, AT_FDCWD, path, mode);
}
int mkdirat(int directory, const char* path, mode_t mode) noexcept {
  return int_call("mkdirat", directory, path, SYS_mkdirat, directory, path, mode);
}
int mknodat(int directory, const char* path, mode_t mode, dev_t device) noexcept {
  return int_call("mknodat", directory, path, SYS_mknodat, directory, path, mode, static_cast<unsigned>(device));
}
int symlinkat(const char* target, int directory, const char* path) noexcept {
  return int_call("symlinkat", directory, path, SYS_symlinkat, target, directory, path);
}
int linkat(int from, const char* old_path, int to, const char* new_path, int flags) noexcept {
  return int_call("linkat", to, new_path, SYS_linkat, from, old_path, to, new_path, flags);
}
int unlink(const char* path) noexcept { return int_call("unlink", AT_FDCWD, path, SYS_unlinkat, AT_FDCWD, path, 0); }
int rmdir(const char* path) noexcept {
  return int_call("rmdir", AT_FDCWD, path, SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}
int unlinkat(int directory, const char* path, int flags) noexcept {
  return int_call("unlinkat", directory, path, SYS_unlinkat, directory, path, flags);
}
int rename(const char* from, const char* to) noexcept {
  return int_call("rename", AT_FDCWD, to, SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int from, const char* old_path, int to, const char* new_path) noexcept {
  return int_call("renameat", to, new_path, SYS_renameat2, from, old_path, to, new_path, 0);
}
int renameat2(int from, const char* old_path, int to, const char* new_path, unsigned flags) noexcept {
  return int_call("renameat2", to, new_path, SYS_renameat2, from, old_path, to, new_path, flags);
}
int ftruncate(int fd, off_t size) noexcept { return int_call("ftruncate", fd, "", SYS_ftruncate, fd, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
  return int_call("fallocate", fd, "", SYS_fallocate, fd, mode, offset, size);
}
int fchown(int fd, uid_t uid, gid_t gid) noexcept { return int_call("fchown", fd, "", SYS_fchown, fd, uid, gid); }
int fchownat(int directory, const char* path, uid_t uid, gid_t gid, int flags) noexcept {
  return int_call("fchownat", directory, path, SYS_fchownat, directory, path, uid, gid, flags);
}
int fchmod(int fd, mode_t mode) noexcept { return int_call("fchmod", fd, "", SYS_fchmod, fd, mode); }
int fchmodat(int directory, const char* path, mode_t mode, int flags) noexcept {
  constexpr long fchmodat2 = 452;  // newer than the C library's headers
  return flags == 0 ? int_call("fchmodat", directory, path, SYS_fchmodat, directory, path, mode)
                    : int_call("fchmodat", directory, path, fchmodat2, directory, path, mode, flags);
}
int futimens(int fd, const timespec* times) noexcept {
  return int_call("futimens", fd, "", SYS_utimensat, fd, nullptr, times, 0);
}
int utimensat(int directory, const char* path, const timespec* times, int flags) noexcept {
  return int_call("utimensat", directory, path, SYS_utimensat, directory, path, times, flags);
}
int fsetxattr(int fd, const char* name, const void* value, size_t size, int flags) noexcept {
  return int_call("fsetxattr", fd, "", SYS_fsetxattr, fd, name, value, size, flags);
}
int lsetxattr(const char* path, const char* name, const void* value, size_t size, int flags) noexcept {
  return int_call("lsetxattr", AT_FDCWD, path, SYS_lsetxattr, path, name, value, size, flags);
}
int fremovexattr(int fd, const char* name) noexcept {
  return int_call("fremovexattr", fd, "", SYS_fremovexattr, fd, name);
}
int lremovexattr(const char* path, const char* name) noexcept {
  return int_call("lremovexattr", AT_FDCWD, path, SYS_lremovexattr, path, name);
}
int fsync(int fd) { return int_call("fsync", fd, "", SYS_fsync, fd); }
int fdatasync(int fd) { return int_call("fdatasync", fd, "", SYS_fdatasync, fd); }
int syncfs(int fd) noexcept { return int_call("syncfs", fd, "", SYS_syncfs, fd); }

ssize_t read(int fd, void* data, size_t size) { return read_call("read", fd, "", SYS_read, fd, data, size); }
ssize_t pread(int fd, void* data, size_t size, off_t offset) {
  return read_call("pread", fd, "", SYS_pread64, fd, data, size, offset);
}
off_t lseek(int fd, off_t offset, int whence) noexcept {
  return read_call("lseek", fd, "", SYS_lseek, fd, offset, whence);
}
int fstat(int fd, struct stat* info) noexcept {
  return int_read_call("fstat", fd, "", SYS_newfstatat, fd, "", info, AT_EMPTY_PATH);
}
int fstatat(int directory, const char* path, struct stat* info, int flags) noexcept {
  return int_read_call("fstatat", directory, path, SYS_newfstatat, directory, path, info, flags);
}
int fstatfs(int fd, struct statfs* info) noexcept { return int_read_call("fstatfs", fd, "", SYS_fstatfs, fd, info); }
ssize_t lgetxattr(const char* path, const char* name, void* value, size_t size) noexcept {
  return read_call("lgetxattr", AT_FDCWD, path, SYS_lgetxattr, path, name, value, size);
}
ssize_t llistxattr(const char* path, char* list, size_t size) noexcept {
  return read_call("llistxattr", AT_FDCWD, path, SYS_llistxattr, path, list, size);
}
/// It has no system call of its own.
dirent* readdir(DIR* stream) {
  static const auto real = reinterpret_cast<dirent* (*)(DIR*)>(::dlsym(RTLD_NEXT, "readdir"));
  const int error = ferry::test::decide(ferry::test::Kind::reads, "readdir", ::dirfd(stream), "");
  if (error == 0) return real(stream);
  errno = error;
  return nullptr;
}

}  // extern "C"
