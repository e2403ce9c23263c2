#include "driver/volume_service.h"

#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "driver/status.h"
#include "migration/handed_off.h"
#include "migration/ticket_kind.h"
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
  if (record.state == volumes::State::handed_off) return migration::explain_handed_off(record);
  return {Code::io, "the import of volume " + record.name + " failed: " + reason +
                        "; start it again with a ticket: -o retry=" + record.name + ", or remove the volume"};
}

}  // namespace

Result<VolumeService::Snapshot> VolumeService::find(const std::string& name) const {
  auto record = parts_.catalogue.find(name);
  if (!record) return fail(Code::not_found, "no such volume: " + quote(name));
  return record;
}

Result<> VolumeService::create(const std::string& name, const std::map<std::string, std::string>& options) {
  if (auto created = parts_.tickets.create_expected(name)) return std::move(*created);
  FERRY_ASSIGN(const auto request, migration::parse_options(name, options));
  return start(name, request);
}

Result<> VolumeService::create_ticket(const std::string& name, const migration::TicketRequest& request) {
  migration::CreateRequest wanted;
  if (request.service)
    wanted.service = migration::ServiceMoveRequest{request.peer, *request.service, request.terms};
  else
    wanted.ticket = request;
  return start(name, wanted);
}

Result<> VolumeService::start(const std::string& name, const migration::CreateRequest& request) {
  auto begun = begin(name, request);
  update_marker();
  if (!begun)
    parts_.trash.wake();  // a ticket that its peer has refused was there for a moment
  else if (!request.is_plain())
    parts_.labels.wake();
  return begun;
}

Result<> VolumeService::begin(const std::string& name, const migration::CreateRequest& request) {
  if (request.archive_import) return parts_.imports.begin_from_archive(name, request);
  if (request.archive_export) return parts_.archive_exports.begin(name, *request.archive_export);
  if (request.plan) return parts_.plans.begin(name, *request.plan);
  if (request.service) return parts_.arriving.begin(name, *request.service);
  if (request.import) return parts_.imports.begin(name, request);
  if (request.ticket) return parts_.tickets.begin(name, *request.ticket);
  if (request.exported) return parts_.exports.begin(name, *request.exported);
  if (request.reclaim && is_ticket(request.reclaim->volume)) return begin_return(name, *request.reclaim);
  if (request.reclaim && request.reclaim->force) return parts_.forced.begin(name, *request.reclaim);
  if (request.reclaim) return parts_.tickets.begin_reclaim(name, *request.reclaim);
  if (!request.retry.empty()) return parts_.tickets.begin_retry(name, request.retry);
  if (parts_.labels.is_own_create(name))
    return fail(Code::busy, "volume " + name + " has just been removed; create it again");
  return create_plain(name, request);
}

bool VolumeService::is_ticket(const std::string& name) const {
  const auto record = parts_.catalogue.find(name);
  return record && record->kind == volumes::Kind::ticket;
}

Result<> VolumeService::begin_return(const std::string& name, const migration::ReclaimRequest& reclaim) {
  if (reclaim.force)
    return fail(Code::invalid_argument,
                "option force does not go with a ticket; take each of its volumes back with a "
                "ticket, -o reclaim=VOLUME -o force=true");
  return parts_.returns.begin(name, reclaim);
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
  if (record->kind == volumes::Kind::ticket) return remove_ticket(*record);
  if (const std::string ticket = parts_.hand_offs.holder(name); !ticket.empty())
    return fail(Code::busy, "volume " + name +
                                " is being handed off, and the other host has not confirmed yet that it has "
                                "it; see ticket " +
                                ticket);
  if (const std::string ticket = parts_.tickets.holder(name); !ticket.empty())
    return fail(Code::busy, "volume " + name + " is being made or changed by ticket " + ticket +
                                "; `docker volume rm " + ticket + "` cancels that");
  parts_.imports.abandon(name);
  FERRY_ASSIGN(record, find(name));  // the import may have come to its end meanwhile
  FERRY_TRY(parts_.mounts.release(name));
  FERRY_TRY(parts_.marker.remove([&] { return discard(*record); }));
  parts_.trash.wake();
  return {};
}

/// Its new volumes go before it does: see MarkerKeeper::remove.
Result<> VolumeService::remove_ticket(const volumes::VolumeRecord& record) {
  const std::string& name = record.name;
  auto kind = migration::kind_of(record);
  if (kind == migration::TicketKind::arriving_service) {
    FERRY_TRY(parts_.arriving.cancel(name));
    FERRY_ASSIGN(const auto now, find(name));
    kind = migration::kind_of(*now);  // it may have become one of volumes at the last moment
  }
  if (kind == migration::TicketKind::hand_off) {
    parts_.tickets.confirm_hand_off(name);
    const std::string service = migration::ServiceDepartures::ticket_of(name.substr(volumes::departure_prefix.size()));
    // Of a service that is still held its ticket says that this was its user's will.
    if (parts_.catalogue.find(service) && !parts_.hand_offs.given(name)) FERRY_TRY(parts_.departures.cancel(service));
    if (parts_.catalogue.find(name)) FERRY_TRY(parts_.hand_offs.cancel(name));
    parts_.trash.wake();
    return {};
  }
  if (kind == migration::TicketKind::departed_service) {
    FERRY_TRY(parts_.departures.cancel(name));
    if (!parts_.catalogue.find(name)) return {};
  }
  FERRY_TRY(parts_.forced.cancel(name));
  switch (kind) {
    case migration::TicketKind::archive: FERRY_TRY(parts_.archive_exports.cancel(name)); break;
    case migration::TicketKind::exported: FERRY_TRY(parts_.exports.cancel(name)); break;
    case migration::TicketKind::service_plan: parts_.plans.cancel(name); break;
    case migration::TicketKind::arriving_service:
    case migration::TicketKind::departed_service: break;
    default: FERRY_TRY(parts_.tickets.cancel(name)); break;
  }
  FERRY_TRY(parts_.marker.remove([&] { return parts_.catalogue.remove(name); }));
  parts_.trash.wake();
  return {};
}

