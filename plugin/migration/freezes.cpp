#include "migration/freezes.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <system_error>
#include <thread>
#include <utility>

#include "base/files.h"
#include "base/log.h"
#include "engine/members.h"

namespace ferry::migration {

namespace {

using nlohmann::json;

constexpr unsigned most_looks = 3;  // for containers that begin to write meanwhile
constexpr std::ptrdiff_t most_freezes = 64;
constexpr std::ptrdiff_t most_watches = 1024;
constexpr std::size_t most_ended = 256;
constexpr std::chrono::milliseconds longest_pause{2000};
constexpr std::chrono::milliseconds answer_time{5000};
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

std::string Freezes::names_of(const Many& standing) {
  std::string names;
  for (const auto& one : standing) names += (names.empty() ? "" : ", ") + one.container.name;
  return names;
}

Freezes::Freezes(Parts parts) : parts_(parts), containers_(parts.client) { read(); }

std::filesystem::path Freezes::path_of(const std::string& id) const { return parts_.layout.frozen() / id; }

void Freezes::start() {
  looking_ = std::make_unique<Periodic>(parts_.look, [this] { look(); });
}

void Freezes::stop() {
  looking_.reset();
  std::vector<std::pair<std::string, std::shared_ptr<engine::Interrupt>>> all;
  std::vector<std::shared_future<void>> enders;
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
    for (auto& [id, frozen] : frozen_) all.emplace_back(id, frozen.beginning);
  }
  for (const auto& [id, beginning] : all) {
    if (beginning) beginning->trip();
    enders.push_back(end_beside(id));
  }
  const Deadline deadline = after(stop_time);
  for (const auto& ender : enders) (void)ender.wait_until(deadline);
  ending_.trip();
  for (const auto& ender : enders) ender.wait();
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
      frozen.request.kind = freeze_kind_of(stored.at("kind").get<std::string>()).value_or(FreezeKind::pause);
      for (const auto& container : stored.at("containers")) {
        Standing one{held_container_of(container), nullptr, true};
        if (auto claim = parts_.holds.claim(one.container)) one.claim = std::move(*claim);
        frozen.standing.push_back(std::move(one));
      }
      frozen.stand = Stand::ends;
      frozen.silence = frozen.end = SteadyClock::now();
      spdlog::warn("freeze {} was not ended by an earlier process: {} go on", id, names_of(frozen.standing));
      const std::lock_guard guard(mutex_);
      frozen_.emplace(id, std::move(frozen));
    } catch (const json::exception& problem) {
      spdlog::error("{} cannot be read, so what it says may be paused or stopped still; `docker ps -a` tells: {}",
                    file.path().string(), problem.what());
    }
  }
}

Result<> Freezes::check_room(FreezeKind kind) const {
  const bool is_watch = kind == FreezeKind::watch;
  const auto like_it = std::count_if(frozen_.begin(), frozen_.end(), [&](const auto& one) {
    return (one.second.request.kind == FreezeKind::watch) == is_watch;
  });
  if (like_it < (is_watch ? most_watches : most_freezes)) return {};
  return fail(Code::unavailable, "too many others have volumes of that host watched, or standing still, already");
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
    FERRY_TRY(check_room(request.kind));
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
  const bool ends_late = request.kind == FreezeKind::stop && std::any_of(frozen.standing.begin(), frozen.standing.end(),
                                                                         [](const auto& one) { return one.in_doubt; });
  if (!begun && !ends_late) try_to_end(id);
  const bool may_repeat = !begun && (begun.error().code == Code::unavailable || begun.error().code == Code::cancelled);
  if (may_repeat && !frozen.standing.empty())  // whoever repeats it has to know that this was felt
    return fail(Code::io, "what writes was held, and goes on: " + begun.error().message);
  FERRY_TRY(begun);
  if (!frozen.standing.empty()) spdlog::info("freeze {}: {} stand still", id, names_of(frozen.standing));
  return !frozen.is_idle();
}

