#include "peer/turned_links.h"

#include <sys/socket.h>

#include <algorithm>
#include <utility>

namespace ferry::peer {

namespace {

constexpr std::ptrdiff_t most_of_one = 8;
constexpr std::size_t most_waiting = 256;

/// As far as this host has heard.
bool is_alive(const transport::Link& link) {
  char byte = 0;
  const ssize_t got = ::recv(link.socket.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR));
}

class TurnedTransport final : public transport::Transport {
 public:
  TurnedTransport(TurnedLinks& links, transport::PeerAddress address) : links_(links), address_(std::move(address)) {}

  Result<transport::Link> open(std::chrono::milliseconds timeout) override {
    auto link = links_.take(address_.export_id, after(timeout));
    if (!link) return fail(link.error().code, peer() + ", which sends, " + link.error().message);
    return link;
  }

  transport::PeerAddress address() const override { return address_; }

 private:
  TurnedLinks& links_;
  const transport::PeerAddress address_;
};

}  // namespace

void TurnedLinks::add(const std::string& id, transport::Link link) {
  {
    const std::lock_guard guard(mutex_);
    if (stopped_) return;
    drop_dead();
    silent_.erase(id);
    waiting_.push_back({id, std::move(link)});
    drop_surplus(id);
  }
  changed_.notify_all();
}

void TurnedLinks::drop_dead() {
  std::erase_if(waiting_, [](const Waiting& one) { return !is_alive(one.link); });
}

void TurnedLinks::drop_surplus(const std::string& id) {
  const auto is_of_it = [&](const Waiting& one) { return one.id == id; };
  if (std::count_if(waiting_.begin(), waiting_.end(), is_of_it) > most_of_one)
    waiting_.erase(std::find_if(waiting_.begin(), waiting_.end(), is_of_it));
  if (waiting_.size() > most_waiting) waiting_.pop_front();
}

/// The youngest: what lies between the hosts may have forgotten an old one.
Result<transport::Link> TurnedLinks::take(const std::string& id, Deadline deadline) {
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    drop_dead();
    const auto found =
        std::find_if(waiting_.rbegin(), waiting_.rend(), [&](const Waiting& one) { return one.id == id; });
    if (found != waiting_.rend()) {
      transport::Link link = std::move(found->link);
      waiting_.erase(std::next(found).base());
      return link;
    }
    const auto since = silent_.try_emplace(id, SteadyClock::now()).first->second;
    if (SteadyClock::now() - since > longest_silence_) {
      silent_.erase(id);
      return fail(Code::not_found, "has not been heard of for a day");
    }
    if (changed_.wait_until(lock, deadline) == std::cv_status::timeout) break;
  }
  return fail(Code::unavailable, "is not connected");
}

void TurnedLinks::stop() {
  std::list<Waiting> closed;
  {
    const std::lock_guard guard(mutex_);
    stopped_ = true;
    closed.swap(waiting_);
  }
  changed_.notify_all();
}

std::unique_ptr<transport::Transport> make_turned_transport(TurnedLinks& links, transport::PeerAddress address) {
  return std::make_unique<TurnedTransport>(links, std::move(address));
}

}  // namespace ferry::peer
