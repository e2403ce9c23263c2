#include "migration/arrivals.h"

#include <algorithm>

#include "volumes/names.h"

namespace ferry::migration {

namespace {

/// A request that comes late was sent through a connection that is still there, so it comes before so many others.
constexpr std::size_t most_ended = 1000;

}  // namespace

std::string Arrivals::ticket_of(const std::string& id) { return std::string(volumes::arrival_prefix) + id; }

volumes::Catalogue::Snapshot Arrivals::find(const std::string& id) const {
  auto record = catalogue_.find(ticket_of(id));
  return record && record->kind == volumes::Kind::ticket ? record : nullptr;
}

bool Arrivals::has_ended(const std::string& id) const {
  const std::lock_guard guard(mutex_);
  return std::find(ended_.begin(), ended_.end(), id) != ended_.end();
}

Result<> Arrivals::begin(const std::string& id, const TicketRequest& request) {
  const auto guard = ids_.lock(id);
  if (find(id)) return {};
  if (has_ended(id)) return fail(Code::not_found, "the export was cancelled");
  return actions_.begin(ticket_of(id), request);
}

Result<nlohmann::json> Arrivals::status(const std::string& id) const {
  const auto record = find(id);
  if (!record) return fail(Code::not_found, "it has no such export (any more)");
  return actions_.status(*record);
}

Result<> Arrivals::end(const std::string& id) {
  const auto guard = ids_.lock(id);
  if (find(id)) FERRY_TRY(actions_.remove(ticket_of(id)));
  const std::lock_guard lock(mutex_);
  ended_.push_back(id);
  if (ended_.size() > most_ended) ended_.pop_front();
  return {};
}

}  // namespace ferry::migration
