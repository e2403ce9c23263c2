#include "migration/export_job.h"

#include <algorithm>

#include "base/log.h"
#include "base/time.h"
#include "migration/migration_record.h"
#include "migration/service_steps.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds begin_time{30'000};
constexpr std::chrono::milliseconds ask_time{10'000};
constexpr std::chrono::milliseconds end_time{4000};
constexpr std::chrono::milliseconds ask_pause{250};
constexpr std::chrono::milliseconds first_pause{1000};
constexpr std::chrono::milliseconds longest_pause{60'000};

/// What is known before the destination has said anything.
nlohmann::json first_volumes(const ExportPlan& plan) {
  auto volumes = nlohmann::json::array();
  for (const auto& volume : plan.request.volumes)
    volumes.push_back({{"name", volume.target}, {"source", volume.source}, {"state", "waiting"}});
  return volumes;
}

nlohmann::json first_status(const volumes::Catalogue& catalogue, const std::string& name, const ExportPlan& plan) {
  auto stored = stored_status(catalogue, name, "migration");
  return stored.is_null() ? new_export_status(plan) : stored;
}

}  // namespace

nlohmann::json to_json(const ExportPlan& plan) {
  auto volumes = nlohmann::json::array();
  for (const auto& volume : plan.request.volumes)
    volumes.push_back({{"source", volume.source}, {"target", volume.target}, {"stays", volume.stays}});
  nlohmann::json json = {
      {"export", plan.id},   {"volumes", volumes}, {"replace", plan.request.replace}, {"dry_run", plan.request.dry_run},
      {"begun", plan.begun}, {"told", plan.told},  {"move", plan.request.move}};
  if (plan.request.service) {
    json["service"] = to_json(*plan.request.service);
    json["container"] = plan.request.container;
  }
  add_to_json(json, plan.request.peer);
  add_to_json(json, plan.request.terms);
  return json;
}

Result<ExportPlan> export_plan(const nlohmann::json& json) {
  try {
    ExportPlan plan;
    plan.id = json.at("export").get<std::string>();
    plan.request.peer = peer_of(json);
    plan.request.terms = terms_of(json);
    plan.request.replace = json.at("replace").get<bool>();
    plan.request.dry_run = json.at("dry_run").get<bool>();
    plan.begun = json.at("begun").get<bool>();
    plan.told = json.at("told").get<bool>();
    plan.request.move = json.value("move", false);
    for (const auto& volume : json.at("volumes"))
      plan.request.volumes.push_back({volume.at("source").get<std::string>(), volume.at("target").get<std::string>(),
                                      volume.value("stays", false)});
    if (json.contains("service")) {
      plan.request.service = service_options_of(json["service"]);
      plan.request.container = json.at("container").get<std::string>();
    }
    return plan;
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, std::string("the stored ticket cannot be read: ") + error.what());
  }
}

nlohmann::json new_export_status(const ExportPlan& plan) {
  auto migration = new_migration_status("export", plan.request.peer.text());
  migration["phase"] = "connecting";
  migration["error"] = nullptr;
  nlohmann::json status = {
      {"state", "exporting"}, {"migration", std::move(migration)}, {"volumes", first_volumes(plan)}};
  if (plan.request.service) status["service"] = ServiceSteps().status(*plan.request.service);
  return status;
}

ExportJob::ExportJob(volumes::Catalogue& catalogue, std::string name, ExportPlan plan,
                     std::shared_ptr<Destination> destination, HandOff hand_off)
    : catalogue_(catalogue),
      name_(std::move(name)),
      plan_(std::move(plan)),
      hand_off_(std::move(hand_off)),
      first_(first_status(catalogue, name_, plan_)),
      destination_(std::move(destination)),
      has_outcome_(first_["state"] != "exporting"),
      shown_(first_) {}

std::shared_ptr<Destination> ExportJob::destination() const {
  const std::lock_guard guard(mutex_);
  return destination_;
}

void ExportJob::start() {
  const std::lock_guard guard(thread_mutex_);
  if (!stopping_) thread_ = std::thread([this] { run(); });
}

void ExportJob::stop_soon() {
  {
    const std::lock_guard guard(mutex_);  // pause() looks at it with this lock held
    stopping_ = true;
  }
  changed_.notify_all();
  if (const auto destination = this->destination()) destination->abort();
}

