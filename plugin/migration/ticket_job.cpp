#include "migration/ticket_job.h"

#include <algorithm>
#include <cmath>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "migration/import_job.h"
#include "sync/estimate.h"
#include "sync/plan.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::seconds commit_pause{5};

nlohmann::json base_status(const volumes::Catalogue& catalogue, const std::string& name, const TicketPlan& plan) {
  const auto record = catalogue.find(name);
  if (record && record->migration.is_object() && record->migration.contains("migration"))
    return record->migration["migration"];
  return new_ticket_status(plan);
}

void sum(nlohmann::json& total, const nlohmann::json& part, const char* member) {
  if (part.contains(member)) total[member] = total.value(member, std::uint64_t{0}) + part[member].get<std::uint64_t>();
}

}  // namespace

TicketJob::TicketJob(Environment environment, std::string name, TicketPlan ticket, std::shared_ptr<Peer> peer)
    : environment_(std::move(environment)),
      name_(std::move(name)),
      commit_(environment_.catalogue, environment_.create, name_, std::move(ticket)),
      peer_text_(plan().request.peer.text()),
      base_(base_status(environment_.catalogue, name_, plan())),
      peer_(std::move(peer)),
      decided_(!plan().committing.is_null()) {
  const auto& catalogue = environment_.catalogue;
  for (const auto& volume : plan().volumes) {
    Item& item = items_.emplace_back();
    item.volume = volume;
    if (volume.is_update())
      item.update = sync::UpdateOf{catalogue.layout().data(volume.target), catalogue.uuid(),
                                   plan().request.replace ? sync::Replace::allowed : sync::Replace::refuse};
    item.transfer = std::make_unique<Transfer>(catalogue.layout(), volume.target, request_of(plan(), volume), peer_,
                                               sync::Identity{plan().peer_uuid, volume.source_lineage}, item.update);
  }
}

void TicketJob::start() {
  thread_ = std::thread([this] { run(); });
}

TicketJob::~TicketJob() { abandon(); }

bool TicketJob::holds(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  return is_active() && !plan().request.dry_run &&
         std::any_of(items_.begin(), items_.end(), [&](const Item& item) { return item.volume.target == volume; });
}

bool TicketJob::wait(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return !is_active(); });
}

/// One of which the volumes are neither the old nor the new ones is, even when its thread was stopped.
bool TicketJob::is_active() const { return !ended_ || (decided_ && outcome_.is_null()); }

void TicketJob::cancel() {
  {
    const std::lock_guard guard(mutex_);
    cancelled_ = true;
  }
  for (auto& item : items_) item.transfer->cancel();
  changed_.notify_all();
}

void TicketJob::abandon() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

void TicketJob::set_state(Item& item, const char* state) {
  const std::lock_guard guard(mutex_);
  item.state = state;
}

bool TicketJob::has_outcome() const {
  const std::lock_guard guard(mutex_);
  return !outcome_.is_null();
}

