#include "migration/sftp_archive.h"

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "base/log.h"
#include "transport/sftp.h"

namespace ferry::migration {

namespace {

using std::chrono::milliseconds;
using transport::Sftp;

constexpr milliseconds connect_time{5000};
constexpr milliseconds first_pause{250};
constexpr milliseconds longest_pause{5000};
constexpr milliseconds time_to_remove{1000};
constexpr milliseconds time_to_log_in{3000};
/// What may be without an acknowledgement: just less than OpenSSH takes of a session before it has to be read
/// (channels.h, CHAN_SES_WINDOW_DEFAULT), requests included.
constexpr std::size_t under_way = (2U << 20) - (128U << 10);
/// How much more of it libssh2 is given at a time, see Sftp::write(): so a slow network comes on, too.
constexpr std::size_t step = 256U << 10;
/// What is compared before a part is written on, if the host does not tell whether it was booted since: one that
/// crashed may have lost what it had acknowledged, and that is the end of the file mostly.
constexpr std::size_t compared = 64U << 10;

/// A connection that is made anew when it is lost. Used by one thread at a time, but for abort() and trouble().
class Connection {
 public:
  Connection(std::unique_ptr<Sftp> server, ArchiveAddress address, std::filesystem::path ssh_directory)
      : address_(std::move(address)), ssh_directory_(std::move(ssh_directory)), server_(std::move(server)) {}

  const std::string& path() const { return address_.path; }
  /// To tell a user.
  std::string path_there(const std::string& path) const { return path + " on " + address_.host.endpoint.host; }
  /// Of the thread that uses it.
  Sftp& server() { return *server_; }

  /// A connection beside it.
  Result<std::unique_ptr<Sftp>> log_in(Deadline deadline) const {
    return Sftp::connect(address_.host, ssh_directory_, deadline);
  }

  /// Does `work`, and does it again on a new connection, after `resume`, for as long as there is no connection.
  Result<> insist(const std::function<Result<>(Sftp&)>& work, const std::function<Result<>(Sftp&)>& resume) {
    Result<> done = work(*server_);
    for (auto interval = first_pause; is_lost(done); interval = std::min(interval * 2, longest_pause)) {
      note(done.error().message);
      if (!pause(interval)) return fail(Code::cancelled, "cancelled");
      done = connect();
      if (!done && !is_lost(done)) return begin_anew(done);
      if (!done) continue;
      done = resume(*server_);
      if (!done && !is_lost(done)) return begin_anew(done);
      if (done) done = work(*server_);
    }
    note("");
    return done;
  }

  /// Until take_time(), nothing is done again, and all of it ends at that time at the latest.
  void hurry(Deadline deadline) {
    insists_ = false;
    server_->hurry(deadline);
  }
  void take_time() {
    insists_ = true;
    server_->take_time();
  }

  void abort() {
    const std::lock_guard guard(mutex_);
    aborted_ = true;
    server_->abort();
    changed_.notify_all();
  }
  bool is_aborted() const {
    const std::lock_guard guard(mutex_);
    return aborted_;
  }
  std::string trouble() const {
    const std::lock_guard guard(mutex_);
    return trouble_;
  }

 private:
  bool is_lost(const Result<>& done) const { return insists_ && !done && done.error().code == Code::unavailable; }

  static Result<> begin_anew(const Result<>& why) {
    if (why.error().code == Code::cancelled) return why;
    return fail(Code::unavailable, why.error().message);
  }

  Result<> connect() {
    FERRY_ASSIGN(auto server, log_in(after(connect_time)));
    const std::lock_guard guard(mutex_);
    std::swap(server_, server);  // the lost one ends without the lock held
    server_->take_time();
    if (aborted_) server_->abort();
    return {};
  }

  void note(const std::string& trouble) {
    const std::lock_guard guard(mutex_);
    if (trouble_ != trouble && !trouble.empty()) spdlog::warn("{}; trying again", trouble);
    trouble_ = trouble;
  }
  /// False: aborted.
  bool pause(milliseconds duration) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, duration, [this] { return aborted_; });
  }

  const ArchiveAddress address_;
  const std::filesystem::path ssh_directory_;
  bool insists_ = true;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<Sftp> server_;  // changed with mutex_ held, by the one thread
  bool aborted_ = false;          // protected by mutex_, as is the following
  std::string trouble_;
};

