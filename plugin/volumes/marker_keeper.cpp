#include "volumes/marker_keeper.h"

namespace ferry::volumes {

Result<> MarkerKeeper::update() {
  const std::lock_guard guard(mutex_);
  if (written_) return {};
  if (catalogue_.empty()) return remove_marker(propagated_);
  if (source_.empty()) {
    FERRY_ASSIGN(const auto old, read_marker(propagated_));
    if (old) source_ = old->source;
  }
  return write();
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
