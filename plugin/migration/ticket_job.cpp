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

nlohmann::json to_json(const TicketVolume& volume) {
  const auto& source = volume.source;
  return {{"source", source.volume},
          {"target", volume.target},
          {"action", volume.action},
          {"mode", to_string(source.mode)},
          {"lineage", source.lineage},
          {"epoch", source.epoch},
          {"labels", source.labels},
          {"options", source.options},
          {"labels_known", source.labels_known},
          {"source_lineage", volume.source_lineage}};
}

TicketVolume ticket_volume(const nlohmann::json& json) {
  TicketVolume volume;
  volume.target = json.at("target").get<std::string>();
  volume.action = json.at("action").get<std::string>();
  auto& source = volume.source;
  source.volume = json.at("source").get<std::string>();
  source.mode = json.at("mode") == "ro" ? volumes::Mode::ro : volumes::Mode::rw;
  source.lineage = json.at("lineage").get<std::string>();
  source.epoch = json.at("epoch").get<std::uint64_t>();
  source.labels = json.at("labels").get<volumes::StringMap>();
  source.options = json.at("options").get<volumes::StringMap>();
  source.labels_known = json.at("labels_known").get<bool>();
  volume.source_lineage = json.at("source_lineage").get<std::string>();
  return volume;
}

ImportRequest request_of(const TicketPlan& plan, const TicketVolume& volume) {
  return {plan.request.peer, volume.source.volume, plan.request.terms};
}

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

nlohmann::json to_json(const TicketPlan& plan) {
  auto volumes = nlohmann::json::array();
  for (const auto& volume : plan.volumes) volumes.push_back(to_json(volume));
  nlohmann::json json = {{"uuid", plan.peer_uuid},
                         {"replace", plan.request.replace},
                         {"dry_run", plan.request.dry_run},
                         {"volumes", volumes},
                         {"committing", plan.committing}};
  add_to_json(json, plan.request.peer);
  add_to_json(json, plan.request.terms);
  return json;
}

Result<TicketPlan> ticket_plan(const nlohmann::json& json) {
  try {
    TicketPlan plan;
    plan.request.peer = peer_of(json);
    plan.peer_uuid = json.at("uuid").get<std::string>();
    plan.request.terms = terms_of(json);
    plan.request.replace = json.at("replace").get<bool>();
    plan.request.dry_run = json.at("dry_run").get<bool>();
    for (const auto& volume : json.at("volumes")) plan.volumes.push_back(ticket_volume(volume));
    plan.committing = json.at("committing");
    if (!plan.committing.is_null() && plan.committing.size() != plan.volumes.size())
      return fail(Code::corrupt, "the stored ticket does not add up");
    return plan;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, std::string("the stored ticket cannot be read: ") + error.what());
  }
}

nlohmann::json new_ticket_status(const TicketPlan& plan) {
  auto status = new_import_status({plan.request.peer, "", plan.request.terms});
  status.erase("volume");
  return status;
}

nlohmann::json import_of(const TicketPlan& plan, const TicketVolume& volume, const std::string& ticket) {
  auto import = to_json(request_of(plan, volume));
  import["uuid"] = plan.peer_uuid;
  import["ticket"] = ticket;
  return import;
}

TicketJob::TicketJob(Environment environment, std::string name, TicketPlan plan, std::shared_ptr<Peer> peer)
    : environment_(std::move(environment)),
      name_(std::move(name)),
      plan_(std::move(plan)),
      peer_text_(plan_.request.peer.text()),
      base_(base_status(environment_.catalogue, name_, plan_)),
      peer_(std::move(peer)),
      decided_(!plan_.committing.is_null()) {
  const auto& catalogue = environment_.catalogue;
  for (const auto& volume : plan_.volumes) {
    Item& item = items_.emplace_back();
    item.volume = volume;
    if (volume.is_update())
      item.update = sync::UpdateOf{catalogue.layout().data(volume.target), catalogue.uuid(),
                                   plan_.request.replace ? sync::Replace::allowed : sync::Replace::refuse};
    item.transfer = std::make_unique<Transfer>(catalogue.layout(), volume.target, request_of(plan_, volume), peer_,
                                               sync::Identity{plan_.peer_uuid, volume.source_lineage}, item.update);
  }
}

void TicketJob::start() {
  thread_ = std::thread([this] { run(); });
}

TicketJob::~TicketJob() { abandon(); }

