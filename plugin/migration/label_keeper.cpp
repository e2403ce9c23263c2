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
constexpr std::array<const char*, 4> migration_options = {"from", "freeze", "limit", "compress"};

/// What is shown but for what an older version of the volume had brought.
volumes::StringMap without(volumes::StringMap shown, const volumes::StringMap& old) {
  std::erase_if(shown, [&](const auto& item) {
    const auto found = old.find(item.first);
    return found != old.end() && found->second == item.second;
  });
  return shown;
}

volumes::StringMap given_labels(const volumes::VolumeRecord& record, const volumes::StringMap& shown) {
  if (!record.superseded) return shown;
  return record.superseded->everything ? volumes::StringMap{} : without(shown, record.superseded->labels);
}

volumes::StringMap given_options(const volumes::VolumeRecord& record, const volumes::StringMap& shown) {
  if (!record.superseded) return shown;
  return record.superseded->everything ? volumes::StringMap{} : without(shown, record.superseded->options);
}

bool shows(const engine::Volume& volume, const volumes::Reregistration& wanted) {
  return volume.labels == wanted.labels && volume.options == wanted.options;
}

/// Whether the Engine did not say that it has done, or will not do, what it was asked for: it may still do it.
bool is_open(const Error& error) {
  return error.code == Code::unavailable || error.code == Code::cancelled || error.code == Code::corrupt;
}

}  // namespace

LabelKeeper::LabelKeeper(volumes::Catalogue& catalogue, engine::Client& client)
    : catalogue_(catalogue), client_(client) {
  for (const auto& record : catalogue_.list())
    if (record->reregistration) unanswered_.insert(record->name);
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
  if (removing_ == name) {
    removing_.clear();
    return true;
  }
  return unanswered_.contains(name);
}

bool LabelKeeper::is_own_create(const std::string& name) const {
  const std::lock_guard guard(mutex_);
  return creating_ == name;
}

/// Once for each trouble, not at every attempt.
void LabelKeeper::tell(const std::string& name, const Error& error) {
  auto& told = told_[name];
  if (told != error.message) spdlog::warn("labels of volume {} are pending: {}", name, error.message);
  told = error.message;
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
    if (!outcome && outcome.error().code != Code::unavailable) tell(record->name, outcome.error());
    const bool blocked = outcome ? *outcome == Outcome::blocked : outcome.error().code == Code::already_exists;
    settled = settled && (blocked || (outcome && *outcome == Outcome::done));
  }
  return settled;
}

volumes::StringMap LabelKeeper::wanted_labels(const volumes::VolumeRecord& record, const volumes::StringMap& shown) {
  auto wanted = given_labels(record, shown);
  wanted.insert(record.labels.begin(), record.labels.end());
  return wanted;
}

volumes::StringMap LabelKeeper::wanted_options(const volumes::VolumeRecord& record, const volumes::StringMap& shown) {
  volumes::StringMap wanted = record.options;
  for (const auto& [key, value] : given_options(record, shown)) wanted[key] = value;
  for (const char* key : migration_options) wanted.erase(key);
  return wanted;
}

Result<LabelKeeper::Outcome> LabelKeeper::settle(const std::string& name) {
  const auto record = catalogue_.find(name);
  if (!record) return Outcome::done;
  if (record->reregistration) return reregister(name, *record->reregistration);
  FERRY_ASSIGN(const auto shown, this->shown(name, *record));
  if (!shown) return Outcome::later;  // the user's own create has not come to its end yet
  const volumes::Reregistration wanted{shown->driver, wanted_labels(*record, shown->labels),
                                       wanted_options(*record, shown->options)};
  if (shows(*shown, wanted)) return disarm(name);
  FERRY_TRY(arm(name, wanted));
  return reregister(name, wanted);
}

Result<> LabelKeeper::arm(const std::string& name, const volumes::Reregistration& wanted) {
  return catalogue_.update(name, [&](volumes::VolumeRecord& record) { record.reregistration = wanted; });
}

