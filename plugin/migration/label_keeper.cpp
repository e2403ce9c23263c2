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

LabelKeeper::LabelKeeper(volumes::Catalogue& catalogue, engine::Client& client) : catalogue_(catalogue), client_(client) {}

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
    settled = settled && outcome && *outcome == Outcome::done;
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

Result<LabelKeeper::Outcome> LabelKeeper::reregister(const std::string& name, const volumes::Reregistration& wanted) {
  auto removed = client_.remove_volume(name);
  if (!removed && removed.error().code == Code::busy) {  // a container refers to it; wait until it has gone
    FERRY_TRY(disarm(name, true));
    return Outcome::later;
  }
  if (!removed && removed.error().code != Code::not_found) return pass(removed);
  FERRY_ASSIGN(const auto created, client_.create_volume(name, wanted.driver, wanted.options, wanted.labels));
  if (!shows(created, wanted)) return Outcome::later;  // a container took it meanwhile, and the labels were dropped
  FERRY_TRY(disarm(name, false));
  spdlog::info("volume {} has its labels and options", name);
  return Outcome::done;
}

}  // namespace ferry::migration
