#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "archive/stream.h"
#include "base/result.h"
#include "base/time.h"
#include "migration/archive_address.h"

namespace ferry::migration {

/// An archive that is being read.
class ArchiveInput : public archive::Source {
 public:
  virtual std::uint64_t size() const = 0;  ///< 0: that is not known
  /// Until take_time(), read() fails at that time at the latest.
  virtual void hurry(Deadline deadline) = 0;
  virtual void take_time() = 0;
  /// What read() waits for at present, as a sentence; empty: nothing. From any thread.
  virtual std::string trouble() const = 0;
  /// Makes read() under way, and later ones, fail soon. From any thread.
  virtual void abort() = 0;
};

/// An archive that is being written, under a name of its own beside the one that it is to have. Used by one thread at a
/// time, but for trouble() and abort().
class ArchiveOutput : public archive::Sink {
 public:
  /// Bytes that there was room for at its place when it was made; none: that is not known.
  virtual std::optional<std::uint64_t> free_bytes() const = 0;
  /// Returns when all that was written has arrived, or the error of what has not.
  virtual Result<> flush() = 0;
  /// After all is written: durable, and of its name. Code::already_exists: another file has it, and is not to be
  /// replaced. After Code::unavailable it may have happened. The destructor removes what is not finished, as
  /// far as the place can be reached; a warning in the log says if it cannot.
  virtual Result<> finish() = 0;
  /// What write(), flush() or finish() waits for at present, as a sentence; empty: nothing. From any thread.
  virtual std::string trouble() const = 0;
  virtual void abort() = 0;  ///< as that of ArchiveInput
};

/// The places where archives are: files behind an sshd, and those below a directory. Thread-safe.
class ArchiveStore {
 public:
  /// `ssh_directory` has private keys and known_hosts; `files` is the directory of file://, empty: there is none.
  ArchiveStore(std::filesystem::path ssh_directory, std::filesystem::path files)
      : ssh_directory_(std::move(ssh_directory)), files_(std::move(files)) {}

  /// Code::not_found, denied, …; unavailable is worth a retry.
  Result<std::unique_ptr<ArchiveInput>> open(const ArchiveAddress& address, Deadline deadline) const;

  /// `id`, 32 hex digits, tells this archive from others that are written to the same name; what an earlier attempt
  /// with it has left is removed. Code::already_exists: there is one, and `replace` is false.
  Result<std::unique_ptr<ArchiveOutput>> create(const ArchiveAddress& address, const std::string& id, bool replace,
                                                Deadline deadline) const;

 private:
  const std::filesystem::path ssh_directory_;
  const std::filesystem::path files_;
};

}  // namespace ferry::migration
