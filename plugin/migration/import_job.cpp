#include "migration/import_job.h"

#include <algorithm>

#include "base/log.h"
#include "base/random.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds first_pause{250};
constexpr std::chrono::milliseconds longest_pause{5000};

/// The status of the record, so that an import that a restart interrupted keeps its id and start.
nlohmann::json kept_status(const volumes::Catalogue& catalogue, const std::string& name, const ImportRequest& request) {
  const auto record = catalogue.find(name);
  if (record && record->migration.is_object() && record->migration.contains("id")) return record->migration;
  return new_import_status(request);
}

}  // namespace

nlohmann::json new_import_status(const ImportRequest& request) {
  return {{"id", random_uuid()},
          {"role", "import"},
          {"peer", request.peer.text()},
          {"volume", request.volume},
          {"dirty_bytes", nullptr},
          {"predicted_downtime_ms", nullptr},
          {"downtime_ms", nullptr},
          {"started", now_rfc3339()},
          {"finished", nullptr},
          {"verified", false},
          {"consistency", nullptr},
          {"digest", nullptr},
          {"warnings", nlohmann::json::array()}};
}

nlohmann::json to_json(const ImportRequest& request) {
  return {{"host", request.peer.host},
          {"port", request.peer.port},
          {"volume", request.volume},
          {"freeze", request.freeze == Freeze::none ? "none" : "refuse"},
          {"limit", request.limit}};
}

Result<ImportRequest> import_request(const nlohmann::json& json) {
  try {
    const auto port = json.at("port").get<std::int64_t>();
    if (port < 1 || port > 65535) return fail(Code::corrupt, "the stored import request has no port");
    return ImportRequest{{json.at("host").get<std::string>(), static_cast<std::uint16_t>(port)},
                         json.at("volume").get<std::string>(),
                         json.at("freeze") == "none" ? Freeze::none : Freeze::refuse,
                         json.value("limit", std::uint64_t{0})};
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, std::string("the stored import request cannot be read: ") + error.what());
  }
}

ImportJob::ImportJob(volumes::Catalogue& catalogue, std::string name, ImportRequest request, std::shared_ptr<Peer> peer)
    : catalogue_(catalogue),
      name_(std::move(name)),
      request_(std::move(request)),
      peer_(std::move(peer)),
      base_(kept_status(catalogue_, name_, request_)),
      thread_([this] { run(); }) {}

ImportJob::~ImportJob() { abandon(); }

void ImportJob::cancel() {
  {
    const std::lock_guard guard(mutex_);  // pause() looks at it with this lock held
    cancelled_ = true;
  }
  peer_->abort();
  changed_.notify_all();
}

void ImportJob::abandon() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

bool ImportJob::wait(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return ended_; });
}

void ImportJob::run() {
  auto receipt = import();
  Result<> done;
  if (receipt) done = commit(*receipt);
  if (!receipt && !cancelled_) fail_import(receipt.error());
  if (!done) fail_import(done.error());
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

/// Tries until the peer answers to the end, the import fails for a reason that stays, or it is cancelled.
Result<sync::Receipt> ImportJob::import() {
  auto interval = first_pause;
  while (true) {
    const std::uint64_t before = progress_.bytes_sent;
    auto receipt = attempt();
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    if (receipt || receipt.error().code != Code::unavailable) return receipt;
    note(receipt.error());
    if (progress_.bytes_sent > before) interval = first_pause;
    if (!pause(interval)) return fail(Code::cancelled, "cancelled");
    interval = std::min(interval * 2, longest_pause);
  }
}

Result<sync::Receipt> ImportJob::attempt() {
  progress_.phase = "connecting";
  FERRY_ASSIGN(const auto source, peer_->open(request_));
  {
    const std::lock_guard guard(mutex_);
    content_began_ = SteadyClock::now();
    content_before_ = progress_.bytes_done;
    trouble_.clear();
  }
  const auto& layout = catalogue_.layout();
  sync::ReceiverOptions options;
  options.writers = request_.freeze == Freeze::none ? sync::Writers::allowed : sync::Writers::none;
  options.limit = request_.limit;
  sync::Receiver receiver(*source, layout.staging(name_), layout.journal(name_), options, progress_, cancelled_);
  return receiver.run();
}

void ImportJob::note(const Error& error) {
  const std::lock_guard guard(mutex_);
  if (trouble_ != error.message)
    spdlog::warn("import of {} waits for {}: {}", name_, request_.peer.text(), error.message);
  trouble_ = error.message;
}

/// False if the job is to end.
bool ImportJob::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return cancelled_.load(); });
}