void TicketJob::run() {
  const Result<> done = plan().request.dry_run ? estimate_all() : bring();
  if (done)
    end("done", nullptr);
  else if (!cancelled_ && !decided_)
    end("failed", &done.error());
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

Result<> TicketJob::bring() {
  if (!decided_) FERRY_TRY(transfer_all());
  if (!decided_) FERRY_TRY(decide());
  // What is decided is carried out, however long a full disk may keep it from that.
  while (true) {
    auto done = commit();
    if (done) return done;
    spdlog::error("ticket {}: {}; tried again in 5 s", name_, done.error().message);
    std::unique_lock lock(mutex_);
    trouble_ = done.error().message;
    if (changed_.wait_for(lock, commit_pause, [this] { return cancelled_.load(); })) return done;
  }
}

/// A dry run.
Result<> TicketJob::estimate_all() {
  for (auto& item : items_) {
    set_state(item, "importing");
    auto estimated = estimate(item);
    if (!estimated)
      return fail(estimated.error().code, "volume " + item.volume.target + ": " + estimated.error().message);
    const std::lock_guard guard(mutex_);
    item.outcome = std::move(*estimated);
    item.state = "planned";
  }
  return {};
}

Result<nlohmann::json> TicketJob::estimate(Item& item) {
  const auto& layout = environment_.catalogue.layout();
  const auto scratch = layout.incoming() / random_hex(8);  // of which a crash leaves nothing
  FERRY_TRY(make_directories(scratch));
  auto estimated = [&]() -> Result<sync::Estimate> {
    FERRY_ASSIGN(const auto source, peer_->open(request_of(plan(), item.volume)));
    return sync::estimate(*source, item.update, layout.baseline(item.volume.target), scratch, cancelled_);
  }();
  (void)remove_tree(scratch);
  if (!estimated) return pass(estimated);
  return nlohmann::json{
      {"files_total", estimated->files_total},         {"bytes_total", estimated->bytes_total},
      {"files_to_send", estimated->files_to_send},     {"bytes_to_send", estimated->bytes_to_send},
      {"names_to_remove", estimated->names_to_remove}, {"predicted_s", std::ceil(estimated->seconds * 10) / 10}};
}

Result<> TicketJob::transfer_all() {
  const auto about = [](const Item& item, const Error& error) {
    return fail(error.code, "volume " + item.volume.target + ": " + error.message);
  };
  FERRY_TRY(check_unmounted());  // from now on a Mount finds it held
  for (auto& item : items_) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    if (auto prepared = commit_.prepare(item.volume); !prepared) return about(item, prepared.error());
  }
  for (auto& item : items_) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    set_state(item, "importing");
    auto receipt = item.transfer->run();
    if (!receipt) return receipt.error().code == Code::cancelled ? pass(receipt) : about(item, receipt.error());
    nlohmann::json outcome = item.transfer->status();
    outcome["warnings"] = nlohmann::json::array();
    if (!item.volume.source.labels_known)
      outcome["warnings"].push_back("the source's Docker Engine could not be asked, so its labels did not come along");
    add_receipt(outcome, *receipt);
    const std::lock_guard guard(mutex_);
    item.outcome = std::move(outcome);
    item.state = "prepared";
  }
  return {};
}

Result<> TicketJob::check_unmounted() const {
  const Deadline deadline = after(std::chrono::seconds(2));  // a Mount that finds it held is taken back at once
  for (const auto& item : items_) {
    if (!item.volume.is_update()) continue;
    while (environment_.mounted(item.volume.target) && SteadyClock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (environment_.mounted(item.volume.target))
      return fail(Code::busy, "volume " + item.volume.target + " is mounted here; stop the containers that use it");
  }
  return {};
}

Result<> TicketJob::decide() {
  FERRY_TRY(check_unmounted());
  if (cancelled_) return fail(Code::cancelled, "cancelled");
  auto outcomes = nlohmann::json::array();
  for (const auto& item : items_) {
    auto status = new_import_status(request_of(plan(), item.volume));
    for (const char* kept : {"id", "started"}) status[kept] = base_[kept];
    status.update(item.outcome);
    status["phase"] = "done";
    status["finished"] = now_rfc3339();
    outcomes.push_back(std::move(status));
  }
  FERRY_TRY(commit_.decide(std::move(outcomes)));
  decided_ = true;
  return {};
}

/// Each step may have been done before.
Result<> TicketJob::commit() {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    Item& item = items_[i];
    if (auto done = commit_.commit(i); !done)
      return fail(done.error().code, "volume " + item.volume.target + ": " + done.error().message);
    const std::lock_guard guard(mutex_);
    item.state = "ready";
    item.outcome = plan().committing[i];
  }
  return {};
}

/// To be called when the thread is not running, or by it.
Result<> TicketJob::undo() { return decided_ ? Result<>() : commit_.undo(); }

