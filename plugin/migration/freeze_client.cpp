#include "migration/freeze_client.h"

#include <utility>

#include "base/log.h"
#include "base/random.h"

namespace ferry::migration {

namespace {

constexpr std::chrono::milliseconds margin{5000};  // beside what the source may take
constexpr std::chrono::milliseconds beat_time{2000};
constexpr std::chrono::milliseconds connect_time{10'000};
constexpr std::chrono::milliseconds end_time{10'000};

}  // namespace

FreezeClient::FreezeClient(Parts parts, FreezeRequest request)
    : parts_(std::move(parts)), request_(std::move(request)), id_(random_hex(16)) {}

FreezeClient::~FreezeClient() { (void)end(); }

/// The source wants to hear of it also while it begins.
Result<bool> FreezeClient::begin() {
  {
    const std::lock_guard guard(mutex_);
    if (cancelled_) return fail(Code::cancelled, "cancelled");
    peer_ = parts_.another_peer();
    beat_peer_ = parts_.another_peer();
  }
  // Connected before it counts: through ssh that may take longer than a beat, and than the source waits for one.
  (void)beat_peer_->freeze(id_, FreezeStep::beat, request_, connect_time);
  asked_ = true;  // whether or not the answer comes
  beating_ = std::make_unique<Periodic>(parts_.beat, [this] { beat(); });
  FERRY_ASSIGN(const bool held, peer_->freeze(id_, FreezeStep::begin, request_, request_.longest + margin));
  begun_ = true;
  return held;
}

/// A source that does not answer ends it by itself, and says so once it can be asked again.
void FreezeClient::beat() {
  if (lost_) return;
  const bool has_begun = begun_;  // else it may not have heard of it yet
  const auto answer = beat_peer_->freeze(id_, FreezeStep::beat, request_, beat_time);
  if (answer || answer.error().code != Code::not_found || !has_begun) return;
  lost_ = true;
  spdlog::warn("the freeze {} has ended at its source before everything was read", id_);
  if (parts_.lost) parts_.lost();
}

bool FreezeClient::end() {
  if (!asked_) return false;
  asked_ = false;
  cancel();  // a beat that is under way
  beating_.reset();
  const auto lasted = parts_.another_peer()->freeze(id_, FreezeStep::end, request_, end_time);
  if (!lasted) spdlog::warn("the freeze {} is not ended yet, and ends by itself: {}", id_, lasted.error().message);
  return lasted.value_or(false) && !lost_;
}

void FreezeClient::cancel() {
  const std::lock_guard guard(mutex_);
  cancelled_ = true;
  for (const auto& peer : {peer_, beat_peer_})
    if (peer) peer->abort();
}

}  // namespace ferry::migration
