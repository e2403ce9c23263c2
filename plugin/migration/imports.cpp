#include "migration/imports.h"

#include <sys/statvfs.h>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "migration/archive_front.h"
#include "migration/archive_transfer.h"
#include "migration/frozen_transfer.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

/// Below the 5 s that a create may take. Who the peer is takes longest, because that connects.
constexpr std::chrono::milliseconds check_time{4500};
constexpr std::chrono::milliseconds identify_time{3000};

volumes::VolumeRecord new_record(const std::string& name, const CreateRequest& request, const VolumeDescription& source,
                                 const std::string& peer_uuid) {
  volumes::VolumeRecord record;
  record.name = name;
  record.created = now_rfc3339();
  record.mode = request.mode.value_or(source.mode);
  record.state = volumes::State::importing;
  record.lineage = source.lineage.empty() ? random_uuid() : source.lineage;
  record.epoch = source.epoch;
  record.options = source.options;
  record.labels = source.labels;
  record.labels_pending = true;
  record.import = to_json(*request.import);
  record.import["uuid"] = peer_uuid;
  record.import["instance"] = source.instance;
  record.migration = new_import_status(*request.import);
  if (!source.labels_known)
    record.migration["warnings"].push_back(
        "the source's Docker Engine could not be asked, so its labels did not come along");
  return record;
}

nlohmann::json to_json(const ArchiveImportRequest& request) {
  nlohmann::json json = {{"id", request.id}};
  add_to_json(json, request.address);
  add_to_json(json, request.terms);
  return json;
}

Result<ArchiveImportRequest> archive_import_request(const nlohmann::json& json) {
  try {
    return ArchiveImportRequest{archive_address_of(json), terms_of(json), json.at("id").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, std::string("the stored import request cannot be read: ") + error.what());
  }
}

/// In the `import` of an archive: how often it was begun.
constexpr const char* begun_member = "begun";
constexpr int most_begun = 5;

/// What tells one import from another: not how its content travels.
nlohmann::json without_speed(nlohmann::json request) {
  request.erase("limit");
  request.erase("compress");
  return request;
}

/// An import that can never be carried on must not look as if it were.
void give_up(volumes::Catalogue& catalogue, const std::string& name, const Error& error) {
  spdlog::error("volume {}: {}", name, error.message);
  auto stored = catalogue.update(name, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::failed;
    if (!record.migration.is_object()) record.migration = nlohmann::json::object();
    record.migration["error"] = error.message;
  });
  if (!stored) spdlog::error("volume {}: {}", name, stored.error().message);
}

}  // namespace

Result<std::uint64_t> free_bytes(const std::filesystem::path& directory) {
  struct statvfs room {};
  if (::statvfs(directory.c_str(), &room) != 0) return fail_errno("statvfs " + directory.string());
  return static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
}

Result<> check_room(const std::filesystem::path& directory, std::uint64_t bytes) {
  FERRY_ASSIGN(const std::uint64_t free, free_bytes(directory));
  if (bytes <= free) return {};
  return fail(Code::no_space, "too little space: the source has at least " + std::to_string(bytes) + " bytes, " +
                                  directory.string() + " has " + std::to_string(free) + " free");
}

bool Imports::is_of_archive(const volumes::VolumeRecord& record) {
  return record.import.is_object() && record.import.contains("archive");
}

void Imports::resume() {
  for (const auto& record : catalogue_.list()) {
    const bool own = record->kind == volumes::Kind::volume && !record->import.contains("ticket");
    if (record->state != volumes::State::importing || !own) continue;
    if (is_of_archive(*record)) {
      if (auto resumed = resume_from_archive(*record); !resumed) give_up(catalogue_, record->name, resumed.error());
      continue;
    }
    if (const auto request = import_request(record->import)) {
      spdlog::info("carrying on the import of {} from {}", record->name, request->peer.text());
      start(record->name, *request);
    } else {
      give_up(catalogue_, record->name, request.error());
    }
  }
}

/// It begins anew. An archive that ends this process each time must not do so for ever.
Result<> Imports::resume_from_archive(const volumes::VolumeRecord& record) {
  FERRY_ASSIGN(const auto request, archive_import_request(record.import));
  const int begun = record.import.value(begun_member, 1) + 1;
  if (begun > most_begun)
    return fail(Code::io, "the import was begun " + std::to_string(most_begun) +
                              " times, and each time the plugin ended before it did; if that is not the archive's "
                              "doing, try again with a ticket, -o retry=" +
                              record.name);
  auto counted =
      catalogue_.update(record.name, [&](volumes::VolumeRecord& next) { next.import[begun_member] = begun; });
  if (!counted) spdlog::error("volume {}: {}", record.name, counted.error().message);
  start(record.name, request);
  return {};
}