void ExportJob::abandon() {
  stop_soon();
  const std::lock_guard guard(thread_mutex_);
  if (thread_.joinable()) thread_.join();
}

Result<> ExportJob::withdraw() {
  const auto destination = this->destination();
  if (!destination) return {};
  auto ended = destination->end(end_time);
  const std::lock_guard guard(mutex_);
  if (!ended && ended.error().code == Code::busy && !has_outcome_) return ended;
  if (!ended && plan_.request.hands_off() && !has_outcome_) {
    given_up_ = true;
    changed_.notify_all();
    return fail(Code::busy, "the volumes are this host's again, but " + plan_.request.peer.text() +
                                " has not been told yet; ticket " + name_ +
                                " stays until it has, and removing it once more gives that up");
  }
  if (!ended)
    spdlog::warn("ticket {} is removed here, and at the destination once it has not heard of this host for a day: {}",
                 name_, ended.error().message);
  return {};
}

/// False if it is to end.
bool ExportJob::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return stopping_ || given_up_; });
}

void ExportJob::note(const Error& error) {
  const std::lock_guard guard(mutex_);
  if (trouble_ != error.message) spdlog::warn("ticket {} waits: {}", name_, error.message);
  trouble_ = error.message;
}

bool ExportJob::has_outcome() const {
  const std::lock_guard guard(mutex_);
  return has_outcome_;
}

void ExportJob::run() {
  const auto destination = this->destination();
  if (!has_outcome()) {
    auto done = follow(*destination);
    if (stopping_) return;
    // What is given is the destination's, whatever else could not be heard of it.
    if (!done && plan_.request.hands_off() && hand_off_.is_given() && !hand_off_.is_taken()) done = {};
    if (!done && plan_.request.hands_off()) hand_off_.take_back();
    end(done);
  } else if (plan_.request.hands_off()) {
    hand_off_.take_back();  // of what has failed, as the former process did; what is given stays so
    if (auto offered = destination->offer(); !offered) note(offered.error());
  }
  given_up_ = false;
  if (stopping_) return;
  if (!plan_.request.hands_off()) destination->abort();  // else it may still have to ask how the hand-off stands
  if (!tell_end(*destination)) return;
  {
    const std::lock_guard guard(mutex_);
    destination_.reset();  // the last but the one above, which ends without the lock held
  }
  // After that: who finds it told in the record can rely on nobody telling it again.
  plan_.told = true;
  (void)store([](volumes::VolumeRecord& record) { record.import["told"] = true; });
}

Result<> ExportJob::store(const std::function<void(volumes::VolumeRecord&)>& change) {
  while (true) {
    auto stored = catalogue_.update(name_, change);
    if (stored || stored.error().code == Code::not_found) return stored;
    note(stored.error());
    if (!pause(first_pause)) return fail(Code::cancelled, "cancelled");
  }
}

/// Has the destination take it on, or go on reading.
Result<> ExportJob::begin(Destination& destination) {
  if (plan_.begun) return destination.offer();
  FERRY_TRY(destination.begin(plan_.request, begin_time));
  plan_.begun = true;
  return store([](volumes::VolumeRecord& record) { record.import["begun"] = true; });
}

/// Repeats what the destination is asked for, for as long as that is away.
Result<> ExportJob::until_answered(const std::function<Result<>()>& ask) {
  while (!stopping_ && !given_up_) {
    auto answered = ask();
    // Whatever the destination of a hand-off says, but that it knows none, it may have everything and wait for this
    // host.
    const bool passes =
        !answered && plan_.request.hands_off() && plan_.begun && answered.error().code != Code::not_found;
    if (answered || (answered.error().code != Code::unavailable && !passes)) return answered;
    note(answered.error());
    if (!pause(first_pause)) break;
  }
  return fail(Code::cancelled, "cancelled");
}

