#include "migration/frozen_copy.h"

#include "base/log.h"
#include "base/time.h"
#include "migration/freeze_client.h"

namespace ferry::migration {

namespace {

using std::chrono::milliseconds;

constexpr unsigned most_freezes = 3;

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
  if (request_.volumes.size() > 1) {
    FERRY_ASSIGN(const bool watched, read_frozen(FreezeKind::watch));
    if (watched) return {};
  }
  FERRY_ASSIGN(bool idle, read_live());
  if (idle) return {};
  for (unsigned freezes = 0; freezes < most_freezes;) {
    const auto began = SteadyClock::now();
    const auto lasted = read_frozen(request_.kind);
    if (lasted && *lasted) return {};
    if (!lasted && cannot_hold(lasted.error())) return read_unheld(lasted.error());
    if (!lasted && lasted.error().code != Code::unavailable) return tl::unexpected(lasted.error());
    // One whose beginning took all the time there is may have held them, too, though no answer came.
    if (lasted || since(began) >= request_.longest) ++freezes;
    spdlog::warn("what writes to the source did not stand still until everything was read{}; once more",
                 lasted ? "" : ": " + lasted.error().message);
    set_trouble(lasted ? "" : lasted.error().message);
    if (!lasted && !pause()) return fail(Code::cancelled, "cancelled");
    FERRY_ASSIGN(idle, read_round());
    if (idle) return {};
  }
  return fail(Code::busy,
              "what writes to the source was held " + std::to_string(most_freezes) +
                  " times, and each time not until everything was read; it goes on as ever. Try again, with "
                  "a larger max-freeze perhaps");
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

/// Whether it has lasted until all was read; one of FreezeKind::watch may not even have begun.
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
  if (!begun && kind == FreezeKind::watch) return false;
  if (!begun) return tl::unexpected(begun.error());
  // What has ended too early cannot be opened any more, or is given up.
  const bool may_be_of_it = !read && (read.error().code == Code::busy || read.error().code == Code::cancelled);
  if (!read && (lasted || !may_be_of_it)) return tl::unexpected(read.error());
  if (read && lasted) rounds_.note(read->bytes_sent, took, held ? Rounds::Writes::held : Rounds::Writes::none);
  return read && lasted;
}

/// As of a volume that nobody writes to, as far as the source knows; it says so if somebody does.
Result<> FrozenCopy::read_unheld(const Error& why) {
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
bool FrozenCopy::pause() {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, parts_.retry, [this] { return cancelled_; });
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
