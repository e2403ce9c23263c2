#include "driver/volume_service.h"

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "driver/status.h"
#include "volumes/names.h"

namespace ferry::driver {

namespace {

/// How long a Mount waits for an import; `docker plugin enable` lets an RPC take 30 s.
constexpr std::chrono::seconds mount_wait{20};

/// Why a volume that is not ready cannot be mounted.
Error explain(const volumes::VolumeRecord& record) {
  const auto why = record.migration.is_object() ? record.migration.value("error", nlohmann::json()) : nlohmann::json();
  const std::string reason = why.is_string() ? why.get<std::string>() : "the reason is not known";
  if (record.state == volumes::State::quarantined) return {Code::corrupt, reason};
  return {Code::io,
          "the import of volume " + record.name + " failed: " + reason + "; remove the volume and create it again"};
}

}  // namespace

Result<VolumeService::Snapshot> VolumeService::find(const std::string& name) const {
  auto record = parts_.catalogue.find(name);
  if (!record) return fail(Code::not_found, "no such volume: " + quote(name));
  return record;
}

Result<> VolumeService::create(const std::string& name, const std::map<std::string, std::string>& options) {
  FERRY_ASSIGN(const auto request, migration::parse_options(name, options));
  if (!request.import && parts_.labels.is_own_create(name))
    return fail(Code::busy, "volume " + name + " has just been removed; create it again");
  FERRY_TRY(request.import ? parts_.imports.begin(name, request) : create_plain(name, request));
  update_marker();
  if (request.import) parts_.labels.wake();
  return {};
}

void VolumeService::update_marker() {
  if (auto marked = parts_.marker.update(); !marked) spdlog::error("{}", marked.error().message);
}

Result<> VolumeService::create_plain(const std::string& name, const migration::CreateRequest& request) {
  volumes::VolumeRecord record;
  record.name = name;
  record.created = now_rfc3339();
  record.mode = request.mode.value_or(volumes::Mode::rw);
  record.lineage = random_uuid();
  record.options = request.own_options;
  return parts_.catalogue.create(std::move(record));
}

Result<> VolumeService::remove(const std::string& name) {
  FERRY_ASSIGN(auto record, find(name));
  if (record->reregistration && parts_.labels.is_own_remove(name)) {
    spdlog::debug("volume {} is being registered anew: the Engine forgets it now, nothing is deleted", name);
    return {};
  }
  parts_.imports.abandon(name);
  FERRY_ASSIGN(record, find(name));  // the import may have come to its end meanwhile
  FERRY_TRY(parts_.mounts.release(name));
  FERRY_TRY(parts_.marker.remove([&] { return discard(*record); }));
  parts_.trash.wake();
  return {};
}

Result<> VolumeService::discard(const volumes::VolumeRecord& record) {
  if (record.state == volumes::State::importing && volumes::is_anonymous(record.name)) {
    FERRY_ASSIGN(const auto id, parts_.catalogue.orphan(record.name));
    spdlog::info("anonymous volume {} was removed during its import; what has arrived is kept for an hour",
                 record.name);
    return {};
  }
  return parts_.catalogue.remove(record.name);
}

Result<std::string> VolumeService::mount(const std::string& name, const std::string& id) {
  FERRY_ASSIGN(auto record, find(name));
  if (record->state == volumes::State::importing) {
    FERRY_TRY(parts_.imports.wait(name, after(mount_wait)));
    FERRY_ASSIGN(record, find(name));
  }
  if (record->state == volumes::State::importing)
    return fail(Code::busy, "the import of volume " + name + " is being stopped");
  if (record->state != volumes::State::ready) return tl::unexpected(explain(*record));
  return parts_.mounts.mount(name, id, parts_.catalogue.layout().data(name), record->mode);
}

Result<> VolumeService::unmount(const std::string& name, const std::string& id) {
  return parts_.mounts.unmount(name, id);
}

Result<std::string> VolumeService::path(const std::string& name) {
  FERRY_ASSIGN(const auto record, find(name));
  return parts_.mounts.mountpoint(record->name);
}

VolumeInfo VolumeService::info(const volumes::VolumeRecord& record) const {
  VolumeInfo info;
  info.name = record.name;
  info.mountpoint = parts_.mounts.mountpoint(record.name);
  info.created_at = record.created;
  return info;
}

Result<VolumeInfo> VolumeService::get(const std::string& name) {
  FERRY_ASSIGN(const auto record, find(name));
  VolumeInfo found = info(*record);
  const bool running = record->state == volumes::State::importing;
  const auto migration = running ? parts_.imports.status(name) : nlohmann::json(nullptr);
  found.status = status_of(*record, migration, parts_.tracker.facts(name), parts_.tracker.connected());
  return found;
}

std::vector<VolumeInfo> VolumeService::list() {
  std::vector<VolumeInfo> volumes;
  for (const auto& record : parts_.catalogue.list()) volumes.push_back(info(*record));
  return volumes;
}

}  // namespace ferry::driver
