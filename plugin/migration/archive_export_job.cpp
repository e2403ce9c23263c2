#include "migration/archive_export_job.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "archive/queued_sink.h"
#include "base/files.h"
#include "base/log.h"
#include "base/time.h"
#include "migration/archive_front.h"
#include "migration/migration_record.h"
#include "sync/sync_file_system.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds connect_time{5000};
constexpr std::chrono::milliseconds first_pause{250};
constexpr std::chrono::milliseconds longest_pause{5000};
/// An sshd that ends idle sessions lets one be for longer.
constexpr std::chrono::milliseconds longest_idle{10'000};
/// For an Engine that was restarted together with the plugin.
constexpr std::chrono::milliseconds time_for_labels{60'000};
/// In the ticket's `import`: the outcome of what is written, from before the archive gets its name.
constexpr const char* finishing_member = "finishing";
/// What is written at a time, while the next is read, hashed and compressed.
constexpr std::size_t piece = 256U << 10;
/// A volume that changes each time while it is read is given up.
constexpr int most_changes = 4;

archive::Facts facts_of(const VolumeDescription& description) {
  archive::Facts facts;
  facts.name = description.volume;
  facts.lineage = description.lineage;
  facts.epoch = description.epoch;
  facts.mode = std::string(to_string(description.mode));
  facts.labels = description.labels;
  facts.options = description.options;
  facts.labels_known = description.labels_known;
  facts.data = description.bytes;
  return facts;
}

nlohmann::json first_status(const volumes::Catalogue& catalogue, const std::string& name,
                            const ArchiveExportRequest& request) {
  auto stored = stored_status(catalogue, name, "migration");
  return stored.is_null() ? new_archive_export_status(request) : stored;
}

}  // namespace

nlohmann::json new_archive_export_status(const ArchiveExportRequest& request) {
  auto migration = new_migration_status("export", request.address.text());
  migration["phase"] = "connecting";
  migration["error"] = nullptr;
  return {{"state", "exporting"},
          {"migration", migration},
          {"volumes", {{{"name", request.volume}, {"source", request.volume}, {"state", "waiting"}}}}};
}

/// Creates the archive when the first bytes come, unless it was made shortly before: until then the volume is walked,
/// and an sshd may end a session that is idle meanwhile. Writes it in a thread of its own, beside reading the volume.
class ArchiveExportJob::Output final : public archive::Sink {
 public:
  explicit Output(ArchiveExportJob& job) : job_(job) {}
  /// What is not complete is not waited for: that may take as long as there is no connection.
  ~Output() override {
    if (created_ && !complete_) created_->abort();
  }

  Result<> write(std::span<const char> bytes) override {
    if (!queue_) FERRY_TRY(create());
    return queue_->write(bytes);
  }
  /// Once something was written: waits until all of it is.
  Result<> flush() {
    FERRY_TRY(queue_->finish());
    FERRY_TRY(created_->flush());
    complete_ = true;
    return {};
  }
  /// After flush().
  Result<> finish() { return created_->finish(); }

 private:
  Result<> create() {
    std::shared_ptr<ArchiveOutput> created = job_.take_first_output();
    if (!created) {
      FERRY_ASSIGN(created,
                   job_.store_.create(job_.request_.address, job_.id_, job_.request_.replace, after(connect_time)));
    }
    created_ = job_.set_output(std::move(created));
    metered_.emplace(*created_, job_.meter_);
    FERRY_ASSIGN(queue_, archive::QueuedSink::open(*metered_, piece));
    return {};
  }

  ArchiveExportJob& job_;
  std::shared_ptr<ArchiveOutput> created_;
  bool complete_ = false;
  std::optional<MeteredSink> metered_;          // onto created_
  std::unique_ptr<archive::QueuedSink> queue_;  // onto metered_
};

ArchiveExportJob::ArchiveExportJob(volumes::Catalogue& catalogue, const ArchiveStore& store, const Sources& sources,
                                   std::string name, std::string id, ArchiveExportRequest request,
                                   std::unique_ptr<ArchiveOutput> output)
    : catalogue_(catalogue),
      store_(store),
      sources_(sources),
      name_(std::move(name)),
      id_(std::move(id)),
      request_(std::move(request)),
      first_(first_status(catalogue_, name_, request_)),
      first_output_(std::move(output)),
      first_output_ends_(after(longest_idle)),
      meter_(request_.terms.limit, progress_.cancelled),
      labels_deadline_(after(time_for_labels)) {
  if (const auto record = catalogue_.find(name_); record && record->import.is_object())
    finishing_ = record->import.value(finishing_member, nlohmann::json());
}

void ArchiveExportJob::start() {
  const std::lock_guard guard(thread_mutex_);
  if (!progress_.cancelled) thread_ = std::thread([this] { run(); });
}

void ArchiveExportJob::stop_soon() {
  std::shared_ptr<ArchiveOutput> output;
  {
    const std::lock_guard guard(mutex_);  // pause() looks at it with this lock held
    progress_.cancelled = true;
    output = output_;
  }
  if (output) output->abort();
  changed_.notify_all();
}

void ArchiveExportJob::abandon() {
  stop_soon();
  const std::lock_guard guard(thread_mutex_);
  if (thread_.joinable()) thread_.join();
}

/// An archive that has its name has an outcome, whoever wants it to end.
void ArchiveExportJob::run() {
  const auto outcome = write_until_done();
  if (outcome || !progress_.cancelled) end(outcome);
}

Result<nlohmann::json> ArchiveExportJob::write_until_done() {
  auto interval = first_pause;
  while (true) {
    auto finished = has_finished();
    if (finished && *finished) return finishing_;
    auto outcome = finished ? attempt() : Result<nlohmann::json>(pass(finished));
    set_output(nullptr);
    first_output_.reset();
    if (outcome) return outcome;
    if (progress_.cancelled) return fail(Code::cancelled, "cancelled");
    if (outcome.error().code != Code::unavailable) return outcome;
    note(outcome.error());
    if (!pause(interval)) return fail(Code::cancelled, "cancelled");
    interval = std::min(interval * 2, longest_pause);
  }
}

/// Of an attempt that had written everything, and whose end is not known.
Result<bool> ArchiveExportJob::has_finished() {
  if (finishing_.is_null()) return false;
  const auto id = read_archive_id(store_, request_.address, after(connect_time));
  if (!id && id.error().code == Code::unavailable) return tl::unexpected(id.error());
  if (id && finishing_.value("id", "") == *id) return true;
  FERRY_TRY(store_finishing(nullptr));
  return false;
}

Result<> ArchiveExportJob::store_finishing(nlohmann::json outcome) {
  FERRY_TRY(
      catalogue_.update(name_, [&](volumes::VolumeRecord& record) { record.import[finishing_member] = outcome; }));
  finishing_ = std::move(outcome);
  return {};
}

/// Waits a while for an Engine that does not answer yet: without it the archive has no labels.
Result<VolumeDescription> ArchiveExportJob::describe() {
  FERRY_ASSIGN(auto description,
               sources_.describe(request_.volume, request_.terms.freeze, 0));  // counted, for a second
  FERRY_ASSIGN(const bool engine, sources_.has_engine());
  if (!description.labels_known && engine && SteadyClock::now() < labels_deadline_)
    return fail(Code::unavailable, "the Docker Engine does not tell the labels of volume " + request_.volume);
  return description;
}

Result<nlohmann::json> ArchiveExportJob::attempt() {
  FERRY_ASSIGN(const VolumeDescription description, describe());
  FERRY_ASSIGN(const auto volume, sources_.open(request_.volume, request_.terms.freeze));
  FERRY_ASSIGN(const Fd root, open_at(AT_FDCWD, volume->path.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  FERRY_ASSIGN(const archive::Compression compression, compression_of(request_.address));
  progress_.bytes_done = progress_.entries_done = 0;
  // The walks do that, too, and cannot be cancelled.
  if (!sync::sync_file_system(root.get(), progress_.cancelled)) return fail(Code::cancelled, "cancelled");
  // What it was before, so that the seal finds what has changed until then.
  const auto walk = volume->sender.manifest();
  for (std::string entries; walk->next(entries); entries.clear()) FERRY_TRY(progress_.check());
  Output output(*this);
  FERRY_ASSIGN(const auto written,
               archive::write_archive(root.get(), facts_of(description), compression, output, progress_));
  FERRY_TRY(output.flush());
  FERRY_ASSIGN(const auto seal, sources_.seal(*volume, false));
  FERRY_ASSIGN(auto outcome, outcome_of(description, written, seal));
  FERRY_TRY(store_finishing(outcome));
  auto finished = output.finish();
  // Cancelled: it may have its name nevertheless, and the next process finds out.
  const bool is_known =
      !finished && finished.error().code != Code::unavailable && finished.error().code != Code::cancelled;
  if (is_known) {
    if (auto stored = store_finishing(nullptr); !stored) spdlog::error("ticket {}: {}", name_, stored.error().message);
    return pass(finished);
  }
  if (!finished) return pass(finished);
  return outcome;
}

/// What Status says of it in the end. An error if the volume changed, and must not have.
Result<nlohmann::json> ArchiveExportJob::outcome_of(const VolumeDescription& description,
                                                    const archive::Written& written, const sync::Seal& seal) {
  const std::uint64_t changed = std::max(written.changed + written.vanished, seal.changed);
  if (changed != 0 && request_.terms.freeze == Freeze::refuse)
    return fail(++changes_ < most_changes ? Code::unavailable : Code::busy,
                "volume " + request_.volume +
                    " changed while it was read; stop what writes to it, or pass -o freeze=none for an archive that "
                    "may be torn");
  auto warnings = nlohmann::json::array();
  for (const auto& warning : written.warnings) warnings.push_back(warning);
  if (!seal.warning.empty()) warnings.push_back(seal.warning);
  if (changed != 0 && written.changed + written.vanished == 0)
    warnings.push_back(std::to_string(changed) +
                       " entries changed after they were read, or came or went: the archive may be torn");
  if (!description.labels_known)
    warnings.push_back("the Docker Engine could not be asked, so the archive has no labels");
  return nlohmann::json{{"id", written.id},       {"consistency", changed != 0 ? "live" : seal.consistency},
                        {"changed", changed},     {"bytes", written.bytes},
                        {"files", written.files}, {"warnings", warnings}};
}

std::unique_ptr<ArchiveOutput> ArchiveExportJob::take_first_output() {
  auto output = std::move(first_output_);
  if (output && SteadyClock::now() > first_output_ends_) output.reset();
  return output;
}

std::shared_ptr<ArchiveOutput> ArchiveExportJob::set_output(std::shared_ptr<ArchiveOutput> output) {
  std::shared_ptr<ArchiveOutput> old;  // removes what is not finished, which may take a while
  const std::lock_guard guard(mutex_);
  old = std::exchange(output_, std::move(output));
  content_began_ = SteadyClock::now();
  if (output_ && progress_.cancelled) output_->abort();
  return output_;
}

bool ArchiveExportJob::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return progress_.cancelled.load(); });
}

