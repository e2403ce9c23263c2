#include "migration/freezes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "engine/members.h"

namespace ferry::migration {

namespace {

using nlohmann::json;

constexpr unsigned most_looks = 3;  // for containers that begin to write meanwhile
constexpr std::size_t most_freezes = 64;
constexpr std::size_t most_ended = 256;
constexpr std::chrono::milliseconds longest_pause{5000};
constexpr std::chrono::milliseconds stop_time{5000};  // the Engine gives a plugin 10 s to end
// A mount's event precedes its container in the listings by some 0.1 s, see Sources.
constexpr std::chrono::milliseconds certainty_time{2000};

/// It would be stopped and started for nothing if that may take all the time there is.
Result<> check_stop(const engine::Container& container, std::chrono::milliseconds longest) {
  try {
    const std::chrono::seconds timeout = stop_timeout(container);
    if (timeout < longest) return {};
    return fail(Code::unsupported, "container " + container.name + " may take " + std::to_string(timeout.count()) +
                                       " s to end (its stop timeout), and is to be held for " +
                                       std::to_string(longest.count()) +
                                       " ms at most (option max-freeze); use a larger max-freeze, or freeze=pause");
  } catch (const json::exception& error) {
    return engine::not_understood("the Engine's container", error);
  }
}

}  // namespace

Freezes::Freezes(Parts parts) : parts_(parts), containers_(parts.client) { read(); }

std::filesystem::path Freezes::path_of(const std::string& id) const { return parts_.layout.frozen() / id; }

void Freezes::start() {
  looking_ = std::make_unique<Periodic>(parts_.look, [this] { look(); });
}

void Freezes::stop() {
  looking_.reset();
  std::vector<std::pair<std::string, std::shared_ptr<engine::Interrupt>>> all;
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    for (auto& [id, frozen] : frozen_) all.emplace_back(id, frozen.beginning);
  }
  for (const auto& [id, beginning] : all) {
    if (beginning) beginning->trip();
    end_beside(id);
  }
  const Deadline deadline = after(stop_time);
  for (const auto& [id, ender] : enders_) (void)ender.wait_until(deadline);
  ending_.trip();
  enders_.clear();
}

/// What an earlier process has left is over: nobody else knows that ID any more.
void Freezes::read() {
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator(parts_.layout.frozen(), error)) {
    const std::string id = file.path().filename().string();
    if (id.find_first_not_of("0123456789abcdef") != std::string::npos) {  // what a crash has left of its writing
      (void)remove_tree(file.path());
      continue;
    }
    try {
      const auto text = read_file(file.path());
      const json stored = json::parse(text.value_or(""));
      Frozen frozen;
      frozen.request.kind = stored.at("kind") == "stop" ? FreezeKind::stop : FreezeKind::pause;
      for (const auto& container : stored.at("containers")) {
        frozen.containers.push_back(held_container_of(container));
        frozen.stopping.push_back(frozen.containers.back().id);
        if (auto claim = parts_.holds.claim(frozen.containers.back())) frozen.claims.push_back(std::move(*claim));
      }
      frozen.stand = Stand::ends;
      frozen.silence = frozen.end = SteadyClock::now();
      spdlog::warn("freeze {} was not ended by an earlier process: its containers run again", id);
      const std::lock_guard guard(mutex_);
      frozen_.emplace(id, std::move(frozen));
    } catch (const json::exception& problem) {
      spdlog::error("{} cannot be read: {}", file.path().string(), problem.what());
    }
  }
}

