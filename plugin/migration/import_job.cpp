#include "migration/import_job.h"

#include "base/log.h"
#include "migration/migration_record.h"

namespace ferry::migration {

nlohmann::json kept_status(const volumes::Catalogue& catalogue, const std::string& name, nlohmann::json otherwise) {
  auto stored = stored_status(catalogue, name, "id");
  return stored.is_null() ? std::move(otherwise) : stored;
}

nlohmann::json new_import_status(const ImportRequest& request) {
  return new_import_status(request.peer.text(), request.volume);
}

nlohmann::json new_import_status(const std::string& from, const std::string& volume) {
  auto status = new_migration_status("import", from);
  status["volume"] = volume;
  return status;
}

nlohmann::json to_json(const ImportRequest& request) {
  nlohmann::json json = {{"volume", request.volume}};
  add_to_json(json, request.peer);
  add_to_json(json, request.terms);
  return json;
}

Result<ImportRequest> import_request(const nlohmann::json& json) {
  try {
    const auto port = json.at("port").get<std::int64_t>();
    if (port < 1 || port > 65535) return fail(Code::corrupt, "the stored import request has no port");
    return ImportRequest{peer_of(json), json.at("volume").get<std::string>(), terms_of(json)};
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, std::string("the stored import request cannot be read: ") + error.what());
  }
}

ImportJob::ImportJob(volumes::Catalogue& catalogue, std::string name, std::string from, nlohmann::json status,
                     std::unique_ptr<ContentTransfer> transfer)
    : catalogue_(catalogue),
      name_(std::move(name)),
      peer_(std::move(from)),
      base_(kept_status(catalogue_, name_, std::move(status))),
      transfer_(std::move(transfer)),
      thread_([this] { run(); }) {}

ImportJob::~ImportJob() { abandon(); }

void ImportJob::cancel() { transfer_->cancel(); }

void ImportJob::abandon() {
  cancel();
  if (thread_.joinable()) thread_.join();
}

bool ImportJob::wait(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [this] { return ended_; });
}

void ImportJob::run() {
  const auto brought = transfer_->run();
  Result<> done;
  if (brought) done = commit(*brought);
  if (!brought && !transfer_->cancelled()) fail_import(brought.error());
  if (!done) fail_import(done.error());
  {
    const std::lock_guard guard(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
}

Result<> ImportJob::commit(const Brought& brought) {
  const sync::Receipt& receipt = brought.receipt;
  transfer_->set_phase("done");
  nlohmann::json status = this->status();
  status["finished"] = now_rfc3339();
  add_receipt(status, brought);
  FERRY_TRY(catalogue_.commit_staging(name_, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::ready;
    record.migration = status;
  }));
  spdlog::info("imported {} from {}: {} files, {} bytes, digest {}", name_, peer_, receipt.files, receipt.bytes,
               receipt.digest);
  const std::lock_guard guard(mutex_);
  outcome_ = std::move(status);
  return {};
}

void ImportJob::fail_import(const Error& error) {
  spdlog::error("import of {} from {} failed: {}", name_, peer_, error.message);
  transfer_->set_phase("failed");
  nlohmann::json status = this->status();
  status["finished"] = now_rfc3339();
  status["error"] = error.message;
  auto stored = store_failure(status);  // before anything is deleted, or after a crash its absence were the reason
  {
    const std::lock_guard guard(mutex_);
    outcome_ = status;
  }
  auto dropped = catalogue_.drop_staging(name_, &transfer_->cancelled());
  if (!dropped && dropped.error().code != Code::cancelled) spdlog::warn("{}", dropped.error().message);
  if (!stored) stored = store_failure(status);  // now the disk may have room for it
  if (!stored) spdlog::error("the outcome of the import of {} could not be stored: {}", name_, stored.error().message);
}

Result<> ImportJob::store_failure(const nlohmann::json& status) {
  return catalogue_.update(name_, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::failed;
    record.migration = status;
  });
}

nlohmann::json ImportJob::status() const {
  {
    const std::lock_guard guard(mutex_);
    if (!outcome_.is_null()) return outcome_;
  }
  nlohmann::json status = base_;
  status.update(transfer_->status());
  return status;
}

}  // namespace ferry::migration