Result<> Imports::begin(const std::string& name, const CreateRequest& request) {
  if (catalogue_.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const auto peer = peers_.peer(request.import->peer);
  FERRY_ASSIGN(const auto checked, check(name, *request.import, *peer));
  auto record = new_record(name, request, checked.source, checked.peer_uuid);
  FERRY_ASSIGN(const std::string orphan, find_orphan(record));
  if (orphan.empty()) {
    FERRY_TRY(check_room(catalogue_.layout().volumes(), checked.source.bytes));
    FERRY_TRY(catalogue_.create(std::move(record)));
  } else {
    FERRY_TRY(catalogue_.adopt(std::move(record), orphan));
  }
  start(name, *request.import);
  return {};
}

Result<Imports::Checked> Imports::check(const std::string& name, const ImportRequest& request, Peer& peer) const {
  const Deadline deadline = after(check_time);
  FERRY_ASSIGN(const std::string uuid, peer.identify(identify_time));
  if (uuid == catalogue_.uuid() && request.volume == name)
    return fail(Code::invalid_argument, "from=" + request.peer.text() +
                                            " is this host: a volume cannot be imported from itself; "
                                            "name another volume as from=HOST/VOLUME");
  FERRY_ASSIGN(const std::uint64_t room, free_bytes(catalogue_.layout().volumes()));
  FERRY_ASSIGN(auto source, peer.describe(request, room, left_until(deadline)));
  return Checked{std::move(source), uuid};
}

Result<> Imports::restart(const std::string& name) {
  const std::lock_guard guard(restarting_);
  const auto failed = catalogue_.find(name);
  if (!failed || failed->kind != volumes::Kind::volume)
    return fail(Code::not_found, "option retry: there is no volume " + name + " here");
  if (failed->state != volumes::State::failed)
    return fail(Code::invalid_argument, "option retry: the import of volume " + name + " has not failed: it is " +
                                            std::string(to_string(failed->state)));
  if (is_of_archive(*failed)) return restart_from_archive(*failed);
  FERRY_ASSIGN(const ImportRequest request, import_request(failed->import));
  FERRY_ASSIGN(const auto checked, check(name, request, *peers_.peer(request.peer)));
  FERRY_TRY(check_room(catalogue_.layout().volumes(), checked.source.bytes));
  abandon(name);
  FERRY_TRY(catalogue_.restart_import(name, [&](volumes::VolumeRecord& record) {
    CreateRequest again;
    again.mode = record.mode;
    again.import = request;
    auto next = new_record(name, again, checked.source, checked.peer_uuid);
    next.created = record.created;
    next.superseded = volumes::Superseded{record.labels, record.options};
    record = std::move(next);
  }));
  start(name, request);
  return {};
}

Result<> Imports::restart_from_archive(const volumes::VolumeRecord& failed) {
  FERRY_ASSIGN(auto request, archive_import_request(failed.import));
  FERRY_ASSIGN(auto next, look_into(failed.name, request));
  abandon(failed.name);
  FERRY_TRY(catalogue_.restart_import(failed.name, [&](volumes::VolumeRecord& record) {
    next.created = record.created;
    next.mode = record.mode;
    next.superseded = volumes::Superseded{record.labels, record.options};
    record = std::move(next);
  }));
  start(failed.name, request);
  return {};
}

/// An anonymous import that was removed while it ran left its staging for an hour: the same import takes it over.
/// Empty: there is none.
Result<std::string> Imports::find_orphan(const volumes::VolumeRecord& record) const {
  if (!volumes::is_anonymous(record.name)) return std::string();
  FERRY_ASSIGN(const auto orphans, catalogue_.orphans());
  for (const auto& [id, orphan] : orphans)
    if (without_speed(orphan.import) == without_speed(record.import)) return id;
  return std::string();
}

void Imports::start(const std::string& name, const ImportRequest& request) {
  std::unique_ptr<ContentTransfer> transfer;
  if (holds_writers(request.terms.freeze))
    transfer = std::make_unique<FrozenTransfer>(catalogue_.layout(), name, request, peers_);
  else
    transfer = std::make_unique<Transfer>(catalogue_.layout(), name, request, peers_.peer(request.peer));
  add(name, std::make_shared<ImportJob>(catalogue_, name, request.peer.text(), new_import_status(request),
                                        std::move(transfer)));
}

void Imports::start(const std::string& name, const ArchiveImportRequest& request) {
  auto transfer = std::make_unique<ArchiveTransfer>(catalogue_.layout(), archives_, name, request);
  const std::string from = request.address.text();
  add(name, std::make_shared<ImportJob>(catalogue_, name, from, new_import_status(from, name), std::move(transfer)));
}

void Imports::add(const std::string& name, Job job) {
  const std::lock_guard guard(mutex_);
  jobs_[name] = std::move(job);
}

/// The record that the import of an archive begins with: what that says of its volume, which is verified only in the
/// end.
Result<volumes::VolumeRecord> Imports::look_into(const std::string& name, ArchiveImportRequest& request) const {
  FERRY_ASSIGN(const auto front, read_front(archives_, request.address, after(check_time)));
  volumes::VolumeRecord record;
  record.name = name;
  record.created = now_rfc3339();
  record.state = volumes::State::importing;
  record.lineage = random_uuid();
  record.migration = new_import_status(request.address.text(), name);
  request.id = front ? front->digests : "";
  record.import = to_json(request);
  record.labels_pending = true;  // also of a foreign one, since Ferry's own options are none of the volume's
  if (!front) return record;
  FERRY_TRY(check_room(catalogue_.layout().volumes(), front->facts.data));
  const auto& facts = front->facts;
  record.mode = facts.mode == "ro" ? volumes::Mode::ro : volumes::Mode::rw;
  if (!facts.lineage.empty()) record.lineage = facts.lineage;
  record.epoch = facts.epoch;
  record.labels = facts.labels;
  record.options = facts.options;
  record.migration["volume"] = facts.name;
  if (!facts.labels_known)
    record.migration["warnings"].push_back(
        "the source's Docker Engine could not be asked, so its labels did not come along");
  return record;
}

Result<> Imports::begin_from_archive(const std::string& name, const CreateRequest& request) {
  if (catalogue_.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  ArchiveImportRequest wanted = *request.archive_import;
  FERRY_ASSIGN(auto record, look_into(name, wanted));
  if (request.mode) record.mode = *request.mode;
  FERRY_TRY(catalogue_.create(std::move(record)));
  start(name, wanted);
  return {};
}

Imports::Job Imports::find(const std::string& name) const {
  const std::lock_guard guard(mutex_);
  const auto it = jobs_.find(name);
  return it == jobs_.end() ? nullptr : it->second;
}

void Imports::abandon(const std::string& name) {
  Job job;
  {
    const std::lock_guard guard(mutex_);
    if (const auto it = jobs_.find(name); it != jobs_.end()) {
      job = std::move(it->second);
      jobs_.erase(it);
    }
  }
  if (job) job->abandon();
}

void Imports::abandon_all() {
  std::map<std::string, Job> jobs;
  {
    const std::lock_guard guard(mutex_);
    jobs.swap(jobs_);
  }
  for (const auto& [name, job] : jobs) job->cancel();
  for (const auto& [name, job] : jobs) job->abandon();
  for (const auto& [name, job] : jobs) discount(name);
}

/// Of an import that was begun, and ends because this process does.
void Imports::discount(const std::string& name) {
  const auto record = catalogue_.find(name);
  if (!record || record->state != volumes::State::importing || !is_of_archive(*record)) return;
  const auto discounted = catalogue_.update(name, [](volumes::VolumeRecord& next) {
    if (next.state != volumes::State::importing || !is_of_archive(next)) return;  // another one by now
    next.import[begun_member] = next.import.value(begun_member, 1) - 1;
  });
  if (!discounted) spdlog::error("volume {}: {}", name, discounted.error().message);
}

Result<> Imports::wait(const std::string& name, Deadline deadline) const {
  const Job job = find(name);
  if (!job || job->wait(deadline)) return {};
  return fail(Code::busy,
              "volume " + name + " is still being imported: " + progress_text(job->status()) + "; try again then");
}

nlohmann::json Imports::status(const std::string& name) const {
  const Job job = find(name);
  return job ? job->status() : nlohmann::json(nullptr);
}

}  // namespace ferry::migration
