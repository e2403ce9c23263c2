#include "engine/interrupt.h"

#include <chrono>
#include <utility>

namespace ferry::engine {

namespace {

/// A call that has registered but not connected yet does not feel an abort, so it is repeated at this pace.
constexpr std::chrono::milliseconds repeat{10};

}  // namespace

void Interrupt::trip() {
  std::unique_lock lock(mutex_);
  tripped_ = true;
  while (!calls_.empty()) {
    for (const auto& abort : calls_) abort();
    left_.wait_for(lock, repeat);
  }
}

bool Interrupt::tripped() const {
  const std::lock_guard lock(mutex_);
  return tripped_;
}

Interrupt::Guard::Guard(Interrupt* interrupt, std::function<void()> abort) : interrupt_(interrupt) {
  if (!interrupt_) return;
  const std::lock_guard lock(interrupt_->mutex_);
  admitted_ = !interrupt_->tripped_;
  if (admitted_) entry_ = interrupt_->calls_.insert(interrupt_->calls_.end(), std::move(abort));
}

Interrupt::Guard::~Guard() {
  if (!interrupt_ || !admitted_) return;
  const std::lock_guard lock(interrupt_->mutex_);
  interrupt_->calls_.erase(entry_);
  interrupt_->left_.notify_all();
}

}  // namespace ferry::engine
