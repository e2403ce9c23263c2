#include "migration/archive_exports.h"

#include "base/log.h"
#include "base/random.h"
#include "migration/migration_record.h"
#include "migration/ticket_kind.h"

namespace ferry::migration {

namespace {

/// The rest of the 5 s that a create may take is for describing the volume, and for removing what was tried.
constexpr std::chrono::milliseconds check_time{3500};
constexpr std::uint64_t most_bytes = INT64_MAX;
constexpr const char* id_member = "to_archive";

nlohmann::json to_json(const ArchiveExportRequest& request, const std::string& id) {
  nlohmann::json json = {{id_member, id}, {"volume", request.volume}, {"replace", request.replace}};
  add_to_json(json, request.address);
  add_to_json(json, request.terms);
  return json;
}

/// Throws nlohmann::json::exception.
ArchiveExportRequest request_of(const nlohmann::json& json) {
  return {archive_address_of(json), json.at("volume").get<std::string>(), terms_of(json),
          json.at("replace").get<bool>()};
}

}  // namespace

void ArchiveExports::resume() {
  for (const auto& record : catalogue_.list()) {
    if (!is_ticket(*record, TicketKind::archive) || record->state != volumes::State::importing) continue;
    try {
      start(record->name, record->import[id_member].get<std::string>(), request_of(record->import));
    } catch (const nlohmann::json::exception& error) {
      spdlog::error("ticket {}: the stored request cannot be read: {}", record->name, error.what());
      const std::string why = std::string("the stored request cannot be read: ") + error.what();
      auto stored = catalogue_.update(record->name, [&](volumes::VolumeRecord& next) {
        next.state = volumes::State::failed;
        next.migration = {{"state", "failed"}, {"migration", {{"error", why}}}};
      });
      if (!stored) spdlog::error("{}", stored.error().message);
    }
  }
}

Result<> ArchiveExports::begin(const std::string& name, const ArchiveExportRequest& request) {
  const auto one_at_a_time = names_.lock(name);
  if (catalogue_.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const Deadline deadline = after(check_time);
  FERRY_TRY(sources_.describe(request.volume, request.terms.freeze, most_bytes));
  const std::string id = random_hex(16);
  FERRY_ASSIGN(auto output, find_place(request, id, deadline));
  FERRY_TRY(catalogue_.create(new_ticket(name, to_json(request, id), new_archive_export_status(request))));
  start(name, id, request, std::move(output));
  return {};
}

/// It is made at once: so much for rights, directories, names that are taken, and room.
Result<std::unique_ptr<ArchiveOutput>> ArchiveExports::find_place(const ArchiveExportRequest& request,
                                                                  const std::string& id, Deadline deadline) const {
  FERRY_ASSIGN(const archive::Compression compression, compression_of(request.address));
  FERRY_ASSIGN(auto output, store_.create(request.address, id, request.replace, deadline));
  const auto room = output->free_bytes();
  if (!room || compression != archive::Compression::none) return output;
  FERRY_ASSIGN(const auto described, sources_.describe(request.volume, request.terms.freeze, *room));
  if (described.bytes <= *room) return output;
  return fail(Code::no_space, "volume " + request.volume + " has " + std::to_string(described.bytes) +
                                  " bytes of content, and there is room for " + std::to_string(*room) + " where " +
                                  request.address.text() + " is to be; free some, or use .tar.zst");
}

void ArchiveExports::start(const std::string& name, const std::string& id, const ArchiveExportRequest& request,
                           std::unique_ptr<ArchiveOutput> output) {
  jobs_.start(name,
              std::make_shared<ArchiveExportJob>(catalogue_, store_, sources_, name, id, request, std::move(output)));
}

Result<> ArchiveExports::cancel(const std::string& name) {
  const auto one_at_a_time = names_.lock(name);
  const auto job = jobs_.find(name);
  if (!job) return {};
  job->abandon();
  jobs_.erase(name);
  return {};
}

}  // namespace ferry::migration