Result<bool> Freezes::freeze(const std::string& id, const FreezeRequest& request) {
  const auto busy = ids_.lock(id);
  Frozen frozen;
  frozen.request = request;
  frozen.end = request.kind == FreezeKind::watch ? Deadline::max() : after(request.longest);
  frozen.silence = after(parts_.longest_silence);
  frozen.beginning = std::make_shared<engine::Interrupt>();
  {
    const std::lock_guard guard(mutex_);
    if (stopping_) return fail(Code::unavailable, "this Ferry ends");
    if (const auto known = frozen_.find(id); known != frozen_.end() && known->second.stand == Stand::lasts)
      return !known->second.is_idle();
    if (frozen_.contains(id) || std::find(ended_.begin(), ended_.end(), id) != ended_.end())
      return fail(Code::already_exists, "that freeze has ended already");
    if (frozen_.size() >= most_freezes) return fail(Code::busy, "too much stands still on that host already");
    frozen_.emplace(id, frozen);
  }
  Result<> begun = freeze_all(id, frozen);
  const bool may_be_late = begun || begun.error().code == Code::cancelled;  // look() ends what takes too long
  if (may_be_late && SteadyClock::now() >= frozen.end)
    begun = fail(Code::busy, "until the containers stood still it took longer than " +
                                 std::to_string(request.longest.count()) + " ms (option max-freeze)");
  {
    const std::lock_guard guard(mutex_);
    auto& known = frozen_.at(id);
    if (begun && known.beginning->tripped()) begun = fail(Code::cancelled, "it was ended while it began");
    frozen.silence = begun ? known.silence : SteadyClock::now();
    frozen.stand = begun ? Stand::lasts : Stand::ends;
    known = frozen;
  }
  // What takes its time to end is waited for by look(), not by who wants to know what has become of it.
  if (!begun && frozen.stopping.empty()) try_to_end(id);
  FERRY_TRY(begun);
  return !frozen.is_idle();
}

/// Those that begin to write meanwhile are found by another look. All are noted, on disk, before the first one stands
/// still, so that what cannot is known by then.
Result<> Freezes::freeze_all(const std::string& id, Frozen& frozen) {
  for (unsigned looks = 0; looks < most_looks; ++looks) {
    frozen.mark = parts_.tracker.mark();
    frozen.since_ns = realtime_ns();
    FERRY_ASSIGN(auto all, writers(frozen.request));
    erase_known(all, frozen);
    if (all.empty()) return {};
    if (frozen.request.kind == FreezeKind::watch)
      return fail(Code::busy, "a running container has one of the volumes mounted read-write");
    std::vector<HeldContainer> more;
    for (const auto& container : all) FERRY_TRY(note(frozen, container, more));
    frozen.containers.insert(frozen.containers.end(), more.begin(), more.end());
    if (auto stored = store(id, frozen); !stored) {
      frozen.containers.resize(frozen.containers.size() - more.size());  // nothing has happened to them
      return stored;
    }
    {
      const std::lock_guard guard(mutex_);
      frozen_.at(id).containers = frozen.containers;
    }
    const auto held = at_once(more, [&](const HeldContainer& container) { return hold(frozen, container); });
    frozen.is_in_doubt = frozen.request.kind == FreezeKind::pause && !held &&
                         (held.error().code == Code::unavailable || held.error().code == Code::cancelled);
    FERRY_TRY(held);
  }
  return fail(Code::busy, "other containers begin to write to the volumes all the time");
}

void Freezes::erase_known(Names& containers, const Frozen& frozen) {
  std::erase_if(containers, [&](const std::string& container) {
    return std::find(frozen.paused.begin(), frozen.paused.end(), container) != frozen.paused.end() ||
           std::any_of(frozen.containers.begin(), frozen.containers.end(),
                       [&](const HeldContainer& held) { return held.id == container; });
  });
}

