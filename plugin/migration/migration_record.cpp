#include "migration/migration_record.h"

#include "base/random.h"

namespace ferry::migration {

nlohmann::json new_migration_status(const char* role, const std::string& peer) {
  return {{"id", random_uuid()},
          {"role", role},
          {"peer", peer},
          {"dirty_bytes", nullptr},
          {"predicted_downtime_ms", nullptr},
          {"downtime_ms", nullptr},
          {"started", now_rfc3339()},
          {"finished", nullptr},
          {"verified", false},
          {"consistency", nullptr},
          {"digest", nullptr},
          {"warnings", nlohmann::json::array()}};
}

nlohmann::json stored_status(const volumes::Catalogue& catalogue, const std::string& name, const char* member) {
  const auto record = catalogue.find(name);
  const bool has_one = record && record->migration.is_object() && record->migration.contains(member);
  return has_one ? record->migration : nlohmann::json(nullptr);
}

std::uint64_t rate_since(SteadyClock::time_point begin, std::uint64_t bytes) {
  constexpr double least_time = 0.1;
  const double elapsed = std::chrono::duration<double>(SteadyClock::now() - begin).count();
  if (begin == SteadyClock::time_point{} || elapsed < least_time) return 0;
  return static_cast<std::uint64_t>(static_cast<double>(bytes) / elapsed);
}

nlohmann::json eta_of(std::uint64_t done, std::uint64_t total, std::uint64_t rate) {
  if (rate == 0 || done > total) return nullptr;
  return (total - done) / rate;
}

volumes::VolumeRecord new_ticket(const std::string& name, nlohmann::json import, nlohmann::json status) {
  volumes::VolumeRecord record;
  record.name = name;
  record.kind = volumes::Kind::ticket;
  record.created = now_rfc3339();
  record.state = volumes::State::importing;
  record.import = std::move(import);
  record.migration = std::move(status);
  return record;
}

}  // namespace ferry::migration