bool TicketJob::holds(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  return is_active() && !plan_.request.dry_run &&
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
  const Result<> done = plan_.request.dry_run ? estimate_all() : bring();
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
    FERRY_ASSIGN(const auto source, peer_->open(request_of(plan_, item.volume)));
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
    if (auto prepared = prepare(item.volume); !prepared) return about(item, prepared.error());
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

/// What a process that was killed may have done already.
Result<> TicketJob::prepare(const TicketVolume& volume) {
  auto& catalogue = environment_.catalogue;
  if (volume.is_update()) return catalogue.prepare_update(volume.target);
  if (const auto record = catalogue.find(volume.target)) {
    if (record->import.is_object() && record->import.value("ticket", "") == name_) return {};
    return fail(Code::already_exists, "there is another volume of that name here now");
  }
  volumes::VolumeRecord record;
  record.name = volume.target;
  record.created = now_rfc3339();
  record.mode = volume.source.mode;
  record.state = volumes::State::importing;
  record.lineage = volume.source.lineage;
  record.epoch = volume.source.epoch;
  record.options = volume.source.options;
  record.labels = volume.source.labels;
  record.labels_pending = true;
  record.import = import_of(plan_, volume, name_);
  return environment_.create(std::move(record));
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

/// The one write that counts. Until it is durable nothing has happened to any volume.
Result<> TicketJob::decide() {
  FERRY_TRY(check_unmounted());
  if (cancelled_) return fail(Code::cancelled, "cancelled");
  auto outcomes = nlohmann::json::array();
  for (const auto& item : items_) {
    auto status = new_import_status(request_of(plan_, item.volume));
    for (const char* kept : {"id", "started"}) status[kept] = base_[kept];
    status.update(item.outcome);
    status["phase"] = "done";
    status["finished"] = now_rfc3339();
    outcomes.push_back(std::move(status));
  }
  plan_.committing = std::move(outcomes);
  FERRY_TRY(
      environment_.catalogue.update(name_, [&](volumes::VolumeRecord& record) { record.import = to_json(plan_); }));
  decided_ = true;
  return {};
}

/// Each step may have been done before.
Result<> TicketJob::commit() {
  for (std::size_t i = 0; i < items_.size(); ++i) {
    const auto& volume = items_[i].volume;
    const auto done =
        volume.is_update() ? commit_update(volume, plan_.committing[i]) : commit_new(volume, plan_.committing[i]);
    if (!done) return fail(done.error().code, "volume " + volume.target + ": " + done.error().message);
    const std::lock_guard guard(mutex_);
    items_[i].state = "ready";
    items_[i].outcome = plan_.committing[i];
  }
  return {};
}

Result<> TicketJob::commit_new(const TicketVolume& volume, const nlohmann::json& status) {
  const auto record = environment_.catalogue.find(volume.target);
  if (record && record->state == volumes::State::ready) return {};
  return environment_.catalogue.commit_staging(volume.target, [&](volumes::VolumeRecord& next) {
    next.state = volumes::State::ready;
    next.migration = status;
  });
}

/// While the record says importing, nobody can mount it, whatever of it is old or new. The plan, of which there is none
/// if nothing differs, goes before that ends: once it can be mounted it must not be applied again.
Result<> TicketJob::commit_update(const TicketVolume& volume, const nlohmann::json& status) {
  auto& catalogue = environment_.catalogue;
  const auto& layout = catalogue.layout();
  const auto update = layout.update(volume.target);
  FERRY_ASSIGN(const bool planned, ferry::exists(sync::UpdatePaths(update).plan));
  if (planned) {
    FERRY_TRY(catalogue.update(volume.target, [&](volumes::VolumeRecord& record) {
      record.state = volumes::State::importing;
      record.import = import_of(plan_, volume, name_);  // or it would be taken for an import of its own
    }));
    FERRY_TRY(sync::apply_plan(update, layout.data(volume.target), layout.baseline(volume.target)));
  }
  FERRY_TRY(catalogue.drop_update(volume.target));
  const auto current = catalogue.find(volume.target);
  if (!current || (current->state == volumes::State::ready && current->migration == status)) return {};
  return catalogue.update(volume.target, [&](volumes::VolumeRecord& record) {
    const auto& source = volume.source;
    record.state = volumes::State::ready;
    record.mode = source.mode;
    record.epoch = source.epoch;
    if (!source.lineage.empty()) record.lineage = source.lineage;
    if (source.labels_known) {  // whatever was given when it was made was for that version
      record.superseded = volumes::Superseded{{}, {}, true};
      record.labels = source.labels;
      record.options = source.options;
      record.labels_pending = true;
    }
    record.import = import_of(plan_, volume, name_);
    record.migration = status;
  });
}

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
  migration["verified"] = error == nullptr && !plan_.request.dry_run;
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

Result<> TicketJob::undo() {
  if (decided_) return {};
  auto& catalogue = environment_.catalogue;
  Result<> all;
  for (const auto& item : items_) {
    const auto record = catalogue.find(item.volume.target);
    if (!record) continue;
    Result<> done;
    if (item.volume.is_update())
      done = catalogue.drop_update(item.volume.target);
    else if (record->import.is_object() && record->import.value("ticket", "") == name_)
      done = catalogue.remove(item.volume.target);
    if (!done && all) all = done;
  }
  return all;
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