void ArchiveExportJob::note(const Error& error) {
  const std::lock_guard guard(mutex_);
  if (trouble_ != error.message) spdlog::warn("ticket {} waits: {}", name_, error.message);
  trouble_ = error.message;
}

void ArchiveExportJob::end(const Result<nlohmann::json>& outcome) {
  if (outcome)
    spdlog::info("ticket {}: {} is complete", name_, request_.address.text());
  else
    spdlog::error("ticket {} to {} failed: {}", name_, request_.address.text(), outcome.error().message);
  const char* state = outcome ? "done" : "failed";
  nlohmann::json status = this->status();
  status["state"] = state;
  auto& migration = status["migration"];
  migration["phase"] = state;
  migration["finished"] = now_rfc3339();
  migration["eta_s"] = outcome ? nlohmann::json(0) : nlohmann::json(nullptr);
  migration["error"] = outcome ? nlohmann::json(nullptr) : nlohmann::json(outcome.error().message);
  status["volumes"][0]["state"] = state;
  if (outcome) {
    for (const char* member : {"consistency", "changed"}) migration[member] = (*outcome)[member];
    migration["bytes_total"] = migration["bytes_done"] = (*outcome)["bytes"];
    migration["files_total"] = migration["files_done"] = (*outcome)["files"];
    for (const auto& warning : (*outcome)["warnings"]) migration["warnings"].push_back(warning);
  }
  auto stored = catalogue_.update(name_, [&](volumes::VolumeRecord& record) {
    record.state = outcome ? volumes::State::done : volumes::State::failed;
    record.migration = status;
  });
  if (!stored) spdlog::error("the outcome of ticket {} could not be stored: {}", name_, stored.error().message);
  const std::lock_guard guard(mutex_);
  outcome_ = std::move(status);
}

nlohmann::json ArchiveExportJob::status() const {
  const std::lock_guard guard(mutex_);
  return outcome_.is_null() ? status_locked() : outcome_;
}

nlohmann::json ArchiveExportJob::status_locked() const {
  nlohmann::json status = first_;
  auto& migration = status["migration"];
  migration["phase"] = output_ ? "content" : "manifest";
  migration["bytes_total"] = progress_.bytes_total.load();
  migration["bytes_done"] = progress_.bytes_done.load();
  migration["bytes_sent"] = meter_.bytes();
  const auto done = progress_.bytes_done.load(), total = progress_.bytes_total.load();
  const std::uint64_t rate = output_ ? rate_since(content_began_, done) : 0;
  migration["rate_bytes_per_s"] = rate;
  migration["eta_s"] = eta_of(done, total, rate);
  migration["files_total"] = progress_.entries_total.load();
  migration["files_done"] = progress_.entries_done.load();
  const std::string trouble = output_ ? output_->trouble() : trouble_;
  if (!trouble.empty()) migration["error"] = trouble;
  status["volumes"][0]["state"] = output_ ? "exporting" : "waiting";
  return status;
}

}  // namespace ferry::migration
