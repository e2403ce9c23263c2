#include "transport/sftp.h"

#include <libssh2_sftp.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <utility>

#include "transport/ssh_login.h"

namespace ferry::transport {

namespace {

/// For one answer of the server.
constexpr std::chrono::milliseconds answer_time{60'000};
/// Until content is durable: a server may have gigabytes of it in memory, and a slow disk.
constexpr std::chrono::milliseconds durable_time{30 * 60'000};
constexpr std::size_t boot_id_size = 36;  // a UUID
constexpr long only_owner = LIBSSH2_SFTP_S_IRUSR | LIBSSH2_SFTP_S_IWUSR;
/// For what would only make an error clearer.
constexpr std::chrono::milliseconds time_to_explain{5'000};
/// Below it a disk counts as full when a write fails for no reason that the server tells.
constexpr std::uint64_t full = 1U << 20;

unsigned length(const std::string& text) { return static_cast<unsigned>(text.size()); }

class Session final : public Sftp {
 public:
  explicit Session(std::unique_ptr<SshSession> session) : session_(std::move(session)) {}

  Result<> begin(Deadline deadline) {
    const int error = session_->repeat_until_made(sftp_, [&] { return ::libssh2_sftp_init(session_->get()); });
    deadline_ = deadline;
    if (error == 0) return {};
    if (error == LIBSSH2_ERROR_TIMEOUT || SshSession::is_lost(error))
      return tl::unexpected(session_->lost("SFTP was to begin", error));
    return fail(Code::unsupported, session_->server() + " has no SFTP server (Subsystem sftp): " + session_->reason());
  }

  void hurry(Deadline deadline) override { deadline_ = deadline; }
  void take_time() override { deadline_.reset(); }

  Result<Kind> kind(const std::string& path) override {
    LIBSSH2_SFTP_ATTRIBUTES facts{};
    if (const int error = stat(path, facts); error != 0) {
      const Error why = explain(error, path, "looked at");
      if (why.code == Code::not_found) return Kind::none;
      return tl::unexpected(why);
    }
    const bool tells = (facts.flags & LIBSSH2_SFTP_ATTR_PERMISSIONS) != 0;
    return tells && LIBSSH2_SFTP_S_ISDIR(facts.permissions) ? Kind::directory : Kind::other;
  }

  Result<std::optional<std::uint64_t>> room(const std::string& path) override {
    LIBSSH2_SFTP_STATVFS facts{};
    const int error = statvfs(sftp_, path, facts);
    if (error != 0 && error != LIBSSH2_ERROR_SFTP_PROTOCOL) return tl::unexpected(explain(error, path, "looked at"));
    if (error != 0 || facts.f_frsize == 0) return std::nullopt;
    return free_bytes(facts);
  }

  Result<> remove(const std::string& path) override {
    const int error = unlink(path);
    if (error == 0) return {};
    const Error why = explain(error, path, "removed");
    return why.code == Code::not_found ? Result<>() : tl::unexpected(why);
  }

  Result<> open(const std::string& path) override {
    FERRY_TRY(open(path, path, LIBSSH2_FXF_READ));
    return look();
  }

  std::uint64_t size() const override { return size_; }
  std::uint64_t modified() const override { return modified_; }
  void seek(std::uint64_t offset) override { ::libssh2_sftp_seek64(handle_, offset); }

  Result<std::size_t> read(std::span<char> buffer) override {
    std::size_t n = 0;
    const int error = count(n, [&] { return ::libssh2_sftp_read(handle_, buffer.data(), buffer.size()); });
    if (error != 0) return tl::unexpected(explain(error, shown_, "read"));
    return n;
  }

  Result<> create(const std::string& path, const std::string& shown) override {
    return open(path, shown, LIBSSH2_FXF_WRITE | LIBSSH2_FXF_CREAT | LIBSSH2_FXF_EXCL);
  }

  Result<> open_again(const std::string& path, const std::string& shown) override {
    FERRY_TRY(open(path, shown, LIBSSH2_FXF_READ | LIBSSH2_FXF_WRITE));
    return look();
  }

  Result<std::size_t> write(std::span<const char> bytes) override {
    std::size_t n = 0;
    const int error = count(n, [&] { return ::libssh2_sftp_write(handle_, bytes.data(), bytes.size()); });
    if (error != 0) return tl::unexpected(explain_write(error));
    return n;
  }

  Result<> close_durably() override {
    const int synced = repeat([&] { return ::libssh2_sftp_fsync(handle_); }, durable_time);
    if (synced != 0 && !is_unsupported(synced)) return tl::unexpected(explain_write(synced));
    LIBSSH2_SFTP_HANDLE* const handle = std::exchange(handle_, nullptr);
    const int closed = repeat([&] { return ::libssh2_sftp_close_handle(handle); });
    if (closed != 0) return tl::unexpected(explain(closed, shown_, "written"));
    return {};
  }

  Result<> rename(const std::string& from, const std::string& to, bool replace) override {
    if (replace) return rename_over(from, to);
    // Servers other than OpenSSH's may replace what is there: version 3 does not say that they must not.
    FERRY_ASSIGN(const Kind there, kind(to));
    if (there != Kind::none) return fail(Code::already_exists, place(to) + " exists already");
    const int error = plain_rename(from, to);
    if (error == 0) return {};
    const Error why = explain(error, to, "given its name");  // of the last call, so before the next one
    LIBSSH2_SFTP_ATTRIBUTES facts{};
    if (error == LIBSSH2_ERROR_SFTP_PROTOCOL && stat(to, facts) == 0)
      return fail(Code::already_exists, place(to) + " exists already");
    return tl::unexpected(why);
  }

  Result<std::string> boot_id() override {
    const std::string path = "/proc/sys/kernel/random/boot_id";
    LIBSSH2_SFTP_HANDLE* file = nullptr;
    int error = make(file, [&] {
      return ::libssh2_sftp_open_ex(sftp_, path.c_str(), length(path), LIBSSH2_FXF_READ, 0, LIBSSH2_SFTP_OPENFILE);
    });
    if (error == LIBSSH2_ERROR_SFTP_PROTOCOL) return std::string();
    if (error != 0) return tl::unexpected(explain(error, path, "opened"));
    std::string id(boot_id_size, 0);
    std::size_t n = 0;
    error = count(n, [&] { return ::libssh2_sftp_read(file, id.data(), id.size()); });
    const int closed = repeat([&] { return ::libssh2_sftp_close_handle(file); });
    if (error != 0 && error != LIBSSH2_ERROR_SFTP_PROTOCOL) return tl::unexpected(explain(error, path, "read"));
    if (closed != 0 && closed != LIBSSH2_ERROR_SFTP_PROTOCOL) return tl::unexpected(explain(closed, path, "closed"));
    id.resize(n);
    return id;
  }

  void abort() override {
    aborted_ = true;
    ::shutdown(session_->socket(), SHUT_RDWR);
  }

 private:
  void allow(std::chrono::milliseconds time) {
    session_->allow(deadline_ ? std::min(time, left_until(*deadline_)) : time);
  }
  template <class Call>
  int repeat(Call call, std::chrono::milliseconds time = answer_time) {
    allow(time);
    return session_->repeat(call);
  }
  template <class Made, class Call>
  int make(Made*& made, Call call, std::chrono::milliseconds time = answer_time) {
    allow(time);
    return session_->repeat_until_made(made, call);
  }
  /// For calls that return how many bytes they have moved: `n`, 0 after an error.
  template <class Call>
  int count(std::size_t& n, Call call) {
    return repeat([&] {
      const ssize_t result = call();
      n = result < 0 ? 0 : static_cast<std::size_t>(result);
      return result < 0 ? static_cast<int>(result) : 0;
    });
  }

  int stat(const std::string& path, LIBSSH2_SFTP_ATTRIBUTES& facts) {
    return repeat(
        [&] { return ::libssh2_sftp_stat_ex(sftp_, path.c_str(), length(path), LIBSSH2_SFTP_LSTAT, &facts); });
  }
  int statvfs(LIBSSH2_SFTP* channel, const std::string& path, LIBSSH2_SFTP_STATVFS& facts,
              std::chrono::milliseconds time = answer_time) {
    return repeat([&] { return ::libssh2_sftp_statvfs(channel, path.c_str(), path.size(), &facts); }, time);
  }
  static std::uint64_t free_bytes(const LIBSSH2_SFTP_STATVFS& facts) { return facts.f_bavail * facts.f_frsize; }
  int unlink(const std::string& path) {
    return repeat([&] { return ::libssh2_sftp_unlink_ex(sftp_, path.c_str(), length(path)); });
  }
  int plain_rename(const std::string& from, const std::string& to) {
    return repeat(
        [&] { return ::libssh2_sftp_rename_ex(sftp_, from.c_str(), length(from), to.c_str(), length(to), 0); });
  }

  /// LIBSSH2_FX_OP_UNSUPPORTED is what libssh2 returns itself where the server has no such extension.
  bool is_unsupported(int error) const {
    return error == LIBSSH2_ERROR_METHOD_NOT_SUPPORTED || error == LIBSSH2_FX_OP_UNSUPPORTED ||
           (error == LIBSSH2_ERROR_SFTP_PROTOCOL && ::libssh2_sftp_last_error(sftp_) == LIBSSH2_FX_OP_UNSUPPORTED);
  }

  int posix_rename([[maybe_unused]] const std::string& from, [[maybe_unused]] const std::string& to) {
#if LIBSSH2_VERSION_NUM >= 0x010b00
    return repeat(
        [&] { return ::libssh2_sftp_posix_rename_ex(sftp_, from.c_str(), from.size(), to.c_str(), to.size()); });
#else
    return LIBSSH2_ERROR_METHOD_NOT_SUPPORTED;
#endif
  }

  /// Whatever fails, the old file or the new one is there, if under another name.
  Result<> rename_over(const std::string& from, const std::string& to) {
    const int renamed = posix_rename(from, to);
    if (renamed == 0) return {};
    if (!is_unsupported(renamed)) return tl::unexpected(explain(renamed, to, "replaced"));
    FERRY_ASSIGN(const Kind kind_there, kind(to));
    if (kind_there == Kind::directory) return fail(Code::already_exists, place(to) + " is a directory");
    const bool there = kind_there != Kind::none;
    const std::string old = from + aside;
    if (there)
      if (const int moved = plain_rename(to, old); moved != 0) return tl::unexpected(explain(moved, to, "replaced"));
    if (const int error = plain_rename(from, to); error != 0) {
      auto failed = tl::unexpected(explain(error, to, "given its name"));
      if (there && error == LIBSSH2_ERROR_SFTP_PROTOCOL) (void)plain_rename(old, to);
      return failed;
    }
    if (there) (void)unlink(old);
    return {};
  }

  Result<> open(const std::string& path, const std::string& shown, unsigned long flags) {
    path_ = path;
    shown_ = shown;
    const int error = make(handle_, [&] {
      return ::libssh2_sftp_open_ex(sftp_, path.c_str(), length(path), flags, only_owner, LIBSSH2_SFTP_OPENFILE);
    });
    if (error != 0) return tl::unexpected(explain(error, shown_, "opened"));
    return {};
  }

  /// What the server tells of the open file.
  Result<> look() {
    LIBSSH2_SFTP_ATTRIBUTES facts{};
    const int error = repeat([&] { return ::libssh2_sftp_fstat_ex(handle_, &facts, 0); });
    if (error != 0 && error != LIBSSH2_ERROR_SFTP_PROTOCOL) return tl::unexpected(explain(error, shown_, "looked at"));
    size_ = error == 0 && (facts.flags & LIBSSH2_SFTP_ATTR_SIZE) != 0 ? facts.filesize : 0;
    modified_ = error == 0 && (facts.flags & LIBSSH2_SFTP_ATTR_ACMODTIME) != 0 ? facts.mtime : 0;
    return {};
  }

  std::string place(const std::string& path) const { return path + " on " + session_->address().endpoint.host; }

  /// Of the last call, which returned `error`.
  Error explain(int error, const std::string& path, const std::string& meanwhile) const {
    if (aborted_) return {Code::cancelled, "cancelled"};
    const std::string what = place(path);
    if (error == LIBSSH2_ERROR_ALLOC) return {Code::io, what + " cannot be " + meanwhile + ": there is no memory"};
    if (error != LIBSSH2_ERROR_SFTP_PROTOCOL) return session_->lost(what + " was " + meanwhile, error);
    switch (::libssh2_sftp_last_error(sftp_)) {
      case LIBSSH2_FX_NO_SUCH_FILE:
      case LIBSSH2_FX_NO_SUCH_PATH:
        return {Code::not_found, what + " cannot be " + meanwhile + ": there is no such file or directory"};
      case LIBSSH2_FX_PERMISSION_DENIED:
      case LIBSSH2_FX_WRITE_PROTECT:
        return {Code::denied,
                what + " cannot be " + meanwhile + ": user " + session_->address().user + " is not permitted to"};
      case LIBSSH2_FX_FILE_ALREADY_EXISTS: return {Code::already_exists, what + " exists already"};
      case LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM:
      case LIBSSH2_FX_QUOTA_EXCEEDED:
        return {Code::no_space, what + " cannot be " + meanwhile + ": the disk is full there"};
      case LIBSSH2_FX_NO_CONNECTION:
      case LIBSSH2_FX_CONNECTION_LOST: return session_->lost(what + " was " + meanwhile, error);
      default: return {Code::io, what + " cannot be " + meanwhile + "; the server does not say why"};
    }
  }

  /// A full disk has no code of its own in SFTP version 3.
  Error explain_write(int error) {
    Error plain = explain(error, shown_, "written");
    if (plain.code != Code::io || !is_full()) return plain;
    return {Code::no_space, place(shown_) + " cannot be written: the disk is full there"};
  }

  /// Asked on a channel of its own, because on the other one a message may be sent in part.
  bool is_full() {
    LIBSSH2_SFTP* beside = nullptr;
    if (make(
            beside, [&] { return ::libssh2_sftp_init(session_->get()); }, time_to_explain) != 0)
      return false;
    LIBSSH2_SFTP_STATVFS facts{};
    const int known = statvfs(beside, path_, facts, time_to_explain);
    repeat([&] { return ::libssh2_sftp_shutdown(beside); }, time_to_explain);
    return known == 0 && free_bytes(facts) < full;
  }

  const std::unique_ptr<SshSession> session_;
  LIBSSH2_SFTP* sftp_ = nullptr;           // of the session, which takes it along
  LIBSSH2_SFTP_HANDLE* handle_ = nullptr;  // of sftp_, likewise
  std::optional<Deadline> deadline_;
  std::string path_;   // of the open file
  std::string shown_;  // likewise
  std::uint64_t size_ = 0;
  std::uint64_t modified_ = 0;
  std::atomic<bool> aborted_{false};
};

}  // namespace

Result<std::unique_ptr<Sftp>> Sftp::connect(const PeerAddress& address, const std::filesystem::path& directory,
                                            Deadline deadline) {
  FERRY_ASSIGN(auto ssh, log_in_by_ssh(address, directory, deadline));
  auto session = std::make_unique<Session>(std::move(ssh));
  FERRY_TRY(session->begin(deadline));
  return std::unique_ptr<Sftp>(std::move(session));
}

}  // namespace ferry::transport
