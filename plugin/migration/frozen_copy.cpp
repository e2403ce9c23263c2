#include "migration/frozen_copy.h"

#include <algorithm>

#include "base/log.h"
#include "base/time.h"
#include "migration/freeze_client.h"

namespace ferry::migration {

namespace {

using std::chrono::milliseconds;

constexpr unsigned most_freezes = 3;
constexpr milliseconds longest_retry{30'000};

/// The source has no Docker Engine, or its ALLOW forbids it.
bool cannot_hold(const Error& error) { return error.code == Code::unsupported || error.code == Code::denied; }

milliseconds since(SteadyClock::time_point began) {
  return std::chrono::duration_cast<milliseconds>(SteadyClock::now() - began);
}

}  // namespace

FreezeRequest freeze_request(const Terms& terms, std::vector<std::string> volumes) {
  return {std::move(volumes), terms.freeze == Freeze::stop ? FreezeKind::stop : FreezeKind::pause,
          std::chrono::milliseconds(terms.max_freeze_ms)};
}

Result<> FrozenCopy::run() {
  if (is_group()) {
    FERRY_ASSIGN(const bool watched, read_frozen(FreezeKind::watch));
    if (watched) return {};
  }
  FERRY_ASSIGN(bool idle, read_live());
  if (idle) return {};
  milliseconds retry = parts_.retry;
  for (unsigned freezes = 0;;) {
    const auto began = SteadyClock::now();
    const auto lasted = read_frozen(request_.kind);
    set_trouble(lasted ? "" : lasted.error().message);
    if (lasted && *lasted) return {};
    if (!lasted && cannot_hold(lasted.error())) return read_unheld(lasted.error());
    if (!lasted && lasted.error().code != Code::unavailable) return tl::unexpected(lasted.error());
    // One whose beginning took all the time there is may have held them, too, though no answer came.
    if (lasted || since(began) >= request_.longest) ++freezes;
    if (freezes == most_freezes)
      return fail(Code::busy, "what writes to the source was held " + std::to_string(freezes) +
                                  " times, and each time not until everything was read; it goes on as ever. Try again, "
                                  "with a larger max-freeze perhaps");
    spdlog::warn("what writes to the source did not stand still until everything was read{}; once more",
                 lasted ? "" : ": " + lasted.error().message);
    if (!lasted) {
      if (!pause(retry)) return fail(Code::cancelled, "cancelled");
      retry = std::min(retry * 2, longest_retry);
    }
    const auto reading = SteadyClock::now();
    FERRY_ASSIGN(idle, read_round());
    if (idle) return {};
    if (lasted) FERRY_TRY(check_time(since(reading)));
  }
}

/// Before they are held once more, it has to be of use.
Result<> FrozenCopy::check_time(milliseconds last) const {
  if (last > request_.longest)
    return fail(Code::busy, "the last round would take some " + std::to_string(last.count()) +
                                " ms, and what writes to the source may be held for " +
                                std::to_string(request_.longest.count()) +
                                " ms (option max-freeze): it was, but not until everything was read, and goes on as "
                                "ever. Use a larger max-freeze");
  const std::lock_guard guard(mutex_);
  return rounds_.check("what writes to the source goes on as ever");
}

/// Whether nobody wrote.
Result<bool> FrozenCopy::read_live() {
  while (true) {
    FERRY_ASSIGN(const bool idle, read_round());
    if (idle) return true;
    const std::lock_guard guard(mutex_);
    if (rounds_.another()) continue;
    FERRY_TRY(rounds_.check("what writes to the source was not held"));
    return false;
  }
}

Result<bool> FrozenCopy::read_round() {
  const auto began = SteadyClock::now();
  FERRY_ASSIGN(const Read read, parts_.read(Freeze::none, ""));
  const std::lock_guard guard(mutex_);
  rounds_.note(read.bytes_sent, since(began), read.idle ? Rounds::Writes::none : Rounds::Writes::go_on);
  return read.idle;
}

/// Whether it has lasted until all was read; one of FreezeKind::watch may not even have begun, and one that has begun
/// may not have held everything.
Result<bool> FrozenCopy::read_frozen(FreezeKind kind) {
  FreezeRequest request = request_;
  request.kind = kind;
  const auto freeze = std::make_shared<FreezeClient>(
      FreezeClient::Parts{parts_.another_peer, parts_.beat, parts_.give_up}, std::move(request));
  {
    const std::lock_guard guard(mutex_);
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    freeze_ = freeze;
  }
  const auto began = SteadyClock::now();
  const auto begun = freeze->begin();
  const auto reading = SteadyClock::now();
  const auto read = begun ? parts_.read(Freeze::refuse, freeze->id()) : Result<Read>();
  const auto took = since(reading);
  const bool lasted = freeze->end();
  const std::lock_guard guard(mutex_);
  freeze_.reset();
  const bool held = begun.value_or(false);
  if (held) downtime_ms_ = since(began).count();
  if (cancelled_) return fail(Code::cancelled, "cancelled");
  if (kind == FreezeKind::watch) unwatched_ = begun ? std::nullopt : std::optional(begun.error());
  if (!begun && (kind == FreezeKind::watch || begun.error().code == Code::io)) {
    spdlog::info("the freeze {} has not begun: {}", freeze->id(), begun.error().message);
    return false;
  }
  if (!begun) return tl::unexpected(begun.error());
  // What has ended too early cannot be opened any more, or is given up.
  const bool may_be_of_it = !read && (read.error().code == Code::busy || read.error().code == Code::cancelled);
  if (!read && (lasted || !may_be_of_it)) return tl::unexpected(read.error());
  if (read && lasted) rounds_.note(read->bytes_sent, took, held ? Rounds::Writes::held : Rounds::Writes::none);
  return read && lasted;
}

/// As of a volume that nobody writes to, as far as the source knows; it says so if somebody does. Of several, that has
/// to be so of all at once, unless there is nobody who could tell.
Result<> FrozenCopy::read_unheld(const Error& why) {
  if (is_group()) {
    FERRY_ASSIGN(const bool watched, read_frozen(FreezeKind::watch));
    if (watched) return {};
    if (!unwatched_ || unwatched_->code != Code::unsupported)
      return fail(Code::busy,
                  (unwatched_ ? unwatched_->message : "somebody has written to one of the volumes meanwhile") + "; " +
                      why.message);
  }
  const auto began = SteadyClock::now();
  const auto read = parts_.read(Freeze::refuse, "");
  if (!read && read.error().code == Code::busy) return fail(Code::busy, read.error().message + "; " + why.message);
  FERRY_TRY(read);
  const std::lock_guard guard(mutex_);
  rounds_.note(read->bytes_sent, since(began), Rounds::Writes::none);
  return {};
}

void FrozenCopy::set_trouble(const std::string& text) {
  const std::lock_guard guard(mutex_);
  trouble_ = text;
}

/// False if it is to end.
bool FrozenCopy::pause(milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return cancelled_; });
}

void FrozenCopy::cancel() {
  const std::lock_guard guard(mutex_);
  cancelled_ = true;
  if (freeze_) freeze_->cancel();
  changed_.notify_all();
}

nlohmann::json FrozenCopy::status() const {
  const std::lock_guard guard(mutex_);
  auto status = rounds_.status();
  status["downtime_ms"] = downtime_ms_;
  if (!trouble_.empty()) status["error"] = trouble_;
  return status;
}

}  // namespace ferry::migration