/// Those that begin to write meanwhile are found by another look. All are noted, on disk, before the first one stands
/// still, so that what cannot is known by then.
Result<> Freezes::freeze_all(const std::string& id, Frozen& frozen) {
  for (unsigned looks = 0; looks < most_looks; ++looks) {
    frozen.mark = parts_.tracker.mark();
    frozen.since_ns = realtime_ns();
    FERRY_ASSIGN(auto all, writers(frozen.request, certainty_time));
    erase_known(all, frozen);
    if (all.empty()) return {};
    if (frozen.request.kind == FreezeKind::watch)
      return fail(Code::busy, "a running container has one of the volumes mounted read-write");
    Many standing = frozen.standing;
    for (const auto& container : all) FERRY_TRY(note(frozen, container, standing));
    FERRY_TRY(store(id, frozen.request.kind, standing));
    const std::size_t before = std::exchange(frozen.standing, std::move(standing)).size();
    const auto held =
        at_once(std::span(frozen.standing).subspan(before), [&](Standing& one) { return hold(frozen, one); });
    std::erase_if(frozen.standing, [](const Standing& one) { return one.needs_no_more; });
    FERRY_TRY(held);
  }
  return fail(Code::busy, "other containers begin to write to the volumes all the time");
}

void Freezes::erase_known(Names& containers, const Frozen& frozen) {
  std::erase_if(containers, [&](const std::string& container) {
    const auto is_it = [&](const Standing& one) { return one.container.id == container; };
    return std::any_of(frozen.paused.begin(), frozen.paused.end(), is_it) ||
           std::any_of(frozen.standing.begin(), frozen.standing.end(), is_it);
  });
}

