#include "migration/imports.h"

#include <sys/statvfs.h>

#include "base/files.h"
#include "base/log.h"
#include "base/random.h"
#include "base/time.h"
#include "volumes/names.h"

namespace ferry::migration {

namespace {

/// Together below the 5 s that a create may take.
constexpr std::chrono::milliseconds identify_time{2000};
constexpr std::chrono::milliseconds describe_time{2500};

volumes::VolumeRecord new_record(const std::string& name, const CreateRequest& request, const VolumeDescription& source) {
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
  record.migration = new_import_status(*request.import);
  return record;
}

Result<> check_room(const std::filesystem::path& directory, std::uint64_t bytes) {
  struct statvfs room {};
  if (::statvfs(directory.c_str(), &room) != 0) return fail_errno("statvfs " + directory.string());
  const std::uint64_t free_bytes = static_cast<std::uint64_t>(room.f_bavail) * room.f_frsize;
  if (bytes <= free_bytes) return {};
  return fail(Code::no_space, "too little space: the source has at least " + std::to_string(bytes) + " bytes, " +
                                  directory.string() + " has " + std::to_string(free_bytes) + " free");
}

}  // namespace

void Imports::resume() {
  for (const auto& record : catalogue_.list()) {
    if (record->state != volumes::State::importing) continue;
    if (const auto request = import_request(record->import)) {
      spdlog::info("carrying on the import of {} from {}", record->name, request->peer.text());
      start(record->name, *request);
    } else {
      spdlog::error("volume {}: {}", record->name, request.error().message);
    }
  }
}

Result<> Imports::begin(const std::string& name, const CreateRequest& request) {
  if (catalogue_.find(name)) return fail(Code::already_exists, "volume " + name + " exists already");
  const auto peer = peers_.peer(request.import->peer);
  FERRY_ASSIGN(const auto source, check(name, *request.import, *peer));
  FERRY_TRY(add(new_record(name, request, source)));
  start(name, *request.import);
  return {};
}

Result<VolumeDescription> Imports::check(const std::string& name, const ImportRequest& request, Peer& peer) const {
  FERRY_ASSIGN(const std::string uuid, peer.identify(identify_time));
  if (uuid == catalogue_.uuid() && request.volume == name)
    return fail(Code::invalid_argument, "from=" + request.peer.text() + " is this host: a volume cannot be imported from itself; "
                                        "name another volume as from=HOST/VOLUME");
  FERRY_ASSIGN(auto source, peer.describe(request, describe_time));
  FERRY_TRY(check_room(catalogue_.layout().volumes(), source.bytes));
  return source;
}

/// An anonymous import that was removed while it ran left its staging for an hour: the same import takes it over.
Result<> Imports::add(volumes::VolumeRecord record) {
  if (volumes::is_anonymous(record.name)) {
    FERRY_ASSIGN(const auto orphans, catalogue_.orphans());
    for (const auto& [id, orphan] : orphans)
      if (orphan.import == record.import) return catalogue_.adopt(std::move(record), id);
  }
  return catalogue_.create(std::move(record));
}

void Imports::start(const std::string& name, const ImportRequest& request) {
  auto job = std::make_shared<ImportJob>(catalogue_, name, request, peers_.peer(request.peer));
  const std::lock_guard guard(mutex_);
  jobs_[name] = std::move(job);
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
  for (const auto& [name, job] : jobs) job->abandon();
}

Result<> Imports::wait(const std::string& name, Deadline deadline) const {
  const Job job = find(name);
  if (!job || job->wait(deadline)) return {};
  return fail(Code::busy, "volume " + name + " is still being imported: " + job->progress_text() + "; try again then");
}

nlohmann::json Imports::status(const std::string& name) const {
  const Job job = find(name);
  return job ? job->status() : nlohmann::json(nullptr);
}

}  // namespace ferry::migration
