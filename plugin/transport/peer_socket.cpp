#include "transport/peer_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "base/files.h"

namespace ferry::transport {

namespace {

constexpr const char* socket_name = "peer.sock";
constexpr const char* new_name = "peer.sock.new";
constexpr const char* lock_name = "peer.lock";

/// The group that may use the Engine, if it is not root's.
std::optional<gid_t> group_of(const std::filesystem::path& engine_socket) {
  struct stat facts {};
  if (::stat(engine_socket.c_str(), &facts) != 0 || !S_ISSOCK(facts.st_mode)) return {};
  if ((facts.st_mode & S_IWGRP) == 0 || facts.st_gid == 0) return {};
  return facts.st_gid;
}

Result<sockaddr_un> address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.string().size() >= sizeof address.sun_path)
    return fail(Code::invalid_argument, path.string() + " is too long for a Unix socket");
  std::memcpy(address.sun_path, path.c_str(), path.string().size());
  return address;
}

}  // namespace

Result<Fd> PeerSocket::listen() {
  lock_.reset();  // or the lock file could not be locked anew
  const auto group = group_of(engine_socket_);
  FERRY_TRY(enter_directory(group));
  FERRY_TRY(lock());
  FERRY_ASSIGN(Fd socket, bind_new(group));
  struct stat facts {};
  if (::fstatat(directory_.get(), new_name, &facts, AT_SYMLINK_NOFOLLOW) != 0) return fail_errno(peer_socket_path);
  if (::renameat(directory_.get(), new_name, directory_.get(), socket_name) != 0) return fail_errno(peer_socket_path);
  inode_ = facts.st_ino;
  return socket;
}

bool PeerSocket::is_in_place() const {
  struct stat facts {};
  return inode_ != 0 && ::lstat((directory_path_ / socket_name).c_str(), &facts) == 0 && S_ISSOCK(facts.st_mode) &&
         facts.st_ino == inode_;
}

/// /run is root's alone, so whatever else has made that name there is no accident to be repaired.
Result<> PeerSocket::enter_directory(std::optional<gid_t> group) {
  const std::string path = directory_path_.string();
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return fail_errno("mkdir " + path);
  FERRY_ASSIGN(directory_, open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  struct stat facts {};
  if (::fstat(directory_.get(), &facts) != 0) return fail_errno("fstat " + path);
  if (facts.st_uid != ::geteuid())
    return fail(Code::denied, "the directory /run/ferry of this host belongs to user " + std::to_string(facts.st_uid) +
                                  " instead of root; remove it");
  if (::fchown(directory_.get(), static_cast<uid_t>(-1), group.value_or(::getegid())) != 0 ||
      ::fchmod(directory_.get(), group ? 0710 : 0700) != 0)
    return fail_errno("setting the owner and mode of " + path);
  return {};
}

Result<> PeerSocket::lock() {
  FERRY_ASSIGN(Fd file, open_at(directory_.get(), lock_name, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return fail_errno("flock of /run/ferry/peer.lock");
    return fail(Code::busy, std::string("another Ferry on this host has ") + peer_socket_path);
  }
  lock_ = std::move(file);
  return {};
}

/// Nobody can connect before listen(2), so owner and mode are right by then.
Result<Fd> PeerSocket::bind_new(std::optional<gid_t> group) {
  FERRY_ASSIGN(const sockaddr_un address, address_of(directory_path_ / new_name));
  ::unlinkat(directory_.get(), new_name, 0);
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::fchownat(directory_.get(), new_name, static_cast<uid_t>(-1), group.value_or(::getegid()),
                 AT_SYMLINK_NOFOLLOW) != 0 ||
      ::fchmodat(directory_.get(), new_name, group ? 0660 : 0600, 0) != 0 || ::listen(socket.get(), SOMAXCONN) != 0)
    return fail_errno(std::string("listen on ") + peer_socket_path);
  return socket;
}

void PeerSocket::remove() {
  struct stat facts {};
  if (inode_ != 0 && ::fstatat(directory_.get(), socket_name, &facts, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISSOCK(facts.st_mode) && facts.st_ino == inode_)
    ::unlinkat(directory_.get(), socket_name, 0);
  inode_ = 0;
  lock_.reset();
}

}  // namespace ferry::transport
