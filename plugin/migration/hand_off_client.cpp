#include "migration/hand_off_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/log.h"

namespace ferry::migration {

namespace {

using hand_off::Answer;
using hand_off::Event;
using hand_off::Request;

constexpr std::chrono::milliseconds ask_time{10'000};
constexpr std::chrono::milliseconds withdraw_time{4000};

/// None of a refusal, after which nothing is known.
std::optional<Event> event_of(Answer answer) {
  switch (answer) {
    case Answer::held: return Event::held;
    case Answer::given: return Event::given;
    case Answer::gone: return Event::gone;
    case Answer::reclaimed: return Event::reclaimed;
    case Answer::refused: break;
  }
  return std::nullopt;
}

}  // namespace

HandOffClient::HandOffClient(Subject subject, std::shared_ptr<Peer> source, hand_off::Destination stands,
                             const std::atomic<bool>& cancelled, Trouble& trouble)
    : subject_(std::move(subject)),
      source_(std::move(source)),
      cancelled_(cancelled),
      trouble_(trouble),
      stands_(stands) {}

Result<Answer> HandOffClient::ask(Peer& source, Request request, std::chrono::milliseconds timeout) const {
  return source.hand_off(id(), request, subject_.request, timeout);
}

std::string HandOffClient::id() const {
  const std::lock_guard guard(mutex_);
  return subject_.id;
}

void HandOffClient::begin_again(const std::string& id) {
  const std::lock_guard guard(mutex_);
  subject_.request.after = std::exchange(subject_.id, id);
  stands_ = hand_off::Destination::asking;
}

void HandOffClient::ask_once(std::chrono::milliseconds timeout) {
  const auto asks = hand_off::asks(stands_);
  if (!asks.any) return;
  if (const auto answer = ask(*source_, asks.request, timeout)) advance(*answer);
}

void HandOffClient::advance(Answer answer) {
  if (answer == Answer::reclaimed) reclaimed_ = true;
  if (const auto event = event_of(answer)) advance(*event);
}

Result<> HandOffClient::ask_until_answered() {
  const auto before = stands_.load();
  if (!hand_off::asks(before).any) return {};
  const auto by_force = hand_off::step(before, Event::force);
  const auto is_forced = [&] { return forced_ && by_force != before; };
  while (stands_ == before) {
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    if (is_forced()) {
      stands_ = by_force;
      break;
    }
    const auto answer = ask(*source_, hand_off::asks(before).request, ask_time);
    // Nobody can fence volumes of the local driver, so nothing else ends the source's hold of them.
    if (answer == Answer::held && forced_ && !has_fenceable()) (void)ask(*source_, Request::release, ask_time);
    const bool final = !answer && answer.error().code != Code::unavailable;
    if (final && before == hand_off::Destination::asking) return tl::unexpected(answer.error());
    if (answer) advance(*answer);
    if (stands_ != before) break;
    const std::string why = answer ? "the source still holds the volumes" : answer.error().message;
    if (trouble_.set(why)) spdlog::warn("ticket {} waits: {}", subject_.ticket, why);
    trouble_.wait(subject_.question, [&] { return cancelled_ || is_forced(); });
  }
  trouble_.clear();
  return {};
}

bool HandOffClient::has_fenceable() const {
  return std::any_of(subject_.request.volumes.begin(), subject_.request.volumes.end(),
                     [](const HandOffRequest::Volume& volume) { return !volume.local; });
}

void HandOffClient::take_by_force() {
  forced_ = true;
  trouble_.wake();
}

Result<bool> HandOffClient::withdraw(Peer& source) {
  if (stands_ == hand_off::Destination::owner) return false;
  advance(Event::cancel);
  const bool only_source_knows = stands_ == hand_off::Destination::withdrawing;
  const auto answer = ask(source, Request::release, withdraw_time);
  if (answer) advance(*answer);
  if (stands_ == hand_off::Destination::owner) return false;
  if (only_source_knows && stands_ != hand_off::Destination::over)
    return fail(Code::busy, "ticket " + subject_.ticket + " has everything, and only " + subject_.source +
                                " knows whether that was handed off already; try again when it can be reached" +
                                (answer ? "" : ": " + answer.error().message));
  return true;
}

void HandOffClient::drop() {
  if (id().empty() || (stands_ != hand_off::Destination::asking && stands_ != hand_off::Destination::receiving)) return;
  advance(Event::cancel);
  if (auto told = ask(*source_, Request::release, withdraw_time); !told)
    spdlog::warn("ticket {}: the source still holds its volumes: {}", subject_.ticket, told.error().message);
}

void HandOffClient::confirm(Peer& source) {
  if (auto told = ask(source, Request::acknowledge, withdraw_time); !told)
    spdlog::warn("ticket {} is removed before the source was told that the volumes have come: {}", subject_.ticket,
                 told.error().message);
}

}  // namespace ferry::migration