Result<> ImportJob::commit(const sync::Receipt& receipt) {
  progress_.phase = "done";
  nlohmann::json status;
  {
    const std::lock_guard guard(mutex_);
    status = status_locked();
  }
  status["finished"] = now_rfc3339();
  status["verified"] = true;
  status["consistency"] = receipt.consistency;
  status["digest"] = receipt.digest;
  status["bytes_total"] = status["bytes_done"] = receipt.bytes;
  status["files_total"] = status["files_done"] = receipt.files;
  status["eta_s"] = 0;
  status["error"] = nullptr;
  for (const auto& warning : receipt.warnings) status["warnings"].push_back(warning);
  FERRY_TRY(catalogue_.commit_staging(name_, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::ready;
    record.migration = status;
  }));
  spdlog::info("imported {} from {}: {} files, {} bytes, digest {}", name_, request_.peer.text(), receipt.files,
               receipt.bytes, receipt.digest);
  const std::lock_guard guard(mutex_);
  outcome_ = std::move(status);
  return {};
}

void ImportJob::fail_import(const Error& error) {
  spdlog::error("import of {} from {} failed: {}", name_, request_.peer.text(), error.message);
  progress_.phase = "failed";
  nlohmann::json status;
  {
    const std::lock_guard guard(mutex_);
    status = status_locked();
  }
  status["finished"] = now_rfc3339();
  status["error"] = error.message;
  auto stored = store_failure(status);  // before anything is deleted, or after a crash its absence were the reason
  {
    const std::lock_guard guard(mutex_);
    outcome_ = status;
  }
  auto dropped = catalogue_.drop_staging(name_, &cancelled_);
  if (!dropped && dropped.error().code != Code::cancelled) spdlog::warn("{}", dropped.error().message);
  if (!stored) stored = store_failure(status);  // now the disk may have room for it
  if (!stored) spdlog::error("the outcome of the import of {} could not be stored: {}", name_, stored.error().message);
}

Result<> ImportJob::store_failure(const nlohmann::json& status) {
  return catalogue_.update(name_, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::failed;
    record.migration = status;
  });
}

std::uint64_t ImportJob::rate() const {
  const auto elapsed = std::chrono::duration<double>(SteadyClock::now() - content_began_).count();
  const std::uint64_t done = progress_.bytes_done;
  if (content_began_ == SteadyClock::time_point{} || elapsed < 0.1 || done <= content_before_) return 0;
  return static_cast<std::uint64_t>(static_cast<double>(done - content_before_) / elapsed);
}

nlohmann::json ImportJob::status() const {
  const std::lock_guard guard(mutex_);
  return status_locked();
}

nlohmann::json ImportJob::status_locked() const {
  if (!outcome_.is_null()) return outcome_;
  nlohmann::json status = base_;
  const std::uint64_t total = progress_.bytes_total;
  const std::uint64_t done = std::min<std::uint64_t>(progress_.bytes_done, total);
  const std::uint64_t speed = rate();
  status["phase"] = progress_.phase.load();
  status["round"] = progress_.round.load();
  status["bytes_total"] = total;
  status["bytes_done"] = done;
  status["bytes_sent"] = progress_.bytes_sent.load();
  status["files_total"] = progress_.files_total.load();
  status["files_done"] = progress_.files_done.load();
  status["rate_bytes_per_s"] = speed;
  status["eta_s"] = speed == 0 ? nlohmann::json(nullptr) : nlohmann::json((total - done) / speed);
  status["error"] = trouble_.empty() ? nlohmann::json(nullptr) : nlohmann::json(trouble_);
  return status;
}

std::string ImportJob::progress_text() const {
  const nlohmann::json now = status();
  const auto total = now["bytes_total"].get<std::uint64_t>();
  const auto done = now["bytes_done"].get<std::uint64_t>();
  std::string text = std::to_string(total == 0 ? 0 : done * 100 / total) + " % done, ";
  text += now["eta_s"].is_number() ? "ETA " + now["eta_s"].dump() + " s" : std::string("ETA not known yet");
  if (now["error"].is_string()) text += "; " + now["error"].get<std::string>();
  return text;
}

}  // namespace ferry::migration
