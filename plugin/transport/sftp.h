#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "base/time.h"
#include "transport/peer_address.h"

namespace ferry::transport {

/// A session with the SFTP server of another host's sshd, with at most one open file. Used by one thread at a time, but
/// for abort().
///
/// Paths are absolute. Every error is one sentence that names host and path; `shown` is the path to name in place of a
/// temporary one. Code::unavailable is worth a retry: the connection was lost, or the server did not answer for a
/// minute (half an hour, when content is to become durable). Code::not_found, denied, already_exists, no_space (as far
/// as the server tells: SFTP version 3, draft-ietf-secsh-filexfer-02, has no error for a full disk) and io are not.
class Sftp {
 public:
  /// To the host of `address`, by ssh; `directory` has keys and known_hosts, see ssh_login.h.
  static Result<std::unique_ptr<Sftp>> connect(const PeerAddress& address, const std::filesystem::path& directory,
                                               Deadline deadline);
  Sftp(const Sftp&) = delete;
  Sftp& operator=(const Sftp&) = delete;
  /// Ends the connection, with whatever is open.
  virtual ~Sftp() = default;

  /// What follows, up to the next call, fails at that time at the latest.
  virtual void hurry(Deadline deadline) = 0;
  virtual void take_time() = 0;

  enum class Kind { none, directory, other };
  /// What there is of that name; symlinks are not followed.
  virtual Result<Kind> kind(const std::string& path) = 0;
  /// Bytes that the user may still write to the file system of a file that is there; none: the server does not tell.
  virtual Result<std::optional<std::uint64_t>> room(const std::string& path) = 0;
  /// A file; Code::not_found is none.
  virtual Result<> remove(const std::string& path) = 0;

  /// For reading from its beginning.
  virtual Result<> open(const std::string& path) = 0;
  /// Of the open file, when it was opened; 0: the server does not tell.
  virtual std::uint64_t size() const = 0;
  virtual std::uint64_t modified() const = 0;  ///< seconds since 1970, likewise
  /// What is read or written next begins there, in bytes from the file's beginning.
  virtual void seek(std::uint64_t offset) = 0;
  /// 0: the end.
  virtual Result<std::size_t> read(std::span<char> buffer) = 0;

  /// A new one, which only its owner may read, for writing.
  virtual Result<> create(const std::string& path, const std::string& shown) = 0;
  /// One that is there, for reading and writing from its beginning.
  virtual Result<> open_again(const std::string& path, const std::string& shown) = 0;
  /// Sends `bytes`, which are not empty, and returns how many of them, from the first on, the server has acknowledged;
  /// that may be none. As long as there are others, no call but abort() and write() may follow, which has to begin with
  /// those, and may have more behind them: a request may have been sent in part. Acknowledgements count once all of
  /// `bytes` is under way: a slow network should not be given much more at once than it was before.
  virtual Result<std::size_t> write(std::span<const char> bytes) = 0;
  /// The open file: durable, if the server can make it so, and closed.
  virtual Result<> close_durably() = 0;
  /// `replace`: a file that has the name `to` is replaced, at once where server and libssh2 can (OpenSSH's
  /// posix-rename), else it is named `from` + `aside` for an instant, and none has its name. Without it such a file is
  /// Code::already_exists. After Code::unavailable it may have happened.
  virtual Result<> rename(const std::string& from, const std::string& to, bool replace) = 0;
  /// Behind the name of what is to replace a file: the one that was replaced, see rename().
  static constexpr const char* aside = ".old";

  /// What is another one after each boot of that host (proc(5), /proc/sys/kernel/random/boot_id); empty: it does not
  /// tell, because it is no Linux, or shows a part of its files only.
  virtual Result<std::string> boot_id() = 0;

  /// Makes what is under way, and all that follows, fail at once. From any thread.
  virtual void abort() = 0;

 protected:
  Sftp() = default;
};

}  // namespace ferry::transport
