#include "migration/archive_transfer.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "archive/extraction.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "migration/migration_record.h"
#include "sync/manifest.h"
#include "sync/sync_file_system.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds first_pause{250};
constexpr std::chrono::milliseconds longest_pause{5000};
constexpr std::chrono::milliseconds connect_time{5000};

Result<archive::Limits> room_in(int directory) {
  struct statvfs room {};
  if (::fstatvfs(directory, &room) != 0) return fail_errno("statvfs of the staging directory");
  archive::Limits limits;
  limits.bytes = static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
  if (room.f_files != 0) limits.entries = room.f_favail;  // 0: a file system that makes inodes as it goes
  limits.memory = sync::memory_for_manifests();
  return limits;
}

sync::Receipt receipt_of(const archive::Extracted& extracted) {
  sync::Receipt receipt;
  receipt.files = extracted.files;
  receipt.bytes = extracted.bytes;
  receipt.rounds = 1;
  receipt.consistency = "archive";
  receipt.warnings = extracted.warnings;
  if (!extracted.facts)
    receipt.warnings.push_back("the archive is not Ferry's (" + extracted.format +
                               "): it has no digests to verify it by, and no labels and options");
  return receipt;
}

}  // namespace

ArchiveTransfer::ArchiveTransfer(const volumes::Layout& layout, const ArchiveStore& store, std::string name,
                                 ArchiveImportRequest request)
    : layout_(layout),
      store_(store),
      name_(std::move(name)),
      request_(std::move(request)),
      meter_(request_.terms.limit, progress_.cancelled) {}

void ArchiveTransfer::cancel() {
  std::shared_ptr<ArchiveInput> input;
  {
    const std::lock_guard guard(mutex_);  // pause() looks at it with this lock held
    progress_.cancelled = true;
    input = input_;
  }
  if (input) input->abort();
  changed_.notify_all();
}

Result<Brought> ArchiveTransfer::run() {
  auto interval = first_pause;
  while (true) {
    auto brought = attempt();
    set_input(nullptr);
    if (progress_.cancelled) return fail(Code::cancelled, "cancelled");
    if (brought || brought.error().code != Code::unavailable) return brought;
    note(brought.error());
    if (!pause(interval)) return fail(Code::cancelled, "cancelled");
    interval = std::min(interval * 2, longest_pause);
  }
}

/// What an earlier attempt has left is of no use.
Result<> ArchiveTransfer::empty_staging() {
  const auto staging = layout_.staging(name_);
  FERRY_TRY(remove_tree(staging, &progress_.cancelled));
  return make_directories(staging, 0755);
}

Result<Brought> ArchiveTransfer::attempt() {
  phase_ = "connecting";
  FERRY_TRY(empty_staging());  // first, because an sshd may end a session that is idle meanwhile
  FERRY_ASSIGN(std::shared_ptr<ArchiveInput> opened, store_.open(request_.address, after(connect_time)));
  const auto input = set_input(std::move(opened));
  FERRY_ASSIGN(const Fd directory,
               open_at(AT_FDCWD, layout_.staging(name_).string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  FERRY_ASSIGN(const archive::Limits limits, room_in(directory.get()));
  {
    const std::lock_guard guard(mutex_);
    content_began_ = SteadyClock::now();
    trouble_.clear();
    progress_.bytes_done = progress_.entries_done = 0;
  }
  phase_ = "content";
  MeteredSource metered(*input, meter_);
  FERRY_ASSIGN(const archive::Extracted extracted,
               archive::extract_archive(metered, directory.get(), limits, progress_));
  if (extracted.id != request_.id)
    return fail(Code::busy, request_.address.text() +
                                " was replaced while it was imported, so labels and options are another archive's; "
                                "import it again, with a ticket, -o retry=" +
                                name_);
  phase_ = "commit";
  const auto error = sync::sync_file_system(directory.get(), progress_.cancelled);
  if (!error) return fail(Code::cancelled, "cancelled");
  if (*error != 0) return fail_errno("syncfs of the staging directory", *error);
  return Brought{receipt_of(extracted), extracted.verified};
}

/// Returns it, or what it was given up for.
std::shared_ptr<ArchiveInput> ArchiveTransfer::set_input(std::shared_ptr<ArchiveInput> input) {
  std::shared_ptr<ArchiveInput> old;  // ends a connection, which may take a while
  const std::lock_guard guard(mutex_);
  old = std::exchange(input_, std::move(input));
  if (input_ && progress_.cancelled) input_->abort();
  return input_;
}

void ArchiveTransfer::note(const Error& error) {
  const std::lock_guard guard(mutex_);
  if (trouble_ != error.message)
    spdlog::warn("import of {} waits for {}: {}", name_, request_.address.text(), error.message);
  trouble_ = error.message;
}

/// False if it is to end.
bool ArchiveTransfer::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return progress_.cancelled.load(); });
}

nlohmann::json ArchiveTransfer::status() const {
  const std::lock_guard guard(mutex_);
  // A foreign archive does not tell how much is in it, only how long it is.
  const bool tells = progress_.bytes_total != 0;
  const std::uint64_t total = tells || !input_ ? progress_.bytes_total.load() : input_->size();
  const std::uint64_t done = tells ? progress_.bytes_done.load() : meter_.bytes();
  const std::uint64_t speed = rate_since(content_began_, done);
  const std::string trouble = input_ ? input_->trouble() : trouble_;
  return {{"phase", phase_.load()},
          {"round", 1},
          {"bytes_total", total},
          {"bytes_done", done},
          {"bytes_sent", meter_.bytes()},
          {"files_total", progress_.entries_total.load()},
          {"files_done", progress_.entries_done.load()},
          {"rate_bytes_per_s", speed},
          {"eta_s", eta_of(done, total, speed)},
          {"error", trouble.empty() ? nlohmann::json(nullptr) : nlohmann::json(trouble)}};
}

}  // namespace ferry::migration