/// The IDs of running containers that may write to one of them. What only events tell of is looked at again until the
/// Engine lists it, too, or it has ended.
Result<Freezes::Names> Freezes::writers(const FreezeRequest& request, std::chrono::milliseconds patience) const {
  const auto find = [&](const std::vector<engine::ContainerMount>& mounts, const std::string& volume, Names& into) {
    for (const auto& mount : mounts)
      if (mount.running && mount.rw && mount.volume == volume &&
          std::find(into.begin(), into.end(), mount.container_id) == into.end())
        into.push_back(mount.container_id);
  };
  const Deadline deadline = after(patience);
  while (true) {
    FERRY_ASSIGN(const auto mounts, parts_.client.container_mounts());
    if (!parts_.tracker.connected())
      return fail(Code::unavailable, "what happens to that host's containers is not told by its Engine yet");
    Names listed, told;
    for (const auto& volume : request.volumes) find(mounts, volume, listed);
    for (const auto& volume : request.volumes) find(parts_.tracker.facts(volume).mounts, volume, told);
    const auto unlisted = std::find_if(told.begin(), told.end(), [&](const std::string& id) {
      return std::find(listed.begin(), listed.end(), id) == listed.end();
    });
    if (unlisted == told.end()) return listed;
    if (SteadyClock::now() > deadline)
      return fail(Code::unavailable,
                  "container " + unlisted->substr(0, 12) +
                      " has one of the volumes mounted, and is being started or copied to, or ends, just now");
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

/// One that has ended meanwhile writes no more.
Result<> Freezes::note(Frozen& frozen, const std::string& container, Many& into) const {
  auto claim = parts_.holds.claim(container, frozen.beginning.get());
  if (!claim && claim.error().code == Code::not_found) return {};
  FERRY_TRY(claim);
  const auto now = containers_.container(container, frozen.beginning.get());
  if (!now && now.error().code == Code::not_found) return {};
  FERRY_TRY(now);
  if (!now->running && !now->restarting) return {};
  if (frozen.request.kind == FreezeKind::stop) {
    FERRY_TRY(check_stop(*now, frozen.request.longest));
    FERRY_ASSIGN(auto held, parts_.holds.note(container, frozen.beginning.get()));
    into.push_back({std::move(held), std::move(*claim)});
    return {};
  }
  if (now->restarting)
    return fail(Code::busy, "container " + now->name + " is restarting; see to it that it runs, or stop it");
  (now->paused ? frozen.paused : into)
      .push_back({{now->id, now->name, nullptr, true, now->started}, std::move(*claim)});
  return {};
}

/// Each may take its time.
Result<> Freezes::at_once(std::span<Standing> all, const Change& change) {
  std::vector<std::future<Result<>>> changes;
  for (auto& one : all) {
    const auto run = [&change, &one] { return change(one); };
    try {
      changes.push_back(std::async(std::launch::async, run));
    } catch (const std::system_error&) {  // there are too many threads
      changes.push_back(std::async(std::launch::deferred, run));
    }
  }
  Result<> first;
  for (auto& one : changes)
    if (auto done = one.get(); !done && first) first = done;
  return first;
}

Result<> Freezes::hold(const Frozen& frozen, Standing& one) const {
  if (frozen.request.kind == FreezeKind::pause) return hold_still(frozen, one);
  bool asked = false;
  auto held = parts_.holds.hold(one.container, frozen.beginning.get(), &asked);
  one.in_doubt = !held && asked;
  if (held && !asked) one.container.was_running = false;  // it has ended by itself, and is not to be run once more
  return held;
}

/// One that has ended meanwhile cannot be paused.
Result<> Freezes::hold_still(const Frozen& frozen, Standing& one) const {
  const auto left = std::max(left_until(frozen.end), std::chrono::milliseconds(1));
  auto held = containers_.pause(one.container.id, left, frozen.beginning.get());
  if (held) return held;
  const Code code = held.error().code;
  one.in_doubt = code == Code::unavailable || code == Code::cancelled;
  if (one.in_doubt) return held;
  const auto now = containers_.container(one.container.id, frozen.beginning.get());
  one.needs_no_more = now ? !now->running : now.error().code == Code::not_found;
  return one.needs_no_more ? Result<>() : held;
}

Result<> Freezes::store(const std::string& id, FreezeKind kind, const Many& standing) const {
  json stored = {{"kind", to_string(kind)}, {"containers", json::array()}};
  for (const auto& one : standing) stored["containers"].push_back(to_json(one.container));
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

/// What it has brought is not lost because something takes long to go on.
bool Freezes::thaw(const std::string& id) {
  {
    const std::lock_guard guard(mutex_);
    const auto known = frozen_.find(id);
    ended_.push_back(id);
    if (ended_.size() > most_ended) ended_.pop_front();
    if (known == frozen_.end()) return false;
    if (known->second.stand == Stand::begins) known->second.silence = SteadyClock::now();  // so it is ended
  }
  bool lasted = false;
  {
    const auto busy = ids_.lock(id);
    Frozen frozen;
    {
      const std::lock_guard guard(mutex_);
      const auto known = frozen_.find(id);
      if (known == frozen_.end()) return false;
      frozen = known->second;
      known->second.stand = Stand::ends;
      known->second.silence = SteadyClock::now();
    }
    lasted = frozen.stand == Stand::lasts && check_untouched(frozen);
  }
  (void)end_beside(id).wait_for(answer_time);
  return lasted;
}

/// With its ID locked. What has ended once is not a freeze any more, whatever keeps its containers from running. Those
/// that run are let go of one by one: what their user does to them then is not undone because another one does not run.
Result<> Freezes::end(const std::string& id) {
  Frozen frozen;
  {
    const std::lock_guard guard(mutex_);
    const auto known = frozen_.find(id);
    if (known == frozen_.end()) return {};
    frozen = known->second;
    known->second.stand = Stand::ends;
    known->second.pause = std::min(std::max(known->second.pause * 2, parts_.look), longest_pause);
    known->second.silence = after(known->second.pause);  // then it is tried again
  }
  const std::size_t before = frozen.standing.size();
  auto released = at_once(frozen.standing, [&](Standing& one) { return release(frozen.request.kind, one); });
  std::erase_if(frozen.standing, [](const Standing& one) { return one.needs_no_more; });
  if (frozen.standing.empty()) {
    FERRY_TRY(remove_tree(path_of(id)));
  } else if (frozen.standing.size() != before) {
    if (auto stored = store(id, frozen.request.kind, frozen.standing); !stored && released) released = stored;
  }
  const std::lock_guard guard(mutex_);
  if (frozen.standing.empty())
    frozen_.erase(id);
  else
    frozen_.at(id).standing = std::move(frozen.standing);
  return released;
}

/// What somebody has removed needs no more.
Result<> Freezes::release(FreezeKind kind, Standing& one) {
  if (kind == FreezeKind::pause) return let_go_on(one);
  if (one.in_doubt) FERRY_TRY(parts_.holds.finish(one.container, &ending_));
  one.in_doubt = false;
  FERRY_TRY(parts_.holds.release(one.container, &ending_));
  one.needs_no_more = true;
  return {};
}

/// An Engine that was asked to pause it and has not answered, because it hangs perhaps, does it when it goes on, as it
/// does what it was asked later, and in any order. So it is looked at until it has, or does not any more.
Result<> Freezes::let_go_on(Standing& one) {
  const auto now = containers_.container(one.container.id, &ending_);
  one.needs_no_more = now ? !now->running : now.error().code == Code::not_found;
  if (one.needs_no_more) return {};
  FERRY_TRY(now);
  if (now->paused && (one.in_doubt || now->started == one.container.started)) {
    auto running = containers_.unpause(one.container.id, &ending_);
    one.needs_no_more = running || running.error().code == Code::not_found;
    return one.needs_no_more ? Result<>() : running;
  }
  if (!one.no_doubt) one.no_doubt = after(parts_.doubt);
  one.needs_no_more = !one.in_doubt || SteadyClock::now() >= *one.no_doubt;
  return {};
}

/// With its ID locked.
void Freezes::try_to_end(const std::string& id) {
  if (auto ended = end(id); !ended) note_trouble(id, ended.error().message);
}

std::shared_future<void> Freezes::end_beside(const std::string& id) {
  const std::lock_guard guard(mutex_);
  std::erase_if(enders_, [](const auto& ender) {
    return ender.second.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  });
  auto& ender = enders_[id];
  if (!ender.valid())
    ender = std::async(std::launch::async, [this, id] {
              const auto busy = ids_.lock(id);
              try_to_end(id);
            }).share();
  return ender;
}

void Freezes::note_trouble(const std::string& id, const std::string& text) {
  const std::lock_guard guard(mutex_);
  const auto known = frozen_.find(id);
  if (known == frozen_.end() || known->second.trouble == text) return;
  spdlog::error("freeze {}: what stands still cannot go on yet: {}; tried again", id, text);
  known->second.trouble = text;
}

/// An error unless they have stood still all the time, and nobody else has begun to write. They still do meanwhile, so
/// it does not wait.
Result<> Freezes::check_untouched(Frozen& frozen) const {
  const auto was_touched = [] { return fail(Code::busy, "it has not lasted"); };
  for (const auto& volume : frozen.request.volumes)
    if (parts_.tracker.mount_rw_began_since(volume, frozen.mark, frozen.since_ns) != engine::Mounted::no)
      return was_touched();
  const auto check_paused = [&](Standing& one) -> Result<> {
    FERRY_ASSIGN(const auto now, containers_.container(one.container.id));
    return now.paused && now.started == one.container.started ? Result<>() : was_touched();
  };
  const auto check_stopped = [&](Standing& one) -> Result<> {
    FERRY_ASSIGN(const bool held, parts_.holds.is_held(one.container));
    return held ? Result<>() : was_touched();
  };
  const bool stopped = frozen.request.kind == FreezeKind::stop;
  FERRY_TRY(at_once(frozen.standing, stopped ? Change(check_stopped) : Change(check_paused)));
  FERRY_TRY(at_once(frozen.paused, check_paused));
  FERRY_ASSIGN(auto all, writers(frozen.request, std::chrono::milliseconds(0)));
  erase_known(all, frozen);
  return all.empty() ? Result<>() : was_touched();
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
