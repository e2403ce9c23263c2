#include "peer/turns.h"

namespace ferry::peer {

Turns::Turn Turns::walk(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [this] { return walkers_ == 0 && readers_ == 0; })) return nullptr;
  ++walkers_;
  return {&walkers_, [this](int* users) { end(*users); }};
}

Turns::Turn Turns::read(Deadline deadline) {
  std::unique_lock lock(mutex_);
  if (!changed_.wait_until(lock, deadline, [this] { return walkers_ == 0; })) return nullptr;
  ++readers_;
  return {&readers_, [this](int* users) { end(*users); }};
}

void Turns::end(int& users) {
  const std::lock_guard guard(mutex_);
  --users;
  changed_.notify_all();
}

}  // namespace ferry::peer
