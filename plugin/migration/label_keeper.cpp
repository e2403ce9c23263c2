#include "migration/label_keeper.h"

#include <array>
#include <chrono>

#include "base/log.h"

namespace ferry::migration {

namespace {

/// How soon to try again what could not be done, unless woken before.
constexpr std::chrono::seconds retry_interval{1};
constexpr std::chrono::minutes idle_interval{1};

/// Options that ask for a migration and say nothing about the volume.
constexpr std::array<const char*, 2> migration_options = {"from", "freeze"};

bool shows(const engine::Volume& volume, const volumes::Reregistration& wanted) {
  return volume.labels == wanted.labels && volume.options == wanted.options;
}

}  // namespace

LabelKeeper::LabelKeeper(volumes::Catalogue& catalogue, engine::Client& client)
    : catalogue_(catalogue), client_(client) {
  for (const auto& record : catalogue_.list())
    if (record->reregistration) interrupted_.insert(record->name);
}

LabelKeeper::~LabelKeeper() { stop(); }

void LabelKeeper::start() {
  thread_ = std::thread([this] { run(); });
}

void LabelKeeper::stop() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void LabelKeeper::wake() {
  const std::lock_guard guard(mutex_);
  wanted_ = true;
  changed_.notify_all();
}

void LabelKeeper::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wanted_ = false;
    lock.unlock();
    const bool settled = settle_all();
    lock.lock();
    const auto woken = [this] { return stopping_ || wanted_; };
    if (settled)
      changed_.wait_for(lock, idle_interval, woken);
    else
      changed_.wait_for(lock, retry_interval, [this] { return stopping_; });
  }
}

bool LabelKeeper::is_own_remove(const std::string& name) {
  const std::lock_guard guard(mutex_);
  if (interrupted_.contains(name)) return true;
  if (removing_ != name) return false;
  removing_.clear();
  return true;
}

bool LabelKeeper::is_own_create(const std::string& name) const {
  const std::lock_guard guard(mutex_);
  return creating_ == name;
}

void LabelKeeper::set_call(const std::string& removing, const std::string& creating) {
  const std::lock_guard guard(mutex_);
  removing_ = removing;
  creating_ = creating;
}

bool LabelKeeper::settle_all() {
  bool settled = true;
  for (const auto& record : catalogue_.list()) {
    if (!record->labels_pending && !record->reregistration) continue;
    {
      const std::lock_guard guard(mutex_);
      if (stopping_) return true;
    }
    const auto outcome = settle(record->name);
    if (!outcome && outcome.error().code != Code::unavailable)
      spdlog::warn("labels of volume {} are pending: {}", record->name, outcome.error().message);
    settled = settled && outcome && *outcome != Outcome::later;
  }
  return settled;
}

volumes::StringMap LabelKeeper::wanted_options(const volumes::VolumeRecord& record, const volumes::StringMap& given) {
  volumes::StringMap wanted = record.options;
  for (const auto& [key, value] : given) wanted[key] = value;
  for (const char* key : migration_options) wanted.erase(key);
  return wanted;
}

Result<LabelKeeper::Outcome> LabelKeeper::settle(const std::string& name) {
  const auto record = catalogue_.find(name);
  if (!record) return Outcome::done;
  auto shown = client_.volume(name);
  if (!shown && shown.error().code != Code::not_found) return pass(shown);
  if (record->reregistration) {
    if (!shown || !shows(*shown, *record->reregistration)) return reregister(name, *record->reregistration);
    FERRY_TRY(disarm(name, false));
    return Outcome::done;
  }
  if (!shown) return Outcome::later;  // the user's own create has not come to its end yet
  volumes::Reregistration wanted{shown->driver, record->labels, wanted_options(*record, shown->options)};
  for (const auto& [key, value] : shown->labels) wanted.labels[key] = value;
  if (shows(*shown, wanted)) {
    FERRY_TRY(disarm(name, false));
    return Outcome::done;
  }
  FERRY_TRY(arm(name, wanted));
  return reregister(name, wanted);
}

Result<> LabelKeeper::arm(const std::string& name, const volumes::Reregistration& wanted) {
  return catalogue_.update(name, [&](volumes::VolumeRecord& record) { record.reregistration = wanted; });
}

Result<> LabelKeeper::disarm(const std::string& name, bool labels_pending) {
  return catalogue_.update(name, [&](volumes::VolumeRecord& record) {
    record.reregistration.reset();
    record.labels_pending = labels_pending;
  });
}

Result<> LabelKeeper::remove(const std::string& name) {
  set_call(name, "");
  {
    const std::lock_guard guard(mutex_);
    interrupted_.erase(name);
  }
  auto removed = client_.remove_volume(name);
  set_call("", "");
  if (!removed && removed.error().code == Code::not_found) return {};
  return removed;
}

Result<engine::Volume> LabelKeeper::create(const std::string& name, const volumes::Reregistration& wanted) {
  set_call("", name);
  auto created = client_.create_volume(name, wanted.driver, wanted.options, wanted.labels);
  set_call("", "");
  return created;
}

/// Somebody who looks at the volume between DELETE and POST makes the Engine remember it without labels, and the POST
/// then changes nothing; so it is tried again at once, and later when that did not help.
Result<LabelKeeper::Outcome> LabelKeeper::reregister(const std::string& name, const volumes::Reregistration& wanted) {
  constexpr int attempts = 20;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    auto removed = remove(name);
    if (!removed && removed.error().code == Code::busy) {  // a container refers to it; wait until it has gone
      FERRY_TRY(disarm(name, true));
      return Outcome::blocked;
    }
    if (!removed) return pass(removed);
    if (!catalogue_.find(name)) return Outcome::done;  // the user removed it meanwhile
    FERRY_ASSIGN(const auto created, create(name, wanted));
    if (!shows(created, wanted)) continue;
    FERRY_TRY(disarm(name, false));
    spdlog::info("volume {} has its labels and options", name);
    return Outcome::done;
  }
  return Outcome::later;
}

}  // namespace ferry::migration