/// Writes the outcome into the ticket's record; after a failure it has taken back everything before.
void TicketJob::end(const char* state, const Error* error) {
  if (error != nullptr) {
    spdlog::error("ticket {} from {} failed: {}", name_, peer_text_, error->message);
    if (auto undone = undo(); !undone) spdlog::error("ticket {}: {}", name_, undone.error().message);
  } else {
    spdlog::info("ticket {} from {} is done", name_, peer_text_);
  }
  nlohmann::json status;
  {
    const std::lock_guard guard(mutex_);
    if (error != nullptr)
      for (auto& item : items_) item.state = "failed";
    status = status_locked();
  }
  status["state"] = state;
  auto& migration = status["migration"];
  migration["phase"] = state;
  migration["finished"] = now_rfc3339();
  migration["eta_s"] = error == nullptr ? nlohmann::json(0) : nlohmann::json(nullptr);
  migration["verified"] = error == nullptr && !plan().request.dry_run;
  migration["error"] = error == nullptr ? nlohmann::json(nullptr) : nlohmann::json(error->message);
  auto stored = environment_.catalogue.update(name_, [&](volumes::VolumeRecord& record) {
    record.state = error == nullptr ? volumes::State::done : volumes::State::failed;
    record.migration = status;
  });
  if (!stored) spdlog::error("the outcome of ticket {} could not be stored: {}", name_, stored.error().message);
  {
    const std::lock_guard guard(mutex_);
    outcome_ = std::move(status);
  }
  environment_.committed();
}

nlohmann::json TicketJob::item_status(const Item& item) const {
  nlohmann::json status = {{"name", item.volume.target},
                           {"source", item.volume.source.volume},
                           {"action", item.volume.action},
                           {"state", item.state},
                           {"digest", nullptr},
                           {"consistency", nullptr},
                           {"warnings", nlohmann::json::array()}};
  const nlohmann::json now = item.outcome.is_null() ? item.transfer->status() : item.outcome;
  for (const char* member :
       {"phase", "round", "bytes_total", "bytes_done", "bytes_sent", "files_total", "files_done", "digest",
        "consistency", "warnings", "verified", "files_to_send", "bytes_to_send", "names_to_remove", "predicted_s"})
    if (now.contains(member)) status[member] = now[member];
  return status;
}

nlohmann::json TicketJob::status() const {
  const std::lock_guard guard(mutex_);
  return outcome_.is_null() ? status_locked() : outcome_;
}

nlohmann::json TicketJob::status_locked() const {
  nlohmann::json migration = base_;
  auto listed = nlohmann::json::array();
  bool live = false;
  bool verified = true;
  std::string digests;
  for (const auto& item : items_) {
    listed.push_back(item_status(item));
    const auto& one = listed.back();
    for (const char* member : {"bytes_total", "bytes_done", "bytes_sent", "files_total", "files_done"})
      sum(migration, one, member);
    for (const auto& warning : one["warnings"])
      migration["warnings"].push_back(item.volume.target + ": " + warning.get<std::string>());
    live = live || one["consistency"] == "live";
    verified = verified && one["digest"].is_string();
    if (one["digest"].is_string()) digests += one["digest"].get<std::string>();
    if (item.outcome.is_null() || &item == &items_.back()) {
      const auto now = item.transfer->status();
      for (const char* member : {"phase", "round", "rate_bytes_per_s", "eta_s", "error"})
        if (!migration.contains(member) || std::string_view(item.state) == "importing") migration[member] = now[member];
    }
  }
  if (!trouble_.empty()) migration["error"] = trouble_;
  if (verified) {
    migration["consistency"] = live ? "live" : "idle";
    migration["digest"] = items_.size() == 1 ? digests : sync::to_hex(sync::digest_of(digests));
  }
  return {{"state", "importing"}, {"migration", std::move(migration)}, {"volumes", std::move(listed)}};
}

nlohmann::json TicketJob::volume_status(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  for (const auto& item : items_) {
    if (item.volume.target != volume) continue;
    auto status = new_import_status({{}, item.volume.source.volume, {}});
    for (const char* kept : {"id", "started", "peer"}) status[kept] = base_[kept];
    status.update(item.outcome.is_null() ? item.transfer->status() : item.outcome);
    status["ticket"] = name_;
    return status;
  }
  return nullptr;
}

}  // namespace ferry::migration