Result<> VolumeService::discard(const volumes::VolumeRecord& record) {
  const bool carries_on = !migration::Imports::is_of_archive(record);
  if (record.state == volumes::State::importing && volumes::is_anonymous(record.name) && carries_on) {
    FERRY_ASSIGN(const auto id, parts_.catalogue.orphan(record.name));
    spdlog::info("anonymous volume {} was removed during its import; what has arrived is kept for an hour",
                 record.name);
    return {};
  }
  return parts_.catalogue.remove(record.name);
}

Result<> VolumeService::wait_for_content(const std::string& name) {
  const Deadline deadline = after(mount_wait);
  FERRY_TRY(parts_.imports.wait(name, deadline));
  return parts_.tickets.wait(name, deadline);
}

Result<std::string> VolumeService::mount(const std::string& name, const std::string& id) {
  FERRY_ASSIGN(auto record, find(name));
  if (record->kind == volumes::Kind::ticket)
    return fail(Code::invalid_argument,
                name + " is a ticket: it stands for a migration and has no content; mount the volumes that it brings");
  FERRY_TRY(wait_for_content(name));
  FERRY_TRY(parts_.hand_offs.check_mountable(name));
  FERRY_ASSIGN(record, find(name));
  if (record->state == volumes::State::importing)
    return fail(Code::busy, "the import of volume " + name + " is being stopped");
  if (record->state != volumes::State::ready) return tl::unexpected(explain(*record));
  FERRY_ASSIGN(auto mountpoint, parts_.mounts.mount(name, id, parts_.catalogue.layout().data(name), record->mode));
  // A ticket that took the volume at this instant may have seen it unmounted, or sees it mounted now and fails: it is
  // this Mount that gives way.
  if (const std::string ticket = parts_.tickets.holder(name); !ticket.empty()) {
    FERRY_TRY(parts_.mounts.unmount(name, id));
    return fail(Code::busy, "volume " + name + " is being changed by ticket " + ticket + "; try again then");
  }
  auto mountable = parts_.hand_offs.check_mountable(name);
  if (const auto now = parts_.catalogue.find(name); mountable && (!now || now->state != volumes::State::ready))
    mountable = now ? tl::unexpected(explain(*now)) : fail(Code::not_found, "volume " + name + " has been removed");
  if (!mountable) {
    FERRY_TRY(parts_.mounts.unmount(name, id));
    return pass(mountable);
  }
  return mountpoint;
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

nlohmann::json VolumeService::ticket_status(const volumes::VolumeRecord& ticket) const {
  switch (migration::kind_of(ticket)) {
    case migration::TicketKind::volumes: break;
    case migration::TicketKind::exported: return parts_.exports.status(ticket);
    case migration::TicketKind::archive: return parts_.archive_exports.status(ticket);
    case migration::TicketKind::hand_off: return parts_.hand_offs.status(ticket);
    case migration::TicketKind::forced_reclaim: return parts_.forced.status(ticket);
    case migration::TicketKind::service_plan: return parts_.plans.status(ticket);
    case migration::TicketKind::arriving_service: return parts_.arriving.status(ticket);
    case migration::TicketKind::departed_service: return parts_.departures.status(ticket);
  }
  return parts_.tickets.status(ticket);
}

Result<VolumeInfo> VolumeService::get(const std::string& name) {
  FERRY_ASSIGN(const auto record, find(name));
  VolumeInfo found = info(*record);
  if (record->kind == volumes::Kind::ticket) {
    found.status = ticket_status(*record);
    return found;
  }
  auto migration = parts_.tickets.volume_status(name);
  const bool changing = !migration.is_null();
  if (!changing && record->state == volumes::State::importing) migration = parts_.imports.status(name);
  found.status = status_of(*record, migration, parts_.tracker.facts(name), parts_.tracker.connected());
  if (changing) found.status["state"] = to_string(volumes::State::importing);
  if (const std::string ticket = parts_.hand_offs.holder(name); !ticket.empty()) found.status["held_by"] = ticket;
  return found;
}

std::vector<VolumeInfo> VolumeService::list() {
  std::vector<VolumeInfo> volumes;
  for (const auto& record : parts_.catalogue.list()) volumes.push_back(info(*record));
  return volumes;
}

}  // namespace ferry::driver
