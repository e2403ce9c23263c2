#include "volumes/marker_keeper.h"

#include "base/log.h"

namespace ferry::volumes {

Result<> MarkerKeeper::update() {
  const std::lock_guard guard(mutex_);
  return update_locked();
}

Result<> MarkerKeeper::remove(const std::function<Result<>()>& remove) {
  const std::lock_guard guard(mutex_);
  if (catalogue_.size() <= 1) FERRY_TRY(take_away());
  auto removed = remove();
  if (auto updated = update_locked(); !updated) spdlog::error("{}", updated.error().message);
  return removed;
}

Result<> MarkerKeeper::take_away() {
  FERRY_TRY(remove_marker(propagated_));
  written_ = false;
  return {};
}

Result<> MarkerKeeper::update_locked() {
  if (catalogue_.size() == 0) return take_away();
  if (written_) return {};
  FERRY_ASSIGN(const auto old, read_marker(propagated_));
  if (old && source_.empty()) source_ = old->source;
  written_ = old && old->catalogue == catalogue_.uuid() && old->source == source_;
  return written_ ? Result<>() : write();  // a full disk must not matter to what is there already
}

Result<> MarkerKeeper::set_source(const std::string& source) {
  const std::lock_guard guard(mutex_);
  if (source == source_) return {};
  source_ = source;
  return written_ ? write() : Result<>();
}

Result<> MarkerKeeper::write() {
  FERRY_TRY(write_marker(propagated_, {catalogue_.uuid(), source_}));
  written_ = true;
  return {};
}

}  // namespace ferry::volumes