/// Until the destination says that it is done. It may go away and come back meanwhile, as may this process.
Result<> ExportJob::follow(Destination& destination) {
  FERRY_TRY(until_answered([&] { return begin(destination); }));
  const std::string peer = plan_.request.peer.text();
  do {
    nlohmann::json there;
    auto answered = until_answered([&]() -> Result<> {
      FERRY_ASSIGN(there, destination.status(ask_time));
      return {};
    });
    if (plan_.request.hands_off() && hand_off_.is_taken())
      return fail(Code::denied,
                  "the volumes were taken back by force: they are this host's, whatever " + peer + " has");
    if (!answered && answered.error().code == Code::not_found && plan_.request.hands_off() && hand_off_.is_given())
      return {};
    if (!answered && answered.error().code == Code::not_found)
      return fail(Code::cancelled, "it was cancelled at " + peer);
    if (!answered) return answered;
    show(there);
    if (there["state"] == "done" && plan_.request.hands_off() && !hand_off_.is_given())
      return fail(Code::unsupported, "peer " + peer +
                                         ": it has made a copy, and nothing was handed off; does it run an earlier "
                                         "version of Ferry?");
    if (there["state"] == "done") return {};
    if (there["state"] == "failed") {
      const auto& why = there["migration"].value("error", nlohmann::json());
      return fail(Code::io,
                  "peer " + peer + ": " + (why.is_string() ? why.get<std::string>() : "it does not say why it failed"));
    }
  } while (pause(ask_pause));
  return fail(Code::cancelled, "cancelled");
}

/// Of its volumes only those that were asked for. The new names of anonymous ones only the destination knows.
void ExportJob::show(const nlohmann::json& there) {
  const std::lock_guard guard(mutex_);
  trouble_.clear();
  shown_ = first_;
  shown_["migration"].update(there["migration"]);
  for (auto& shown : shown_["volumes"])
    for (const auto& volume : there["volumes"]) {
      const char* const key = plan_.request.service ? "source" : "name";
      if (volume.value(key, nlohmann::json()) == shown[key]) shown.update(volume);
    }
  if (!plan_.request.service) return;
  for (const char* member : {"step", "steps"})
    if (there.contains("service")) shown_["service"][member] = there["service"][member];
}

/// Writes the outcome into the ticket's record.
void ExportJob::end(const Result<>& done) {
  if (done)
    spdlog::info("ticket {} to {} is done", name_, plan_.request.peer.text());
  else
    spdlog::error("ticket {} to {} failed: {}", name_, plan_.request.peer.text(), done.error().message);
  const char* state = done ? "done" : "failed";
  nlohmann::json status;
  {
    const std::lock_guard guard(mutex_);
    status = shown_;
  }
  status["state"] = state;
  auto& migration = status["migration"];
  migration["phase"] = state;
  migration["finished"] = now_rfc3339();
  migration["eta_s"] = done ? nlohmann::json(0) : nlohmann::json(nullptr);
  migration["error"] = done ? nlohmann::json(nullptr) : nlohmann::json(done.error().message);
  if (!done)
    for (auto& volume : status["volumes"]) volume["state"] = state;
  const auto stored = store([&](volumes::VolumeRecord& record) {
    record.state = done ? volumes::State::done : volumes::State::failed;
    record.migration = status;
  });
  if (!stored) return;
  const std::lock_guard guard(mutex_);
  trouble_.clear();
  has_outcome_ = true;
  shown_ = std::move(status);
}

/// Only once its outcome is on disk: until then the destination's word for it is needed. False: it is to end first.
bool ExportJob::tell_end(Destination& destination) {
  auto interval = first_pause;
  while (true) {
    const auto told = destination.end(end_time);
    const bool again = !told && (told.error().code == Code::unavailable || plan_.request.hands_off());
    if (!told && !again) spdlog::warn("ticket {}: the destination keeps its own: {}", name_, told.error().message);
    if (!again) return true;
    if (!pause(interval)) return false;
    interval = std::min(interval * 2, longest_pause);
  }
}

nlohmann::json ExportJob::status() const {
  const auto destination = this->destination();
  const std::string connection = destination ? destination->trouble() : std::string();
  const std::lock_guard guard(mutex_);
  nlohmann::json status = shown_;
  const std::string& trouble = trouble_.empty() ? connection : trouble_;
  if (!has_outcome_ && !trouble.empty()) status["migration"]["error"] = trouble;
  return status;
}

}  // namespace ferry::migration
