#include "migration/transfer.h"

#include <fcntl.h>

#include <algorithm>

#include "base/directory.h"
#include "base/files.h"
#include "base/log.h"
#include "migration/migration_record.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds first_pause{250};
constexpr std::chrono::milliseconds longest_pause{5000};

}  // namespace

Transfer::Transfer(const volumes::Layout& layout, std::string name, ImportRequest request, std::shared_ptr<Peer> peer,
                   sync::Identity expected, std::optional<sync::UpdateOf> update)
    : layout_(layout),
      name_(std::move(name)),
      request_(std::move(request)),
      peer_(std::move(peer)),
      expected_(std::move(expected)),
      update_(std::move(update)) {}

void Transfer::cancel() {
  {
    const std::lock_guard guard(mutex_);  // pause() looks at it with this lock held
    cancelled_ = true;
  }
  peer_->abort();
  changed_.notify_all();
}

Result<Brought> Transfer::run() {
  auto interval = first_pause;
  while (true) {
    const std::uint64_t before = progress_.bytes_sent;
    auto receipt = attempt();
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    if (receipt) return Brought{std::move(*receipt)};
    if (receipt.error().code != Code::unavailable) return pass(receipt);
    note(receipt.error());
    if (progress_.bytes_sent > before) interval = first_pause;
    if (!pause(interval)) return fail(Code::cancelled, "cancelled");
    interval = std::min(interval * 2, longest_pause);
  }
}

Result<sync::Receipt> Transfer::attempt() {
  progress_.phase = "connecting";
  FERRY_ASSIGN(const auto source, peer_->open(request_));
  {
    const std::lock_guard guard(mutex_);
    content_began_ = SteadyClock::now();
    content_before_ = progress_.bytes_done;
    trouble_.clear();
  }
  sync::ReceiverOptions options;
  options.writers = request_.terms.freeze == Freeze::none ? sync::Writers::allowed : sync::Writers::none;
  options.limit = request_.terms.limit;
  options.compression = request_.terms.compression;
  options.baseline = layout_.baseline(name_);
  options.update = update_;
  options.neighbours = neighbours();
  options.expected = expected_;
  const auto staging = update_ ? layout_.update(name_) : layout_.staging(name_);
  return sync::Receiver(*source, staging, layout_.journal(name_), options, progress_, cancelled_).run();
}

/// All other volumes that are copies.
std::vector<sync::Neighbour> Transfer::neighbours() const {
  std::vector<sync::Neighbour> others;
  const auto directory = open_at(AT_FDCWD, layout_.volumes().string(), O_RDONLY | O_DIRECTORY);
  const auto names = directory ? names_in(directory->get()) : Result<std::vector<std::string>>();
  if (!names) return others;
  for (const auto& name : *names) {
    const auto index = sync::index_of(layout_.baseline(name));
    if (name != name_ && ferry::exists(index).value_or(false)) others.push_back({layout_.data(name), index});
  }
  return others;
}

void Transfer::note(const Error& error) {
  const std::lock_guard guard(mutex_);
  if (trouble_ != error.message)
    spdlog::warn("import of {} waits for {}: {}", name_, request_.peer.text(), error.message);
  trouble_ = error.message;
}

/// False if it is to end.
bool Transfer::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return cancelled_.load(); });
}

std::uint64_t Transfer::rate() const {
  const std::uint64_t done = progress_.bytes_done;
  return done <= content_before_ ? 0 : rate_since(content_began_, done - content_before_);
}

nlohmann::json Transfer::status() const {
  const std::lock_guard guard(mutex_);
  const std::uint64_t total = progress_.bytes_total;
  const std::uint64_t done = std::min<std::uint64_t>(progress_.bytes_done, total);
  const std::uint64_t speed = rate();
  return {{"phase", progress_.phase.load()},
          {"round", progress_.round.load()},
          {"bytes_total", total},
          {"bytes_done", done},
          {"bytes_sent", progress_.bytes_sent.load()},
          {"files_total", progress_.files_total.load()},
          {"files_done", progress_.files_done.load()},
          {"rate_bytes_per_s", speed},
          {"eta_s", eta_of(done, total, speed)},
          {"error", trouble_.empty() ? nlohmann::json(nullptr) : nlohmann::json(trouble_)}};
}

void add_receipt(nlohmann::json& status, const Brought& brought) {
  const sync::Receipt& receipt = brought.receipt;
  status["verified"] = brought.verified;
  status["consistency"] = receipt.consistency;
  status["changed"] = receipt.changed;
  status["digest"] = receipt.digest.empty() ? nlohmann::json(nullptr) : nlohmann::json(receipt.digest);
  status["bytes_total"] = status["bytes_done"] = receipt.bytes;
  status["files_total"] = status["files_done"] = receipt.files;
  status["eta_s"] = 0;
  status["error"] = nullptr;
  for (const auto& warning : receipt.warnings) status["warnings"].push_back(warning);
}

std::string progress_text(const nlohmann::json& status) {
  const auto total = status.value("bytes_total", std::uint64_t{0});
  const auto done = status.value("bytes_done", std::uint64_t{0});
  std::string text = std::to_string(total == 0 ? 0 : done * 100 / total) + " % done, ";
  const auto eta = status.value("eta_s", nlohmann::json());
  const auto error = status.value("error", nlohmann::json());
  text += eta.is_number() ? "ETA " + eta.dump() + " s" : std::string("ETA not known yet");
  if (error.is_string()) text += "; " + error.get<std::string>();
  return text;
}

}  // namespace ferry::migration