class SftpInput final : public ArchiveInput {
 public:
  SftpInput(std::unique_ptr<Sftp> server, ArchiveAddress address, std::filesystem::path ssh_directory)
      : size_(server->size()),
        modified_(server->modified()),
        connection_(std::move(server), std::move(address), std::move(ssh_directory)) {}

  Result<std::size_t> read(std::span<char> buffer) override {
    std::size_t n = 0;
    FERRY_TRY(connection_.insist(
        [&](Sftp& server) -> Result<> {
          FERRY_ASSIGN(n, server.read(buffer));
          return {};
        },
        [this](Sftp& server) { return resume(server); }));
    offset_ += n;
    return n;
  }
  std::uint64_t size() const override { return size_; }
  void hurry(Deadline deadline) override { connection_.hurry(deadline); }
  void take_time() override { connection_.take_time(); }
  std::string trouble() const override { return connection_.trouble(); }
  void abort() override { connection_.abort(); }

 private:
  Result<> resume(Sftp& server) const {
    FERRY_TRY(server.open(connection_.path()));
    if (server.size() != size_ || server.modified() != modified_)
      return fail(Code::busy, connection_.path_there(connection_.path()) + " was replaced while it was read");
    server.seek(offset_);
    return {};
  }

  const std::uint64_t size_;
  const std::uint64_t modified_;
  std::uint64_t offset_ = 0;
  Connection connection_;
};

/// What was moved aside to be replaced by `part` (Sftp::rename()) gets its name back, unless that was replaced. It is
/// looked for first: an earlier session may still be about to move what has the name now.
Result<> put_back(Sftp& server, const std::string& part, const std::string& path) {
  const std::string old = part + Sftp::aside;
  FERRY_ASSIGN(const Sftp::Kind moved, server.kind(old));
  if (moved == Sftp::Kind::none) return {};
  FERRY_ASSIGN(const Sftp::Kind there, server.kind(path));
  return there != Sftp::Kind::none ? server.remove(old) : server.rename(old, path, false);
}

class SftpOutput final : public ArchiveOutput {
 public:
  SftpOutput(std::unique_ptr<Sftp> server, ArchiveAddress address, std::filesystem::path ssh_directory,
             std::string part, bool replace, std::optional<std::uint64_t> room)
      : part_(std::move(part)),
        replace_(replace),
        room_(room),
        connection_(std::move(server), std::move(address), std::move(ssh_directory)) {}
  ~SftpOutput() override {
    if (finished_) return;
    const auto cleared = clear();
    if (!cleared)
      spdlog::warn("{} is left behind, unless it is written anew{}: {}", connection_.path_there(part_),
                   finishing_ && replace_ ? ", and what it was to replace may be " + part_ + Sftp::aside : "",
                   cleared.error().message);
  }

  Result<> write(std::span<const char> bytes) override {
    if (acknowledged_ > 3 * under_way) {  // not each time, because the rest is moved
      recent_.erase(0, acknowledged_ - compared);
      acknowledged_ = compared;
    }
    recent_.append(bytes.data(), bytes.size());
    return send(under_way);
  }
  std::optional<std::uint64_t> free_bytes() const override { return room_; }
  Result<> flush() override { return send(0); }
  Result<> finish() override {
    FERRY_TRY(flush());
    finishing_ = true;
    FERRY_TRY(connection_.insist([](Sftp& server) { return server.close_durably(); },
                                 [this](Sftp& server) { return resume(server); }));
    auto done = connection_.server().rename(part_, connection_.path(), replace_);
    finished_ = done.has_value();
    return done;
  }
  std::string trouble() const override { return connection_.trouble(); }
  void abort() override { connection_.abort(); }

 private:
  /// Leaves nothing of it. A session that was aborted or lost, or on which something is under way, is of no use for
  /// that.
  Result<> clear() {
    connection_.hurry(after(time_to_remove));
    if (acknowledged_ == recent_.size() && !connection_.is_aborted()) {
      auto cleared = clear(connection_.server());
      if (cleared || cleared.error().code != Code::unavailable) return cleared;
    }
    FERRY_ASSIGN(const auto other, connection_.log_in(after(time_to_log_in)));
    return clear(*other);
  }
  /// Once it was to have its name, that may have happened in part, or completely: then there is no part any more.
  Result<> clear(Sftp& server) {
    if (finishing_ && replace_) FERRY_TRY(put_back(server, part_, connection_.path()));
    return server.remove(part_);
  }

