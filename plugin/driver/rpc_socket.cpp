#include "driver/rpc_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

namespace ferry::driver {

namespace {

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(Code::invalid_argument, "the socket path " + path + " is longer than " +
                                            std::to_string(sizeof address.sun_path - 1) + " bytes");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

Result<Fd> unix_socket(const std::string& path) {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail_errno("socket for " + path);
  return fd;
}

const sockaddr* generic(const sockaddr_un& address) { return reinterpret_cast<const sockaddr*>(&address); }

}  // namespace

Result<> RpcSocket::remove_stale() const {
  const std::string path = path_.string();
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode)) return fail(Code::already_exists, path + " exists and is not a socket");
  FERRY_ASSIGN(const sockaddr_un address, address_of(path));
  FERRY_ASSIGN(const Fd probe, unix_socket(path));
  if (::connect(probe.get(), generic(address), sizeof address) == 0 || errno == EAGAIN)
    return fail(Code::busy, "another process serves " + path);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return fail_errno("remove the stale socket " + path);
  return {};
}

Result<Fd> RpcSocket::listen() {
  const std::string path = path_.string();
  FERRY_ASSIGN(const sockaddr_un address, address_of(path));
  FERRY_TRY(remove_stale());
  FERRY_ASSIGN(Fd fd, unix_socket(path));
  if (::bind(fd.get(), generic(address), sizeof address) != 0) return fail_errno("bind " + path);
  // nobody can connect before listen(2), so the mode is right from the first connection on
  struct stat status {};
  if (::chmod(path.c_str(), 0600) != 0 || ::lstat(path.c_str(), &status) != 0) return fail_errno("chmod " + path);
  if (::listen(fd.get(), SOMAXCONN) != 0) return fail_errno("listen on " + path);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  return fd;
}

void RpcSocket::unlink() {
  struct stat status {};
  const bool ours =
      inode_ != 0 && ::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_;
  if (ours) ::unlink(path_.c_str());
  inode_ = 0;
}

}  // namespace ferry::driver
