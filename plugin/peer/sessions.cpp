#include "peer/sessions.h"

#include <vector>

#include "base/random.h"

namespace ferry::peer {

namespace {

constexpr std::size_t most_sessions = 256;

}  // namespace

Sessions::Sessions(std::chrono::milliseconds idle_time)
    : idle_time_(idle_time), sweeper_(idle_time / 4, [this] { close_idle(); }) {}

Result<std::string> Sessions::add(std::shared_ptr<Session> session) {
  const std::lock_guard guard(mutex_);
  if (open_.size() >= most_sessions) return fail(Code::unavailable, "too many migrations read from this host now");
  const std::string id = random_hex(16);
  open_.emplace(id, Open{std::move(session), after(idle_time_)});
  return id;
}

Result<std::shared_ptr<Session>> Sessions::find(const std::string& id) {
  const std::lock_guard guard(mutex_);
  const auto it = open_.find(id);
  if (it == open_.end()) return fail(Code::unavailable, "the source is not open any more");
  it->second.expires = after(idle_time_);
  return it->second.session;
}

void Sessions::close(const std::string& id) {
  std::shared_ptr<Session> closed;  // destroyed after the lock is released
  const std::lock_guard guard(mutex_);
  const auto it = open_.find(id);
  if (it == open_.end()) return;
  closed = std::move(it->second.session);
  open_.erase(it);
}

std::size_t Sessions::count() const {
  const std::lock_guard guard(mutex_);
  return open_.size();
}

/// A request may take longer than the idle time, so that begins anew as long as one is under way.
void Sessions::close_idle() {
  std::vector<std::shared_ptr<Session>> closed;  // destroyed after the lock is released
  const std::lock_guard guard(mutex_);
  for (auto it = open_.begin(); it != open_.end();) {
    Open& open = it->second;
    const bool in_use = open.session.use_count() > 1;
    if (in_use) open.expires = after(idle_time_);
    const bool expired = open.expires < SteadyClock::now();
    if (expired) closed.push_back(std::move(open.session));
    it = expired ? open_.erase(it) : std::next(it);
  }
}

}  // namespace ferry::peer