Result<LabelKeeper::Outcome> LabelKeeper::disarm(const std::string& name) {
  FERRY_TRY(catalogue_.update(name, [&](volumes::VolumeRecord& record) {
    const auto registered = std::exchange(record.reregistration, std::nullopt);
    // An update may have brought other ones since.
    if (registered && (wanted_labels(record, registered->labels) != registered->labels ||
                       wanted_options(record, registered->options) != registered->options))
      return;
    record.superseded.reset();
    record.labels_pending = false;
  }));
  const std::lock_guard guard(mutex_);
  unanswered_.erase(name);
  spdlog::info("volume {} has its labels and options", name);
  return Outcome::done;
}

/// The volume as the Engine has it; none if it does not know the name. An error if what it knows is not this volume
/// but, say, a `local` one that was made while Ferry was away: to register that anew would delete its data.
Result<std::optional<engine::Volume>> LabelKeeper::shown(const std::string& name, const volumes::VolumeRecord& record) {
  auto volume = client_.volume(name);
  if (!volume && volume.error().code == Code::not_found) return std::nullopt;
  if (!volume) return pass(volume);
  const auto lineage = volume->status.is_object() ? volume->status.find("lineage") : volume->status.end();
  if (lineage == volume->status.end() || *lineage != record.lineage)
    return fail(Code::already_exists, "the Docker Engine has a volume " + name + " of driver " + quote(volume->driver) +
                                          " that is not Ferry's; remove or rename that one");
  return std::move(*volume);
}

Result<> LabelKeeper::remove(const std::string& name) {
  bool alone = false;  // no earlier DELETE can still lead to a Remove
  {
    const std::lock_guard guard(mutex_);
    removing_ = name;
    alone = !unanswered_.contains(name);
  }
  auto removed = client_.remove_volume(name);
  std::unique_lock lock(mutex_);
  const bool taken = std::exchange(removing_, {}) != name;
  if (taken && alone && !removed && removed.error().code == Code::busy) {
    // A container referred to the volume, so the Remove that came meanwhile was not this DELETE's: container and volume
    // are being removed by their user, who has been told that the volume is gone.
    spdlog::debug("volume {} was removed while it was about to be registered anew", name);
    lock.unlock();
    removed = client_.remove_volume(name);
    lock.lock();
  }
  if (!removed && is_open(removed.error()))
    unanswered_.insert(name);
  else
    unanswered_.erase(name);
  if (!removed && removed.error().code == Code::not_found) return {};
  return removed;
}

Result<engine::Volume> LabelKeeper::create(const std::string& name, const volumes::Reregistration& wanted) {
  const auto set_creating = [this](const std::string& volume) {
    const std::lock_guard guard(mutex_);
    creating_ = volume;
  };
  set_creating(name);
  auto created = client_.create_volume(name, wanted.driver, wanted.options, wanted.labels);
  set_creating("");
  return created;
}

/// Somebody who looks at the volume between DELETE and POST makes the Engine remember it without labels, and the POST
/// then changes nothing; so it is tried again at once, and later when that did not help.
Result<LabelKeeper::Outcome> LabelKeeper::reregister(const std::string& name, const volumes::Reregistration& wanted) {
  constexpr int attempts = 20;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    const auto record = catalogue_.find(name);
    if (!record || !record->reregistration) return Outcome::done;  // the user removed it meanwhile, or made another
    FERRY_ASSIGN(const auto before, shown(name, *record));
    if (before && shows(*before, wanted)) return disarm(name);
    if (before) {
      auto removed = remove(name);
      // A container refers to it. The record keeps what is wanted, since the Engine may know nothing of it any more.
      if (!removed && removed.error().code == Code::busy) return Outcome::blocked;
      if (!removed) return pass(removed);
      const auto still = catalogue_.find(name);
      if (!still || !still->reregistration) return Outcome::done;
    }
    auto created = create(name, wanted);
    // That is also how the Engine says that it has the plugin disabled, while it restarts one that crashed.
    if (!created && created.error().code == Code::already_exists) return Outcome::later;
    if (!created) return pass(created);
    if (shows(*created, wanted)) return disarm(name);
  }
  return Outcome::later;
}

}  // namespace ferry::migration
