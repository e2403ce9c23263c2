#include "peer/offer.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "peer/messages.h"

namespace ferry::peer {

namespace {

/// Three for questions (migration/tickets.cpp), one for the heartbeat of a service, or of a freeze, and one to end
/// that, two for content, and one that is about to be taken.
constexpr int links = 8;
constexpr std::chrono::milliseconds turn_time{5000};
constexpr std::chrono::milliseconds message_time{60'000};
constexpr std::chrono::milliseconds first_pause{1000};
constexpr std::chrono::milliseconds longest_pause{30'000};
constexpr int ok_status = 200;

}  // namespace

Offer::Offer(std::shared_ptr<transport::Transport> transport, const std::string& id, const migration::Sources& sources,
             std::string uuid, Offered offered)
    : transport_(std::move(transport)),
      path_(std::string(path_prefix) + "/exports/" + id + "/links"),
      server_(sources, std::move(uuid), {Permission::read, Permission::freeze, Permission::containers}),
      http_([](int) { return nullptr; }, {links, "", message_time}) {
  server_.restrict_to(std::move(offered.volumes), transport_->peer(), std::move(offered.staying));
  if (offered.hand_offs != nullptr) server_.hand_over(*offered.hand_offs, transport_->address(), id);
  if (offered.services != nullptr) server_.show_service(*offered.services, offered.container, offered.container_id);
  if (offered.freezes != nullptr) server_.let_freeze(*offered.freezes, std::move(offered.freeze));
  if (offered.departures != nullptr) server_.let_depart(*offered.departures);
  server_.add_routes(http_);
}

Offer::~Offer() {
  stop();
  for (auto& thread : threads_) thread.join();
}

Result<> Offer::start() {
  const std::lock_guard starting(stopping_mutex_);
  {
    const std::lock_guard guard(mutex_);
    if (stopping_) return {};
  }
  FERRY_TRY(http_.serve_nothing());
  for (int i = 0; i < links; ++i) threads_.emplace_back([this] { keep_link(); });
  return {};
}

void Offer::stop() {
  const std::lock_guard one_at_a_time(stopping_mutex_);
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  std::thread packing(
      [this] { server_.stop_packing(); });  // what is packed may wait for a connection, and the other way
  http_.stop_serving(std::chrono::milliseconds(0));
  packing.join();
}

std::string Offer::trouble() const {
  const std::lock_guard guard(mutex_);
  return open_links_ == 0 ? trouble_ : std::string();
}

/// False if it is to end.
bool Offer::pause(std::chrono::milliseconds duration) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, duration, [this] { return stopping_; });
}

void Offer::note(const Result<transport::Link>& link) {
  const std::lock_guard guard(mutex_);
  if (link) {
    ++open_links_;
    trouble_.clear();
    return;
  }
  if (trouble_ != link.error().message) spdlog::info("no link for {}: {}", path_, link.error().message);
  trouble_ = link.error().message;
}

/// A link that is closed without a question is as useless as one that cannot be made.
void Offer::keep_link() {
  auto interval = first_pause;
  bool wanted = pause(std::chrono::milliseconds(0));
  while (wanted) {
    auto link = turn_link();
    note(link);
    bool useful = false;
    if (link) {
      useful = http_.attend(std::move(*link));
      const std::lock_guard guard(mutex_);
      --open_links_;
    }
    wanted = pause(useful ? std::chrono::milliseconds(0) : interval);
    interval = useful ? first_pause : std::min(interval * 2, longest_pause);
  }
}

Result<transport::Link> Offer::turn_link() {
  const Deadline deadline = after(turn_time);
  FERRY_ASSIGN(const auto client, transport_->connect(turn_time));
  client->set_deadline(deadline);
  const auto answer = client->Post(path_, "", bytes_type);
  if (!answer) return tl::unexpected(transport_->explain(answer.error()));
  if (answer->status != ok_status)
    return tl::unexpected(decode_error(answer->status, answer->body, transport_->peer()));
  return client->release();
}

}  // namespace ferry::peer
