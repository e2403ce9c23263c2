#include "engine/tracker.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace ferry::engine {

Tracker::Tracker(Client& client, std::function<void()> on_change, TrackerPace pace)
    : client_(client), on_change_(std::move(on_change)), pace_(pace), list_retry_(pace.first_retry) {}

Tracker::~Tracker() { stop(); }

void Tracker::start() {
  const std::lock_guard lock(threads_mutex_);
  if (reader_.joinable() || interrupt_.tripped()) return;
  reader_ = std::thread([this] { follow(); });
  lister_ = std::thread([this] { keep_listed(); });
}

void Tracker::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }
  interrupt_.trip();
  const std::lock_guard lock(threads_mutex_);
  for (auto* thread : {&reader_, &lister_})
    if (thread->joinable()) thread->join();
}

bool Tracker::connected() const {
  const std::lock_guard lock(mutex_);
  return ledger_.connected();
}

Tracker::Facts Tracker::facts(const std::string& volume) const {
  const std::lock_guard lock(mutex_);
  return ledger_.facts(volume);
}

std::uint64_t Tracker::mark() const {
  const std::lock_guard lock(mutex_);
  return ledger_.mark();
}

Mounted Tracker::mount_rw_began_since(const std::string& volume, std::uint64_t mark, std::int64_t time_ns) const {
  const std::lock_guard lock(mutex_);
  return ledger_.mount_rw_began_since(volume, mark, time_ns);
}

// ---- the reader's thread

void Tracker::follow() {
  auto retry = pace_.first_retry;
  while (!interrupt_.tripped()) {
    const auto ended = client_.follow_events(
        interrupt_, [this] { opened(); }, [this](const Event& event) { take(event); });
    retry = closed(ended.error()) ? pace_.first_retry : std::min(retry * 2, pace_.last_retry);
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, retry, [this] { return stopping_; });
  }
}

void Tracker::opened() {
  const std::lock_guard lock(mutex_);
  ++streams_;
  stream_open_ = true;
  ledger_.begin();
  echo_ = false;
  list_retry_ = pace_.first_retry;
  volumes_due_ = containers_due_ = rested_ = SteadyClock::now();
  wake_.notify_all();
}

void Tracker::take(const Event& event) {
  const std::lock_guard lock(mutex_);
  const auto stale = ledger_.apply(event);
  if (stale.containers) echo_ = false;
  due_in(stale, pace_.settle);
  changed_ |= event.type == "volume";
  wake_.notify_all();
}

/// Whether the stream had stood until now.
bool Tracker::closed(const Error& reason) {
  const std::lock_guard lock(mutex_);
  const bool was_connected = ledger_.connected();
  stream_open_ = false;
  ledger_.set_connected(false);
  changed_ |= was_connected;
  wake_.notify_all();
  if (stopping_ || std::exchange(told_, true)) return was_connected;
  if (was_connected)
    spdlog::warn("lost the Docker Engine, labels and mounts are not current: {}", quote(reason.message));
  else
    spdlog::info("no Docker Engine to ask for labels and mounts yet: {}", quote(reason.message));
  return was_connected;
}

// ---- the lister's thread

void Tracker::keep_listed() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (std::exchange(changed_, false)) {
      lock.unlock();
      on_change_();
      lock.lock();
    } else if (!stream_open_) {
      wake_.wait(lock);
    } else if (const Deadline next = next_listing(); SteadyClock::now() < next) {
      wake_.wait_until(lock, next);
    } else {
      list(lock);
    }
  }
}

// The Engine asks every driver for all its volumes, so that many of them take it long: they have to rest while a burst
// of events goes on. Mounts do not: somebody may be waiting for one to end.
Deadline Tracker::next_listing() const { return std::min(containers_due_, std::max(volumes_due_, rested_)); }

Ledger::Stale Tracker::take_due() {
  const auto now = SteadyClock::now();
  const bool all = !ledger_.connected();  // which it will be as soon as this listing succeeds
  const Ledger::Stale due{.volumes = all || std::max(volumes_due_, rested_) <= now,
                          .containers = all || containers_due_ <= now};
  if (due.volumes) volumes_due_ = after(pace_.resync);
  if (due.containers) containers_due_ = after(pace_.resync);
  return due;
}

void Tracker::list(std::unique_lock<std::mutex>& lock) {
  const auto what = take_due();
  const bool echo = what.containers && std::exchange(echo_, true);
  if (what.volumes) ledger_.ask_volumes();
  const auto stream = streams_;
  lock.unlock();
  auto listing = ask(what);
  lock.lock();
  if (!stream_open_ || streams_ != stream) return;  // the next stream asks for everything
  if (listing.mounts) changed_ |= ledger_.set_mounts(*listing.mounts);
  if (listing.volumes) changed_ |= ledger_.set_volumes(*listing.volumes);
  if (listing.volumes)
    rested_ = SteadyClock::now() + std::min<Deadline::duration>(pace_.rest * listing.volumes_took, pace_.longest_rest);
  if (listing.error)
    list_again(what, *listing.error);
  else
    listed(what, echo);
}

Tracker::Listing Tracker::ask(Ledger::Stale what) {
  Listing listing;
  const auto keep = [&listing](auto& target, auto answer) {
    if (answer)
      target = std::move(*answer);
    else
      listing.error = std::move(answer.error());
  };
  if (what.containers) keep(listing.mounts, client_.container_mounts(&interrupt_));
  const auto began = SteadyClock::now();
  if (what.volumes && !listing.error) keep(listing.volumes, client_.volumes(&interrupt_));
  listing.volumes_took = SteadyClock::now() - began;
  return listing;
}

void Tracker::listed(Ledger::Stale what, bool echo) {
  told_ = false;
  list_retry_ = pace_.first_retry;
  if (!ledger_.connected()) {
    ledger_.set_connected(true);
    changed_ = true;
    spdlog::info("following the Docker Engine's events at {}", quote(client_.socket().string()));
  }
  if (!echo && what.containers) due_in({.containers = true}, pace_.second_look);
}

void Tracker::list_again(Ledger::Stale what, const Error& reason) {
  if (what.containers) echo_ = false;
  due_in(what, list_retry_);
  list_retry_ = std::min(list_retry_ * 2, pace_.last_retry);
  if (stopping_ || std::exchange(told_, true)) return;
  spdlog::warn("cannot list the Docker Engine's volumes and containers: {}", quote(reason.message));
}

void Tracker::due_in(Ledger::Stale what, std::chrono::milliseconds delay) {
  if (what.volumes) volumes_due_ = std::min(volumes_due_, after(delay));
  if (what.containers) containers_due_ = std::min(containers_due_, after(delay));
}

}  // namespace ferry::engine