  /// Until all of it is sent, and no more than `most` bytes are without an acknowledgement.
  Result<> send(std::size_t most) {
    if (recent_.size() == acknowledged_) return {};
    if (!booted_)
      FERRY_TRY(connection_.insist([this](Sftp& server) { return note_boot(server); },
                                   [this](Sftp& server) { return server.open_again(part_, connection_.path()); }));
    return connection_.insist(
        [&](Sftp& server) -> Result<> {
          while (given_ < left() || left() > most) {
            const std::size_t give = std::min({left(), given_ + step, under_way});
            FERRY_ASSIGN(const std::size_t n, server.write(std::span(recent_).subspan(acknowledged_, give)));
            given_ = give - n;
            acknowledged_ += n;
            written_ += n;
          }
          return {};
        },
        [this](Sftp& server) { return resume(server); });
  }

  Result<> note_boot(Sftp& server) {
    FERRY_ASSIGN(booted_, server.boot_id());
    return {};
  }

  std::size_t left() const { return recent_.size() - acknowledged_; }

  Result<> resume(Sftp& server) {
    given_ = 0;
    FERRY_TRY(server.open_again(part_, connection_.path()));
    const auto lost =
        fail(Code::busy, "what was written of " + connection_.path_there(connection_.path()) + " is lost there");
    if (server.size() < written_) return lost;
    FERRY_ASSIGN(const std::string booted, server.boot_id());
    if (booted != booted_) return lost;
    const auto last =
        std::string_view(recent_).substr(0, acknowledged_).substr(acknowledged_ - std::min(acknowledged_, compared));
    server.seek(written_ - last.size());
    std::string there(last.size(), 0);
    for (std::size_t had = 0; had < there.size();) {
      FERRY_ASSIGN(const std::size_t n, server.read(std::span(there).subspan(had)));
      if (n == 0) return lost;
      had += n;
    }
    if (there != last) return lost;
    server.seek(written_);
    return {};
  }

  const std::string part_;
  const bool replace_;
  const std::optional<std::uint64_t> room_;
  std::string recent_;                 // the end of what was written, with all that is not acknowledged
  std::size_t acknowledged_ = 0;       // of recent_
  std::size_t given_ = 0;              // of what is behind those, to this connection
  std::uint64_t written_ = 0;          // and acknowledged, of all
  std::optional<std::string> booted_;  // see Sftp::boot_id; none: not asked yet
  bool finishing_ = false;             // it may have its name
  bool finished_ = false;              // it has
  Connection connection_;
};

}  // namespace

Result<std::unique_ptr<ArchiveInput>> open_by_sftp(const ArchiveAddress& address,
                                                   const std::filesystem::path& ssh_directory, Deadline deadline) {
  FERRY_ASSIGN(auto server, Sftp::connect(address.host, ssh_directory, deadline));
  FERRY_TRY(server->open(address.path));
  server->take_time();
  return std::unique_ptr<ArchiveInput>(std::make_unique<SftpInput>(std::move(server), address, ssh_directory));
}

Result<std::unique_ptr<ArchiveOutput>> create_by_sftp(const ArchiveAddress& address,
                                                      const std::filesystem::path& ssh_directory,
                                                      const std::string& part, bool replace, Deadline deadline) {
  FERRY_ASSIGN(auto server, Sftp::connect(address.host, ssh_directory, deadline));
  FERRY_ASSIGN(const Sftp::Kind there, server->kind(address.path));
  if (there == Sftp::Kind::directory) return fail(Code::already_exists, address.text() + " is a directory");
  if (there != Sftp::Kind::none && !replace) return exists_already(address);
  if (replace) FERRY_TRY(put_back(*server, part, address.path));
  FERRY_TRY(server->remove(part));
  FERRY_TRY(server->create(part, address.path));
  FERRY_ASSIGN(const auto room, server->room(part));
  server->take_time();
  return std::unique_ptr<ArchiveOutput>(
      std::make_unique<SftpOutput>(std::move(server), address, ssh_directory, part, replace, room));
}

}  // namespace ferry::migration