/// The IDs of running containers that may write to one of them. What only events tell of is looked at again until the
/// Engine lists it, too, or it has ended.
Result<Freezes::Names> Freezes::writers(const FreezeRequest& request) const {
  const auto find = [&](const std::vector<engine::ContainerMount>& mounts, const std::string& volume, Names& into) {
    for (const auto& mount : mounts)
      if (mount.running && mount.rw && mount.volume == volume &&
          std::find(into.begin(), into.end(), mount.container_id) == into.end())
        into.push_back(mount.container_id);
  };
  const Deadline deadline = after(certainty_time);
  while (true) {
    FERRY_ASSIGN(const auto mounts, parts_.client.container_mounts());
    if (!parts_.tracker.connected())
      return fail(Code::unavailable, "what happens to that host's containers is not told by its Engine yet");
    Names listed, told;
    for (const auto& volume : request.volumes) find(mounts, volume, listed);
    for (const auto& volume : request.volumes) find(parts_.tracker.facts(volume).mounts, volume, told);
    const bool agree = std::all_of(told.begin(), told.end(), [&](const std::string& id) {
      return std::find(listed.begin(), listed.end(), id) != listed.end();
    });
    if (agree) return listed;
    if (SteadyClock::now() > deadline)
      return fail(Code::busy, "the Engine does not tell yet who has the volumes mounted");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

/// One that has ended meanwhile writes no more.
Result<> Freezes::note(Frozen& frozen, const std::string& container, std::vector<HeldContainer>& into) const {
  auto claim = parts_.holds.claim(container, frozen.beginning.get());
  if (!claim && claim.error().code == Code::not_found) return {};
  FERRY_TRY(claim);
  const auto now = containers_.container(container, frozen.beginning.get());
  if (!now && now.error().code == Code::not_found) return {};
  FERRY_TRY(now);
  if (!now->running && !now->restarting) return {};
  frozen.claims.push_back(std::move(*claim));
  if (frozen.request.kind == FreezeKind::stop) {
    FERRY_TRY(check_stop(*now, frozen.request.longest));
    FERRY_ASSIGN(auto held, parts_.holds.note(container, frozen.beginning.get()));
    into.push_back(std::move(held));
    return {};
  }
  if (now->restarting)
    return fail(Code::busy, "container " + now->name + " is restarting; see to it that it runs, or stop it");
  if (now->paused)
    frozen.paused.push_back(now->id);
  else
    into.push_back({now->id, now->name, nullptr, true, now->started});
  return {};
}

/// Each may take its time.
Result<> Freezes::at_once(std::span<const HeldContainer> containers, const Change& change) {
  std::vector<std::future<Result<>>> changes;
  for (const auto& container : containers)
    changes.push_back(std::async(std::launch::async, [&] { return change(container); }));
  Result<> all;
  for (auto& one : changes)
    if (auto done = one.get(); !done && all) all = done;
  return all;
}

Result<> Freezes::hold(Frozen& frozen, const HeldContainer& container) const {
  if (frozen.request.kind == FreezeKind::stop) {
    bool asked = false;
    auto held = parts_.holds.hold(container, frozen.beginning.get(), &asked);
    const std::lock_guard guard(mutex_);  // others of this freeze are held beside it
    if (!held && asked) frozen.stopping.push_back(container.id);
    return held;
  }
  const auto left = std::max(left_until(frozen.end), std::chrono::milliseconds(1));
  return containers_.pause(container.id, left, frozen.beginning.get());
}

Result<> Freezes::store(const std::string& id, const Frozen& frozen) const {
  json stored = {{"kind", to_string(frozen.request.kind)}, {"containers", json::array()}};
  for (const auto& container : frozen.containers) stored["containers"].push_back(to_json(container));
  FERRY_TRY(make_directories(parts_.layout.frozen()));
  return write_file_atomically(path_of(id), stored.dump());
}

Result<> Freezes::beat(const std::string& id) {
  const std::lock_guard guard(mutex_);
  const auto known = frozen_.find(id);
  if (known == frozen_.end() || known->second.stand == Stand::ends)
    return fail(Code::not_found, "that freeze has ended");
  known->second.silence = after(parts_.longest_silence);
  return {};
}

Freezes::Held Freezes::holds(const std::string& id, const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  const auto known = frozen_.find(id);
  if (known == frozen_.end() || known->second.stand != Stand::lasts) return Held::ended;
  const auto& volumes = known->second.request.volumes;
  if (std::find(volumes.begin(), volumes.end(), volume) == volumes.end()) return Held::ended;
  return known->second.is_idle() ? Held::idle : Held::still;
}

Result<bool> Freezes::thaw(const std::string& id) {
  {
    const std::lock_guard guard(mutex_);
    const auto known = frozen_.find(id);
    ended_.push_back(id);
    if (ended_.size() > most_ended) ended_.pop_front();
    if (known == frozen_.end()) return false;
    if (known->second.stand == Stand::begins) known->second.silence = SteadyClock::now();  // so it is ended
  }
  const auto busy = ids_.lock(id);
  return end(id, true);
}

/// With its ID locked. What has ended once is not a freeze any more, whatever keeps its containers from running.
/// `asks`: somebody wants to know whether it has lasted.
Result<bool> Freezes::end(const std::string& id, bool asks) {
  Frozen frozen;
  {
    const std::lock_guard guard(mutex_);
    const auto known = frozen_.find(id);
    if (known == frozen_.end()) return false;
    frozen = known->second;
    known->second.stand = Stand::ends;
    known->second.pause = std::min(std::max(known->second.pause * 2, parts_.look), longest_pause);
    known->second.silence = after(known->second.pause);  // then it is tried again
  }
  const bool lasted = asks && frozen.stand == Stand::lasts && is_untouched(frozen).value_or(false);
  FERRY_TRY(at_once(frozen.containers, [&](const HeldContainer& container) { return release(frozen, container); }));
  if (is_in_doubt(id)) return false;  // it is looked at again
  FERRY_TRY(remove_tree(path_of(id)));
  const std::lock_guard guard(mutex_);
  frozen_.erase(id);
  return lasted;
}

/// What somebody has removed needs no more.
Result<> Freezes::release(const Frozen& frozen, const HeldContainer& container) {
  if (frozen.request.kind == FreezeKind::pause) {
    auto running = containers_.unpause(container.id, &ending_);
    return running || running.error().code == Code::not_found ? Result<>() : running;
  }
  const auto& stopping = frozen.stopping;
  if (std::find(stopping.begin(), stopping.end(), container.id) != stopping.end())
    FERRY_TRY(parts_.holds.finish(container, &ending_));
  return parts_.holds.release(container, &ending_);
}

/// Everything runs. But an Engine that was asked to pause it and has not answered, because it hangs perhaps, does it
/// when it goes on, as it does what it was asked later, and in any order.
bool Freezes::is_in_doubt(const std::string& id) {
  const std::lock_guard guard(mutex_);
  auto& frozen = frozen_.at(id);
  if (!frozen.is_in_doubt || stopping_) return false;
  if (!frozen.no_doubt) frozen.no_doubt = after(parts_.doubt);
  return SteadyClock::now() < *frozen.no_doubt;
}

/// With its ID locked.
void Freezes::try_to_end(const std::string& id) {
  if (auto ended = end(id, false); !ended) note_trouble(id, ended.error().message);
}

void Freezes::end_beside(const std::string& id) {
  std::erase_if(enders_, [](const auto& ender) {
    return ender.second.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  if (enders_.contains(id)) return;
  enders_.emplace(id, std::async(std::launch::async, [this, id] {
                    const auto busy = ids_.lock(id);
                    try_to_end(id);
                  }));
}

void Freezes::note_trouble(const std::string& id, const std::string& text) {
  const std::lock_guard guard(mutex_);
  const auto known = frozen_.find(id);
  if (known == frozen_.end() || known->second.trouble == text) return;
  spdlog::error("freeze {}: what stands still cannot go on yet: {}; tried again", id, text);
  known->second.trouble = text;
}

/// Whether they have stood still all the time, and nobody else has begun to write.
Result<bool> Freezes::is_untouched(const Frozen& frozen) const {
  for (const auto& container : frozen.containers) {
    if (frozen.request.kind == FreezeKind::stop) {
      FERRY_ASSIGN(const bool held, parts_.holds.is_held(container));
      if (!held) return false;
      continue;
    }
    FERRY_ASSIGN(const auto now, containers_.container(container.id));
    if (!now.paused || now.started != container.started) return false;
  }
  for (const auto& id : frozen.paused) {
    FERRY_ASSIGN(const auto now, containers_.container(id));
    if (!now.paused) return false;
  }
  FERRY_ASSIGN(auto all, writers(frozen.request));
  erase_known(all, frozen);
  if (!all.empty()) return false;
  return std::all_of(frozen.request.volumes.begin(), frozen.request.volumes.end(), [&](const std::string& volume) {
    return parts_.tracker.mount_rw_began_since(volume, frozen.mark, frozen.since_ns) == engine::Mounted::no;
  });
}

void Freezes::look() {
  Names over;
  std::vector<std::shared_ptr<engine::Interrupt>> beginning;
  {
    const std::lock_guard guard(mutex_);
    const auto now = SteadyClock::now();
    for (const auto& [id, frozen] : frozen_) {
      const bool is_over = now >= frozen.silence || (now >= frozen.end && frozen.stand != Stand::ends);
      if (is_over && frozen.stand == Stand::begins) beginning.push_back(frozen.beginning);
      if (!is_over || frozen.stand == Stand::begins) continue;
      over.push_back(id);
      if (frozen.stand == Stand::lasts)
        spdlog::warn("freeze {} ends: nothing was heard of who wanted it, or it has lasted too long", id);
    }
  }
  for (const auto& one : beginning) one->trip();  // whoever has called freeze() ends it
  for (const auto& id : over) end_beside(id);
}

}  // namespace ferry::migration
