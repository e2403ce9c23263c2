#include <string_view>
#include <utility>

#include "migration/frozen_copy.h"
#include "migration/import_job.h"
#include "migration/ticket_job.h"

// What a ticket says of itself.
namespace ferry::migration {

namespace {

void sum(nlohmann::json& total, const nlohmann::json& part) {
  for (const char* member : {"bytes_total", "bytes_done", "bytes_sent", "files_total", "files_done"})
    if (part.contains(member))
      total[member] = total.value(member, std::uint64_t{0}) + part[member].get<std::uint64_t>();
}

/// Of what a transfer says, what is said of a volume.
void add_transfer(nlohmann::json& status, const nlohmann::json& transfer) {
  for (const char* member :
       {"phase", "round", "bytes_total", "bytes_done", "bytes_sent", "files_total", "files_done", "digest",
        "consistency", "warnings", "verified", "files_to_send", "bytes_to_send", "names_to_remove", "predicted_s"})
    if (transfer.contains(member)) status[member] = transfer[member];
}

}  // namespace

nlohmann::json TicketJob::item_status(const Item& item) const {
  nlohmann::json status = {{"name", item.volume.target},
                           {"source", item.volume.source.volume},
                           {"action", item.volume.action},
                           {"state", item.state},
                           {"digest", nullptr},
                           {"consistency", nullptr},
                           {"warnings", nlohmann::json::array()}};
  const nlohmann::json now = item.outcome.is_null() ? item.transfer->status() : item.outcome;
  add_transfer(status, now);
  return status;
}

nlohmann::json TicketJob::status() const {
  const std::lock_guard guard(mutex_);
  return outcome_.is_null() ? status_locked() : outcome_;
}

/// What a service has beside its Ferry volumes: of its layer the sums only.
void TicketJob::add_pieces(nlohmann::json& migration, nlohmann::json& volumes) const {
  for (const auto& piece : service_->statuses()) {
    sum(migration, piece);
    if (piece.contains("error") && !piece["error"].is_null()) migration["error"] = piece["error"];
    const auto local = piece.at("local").get<std::string>();
    for (const auto& warning : piece.value("warnings", nlohmann::json::array()))
      migration["warnings"].push_back((local.empty() ? "layer" : local) + ": " + warning.get<std::string>());
    if (local.empty()) continue;
    const bool has_come = piece.contains("digest") || prepared_ || decided_;
    nlohmann::json status = {{"name", local},     {"source", piece["source"]}, {"action", "update"},
                             {"digest", nullptr}, {"consistency", nullptr},    {"warnings", nlohmann::json::array()}};
    add_transfer(status, piece);
    status["state"] = has_failed_               ? "failed"
                      : owned_                  ? "ready"
                      : has_come                ? "prepared"
                      : piece.contains("phase") ? "importing"
                                                : "waiting";
    volumes.push_back(std::move(status));
  }
}

nlohmann::json TicketJob::status_locked() const {
  nlohmann::json migration = base_;
  auto listed = nlohmann::json::array();
  bool live = false;
  bool frozen = false;
  bool verified = true;
  std::string digests;
  for (const auto& item : items_) {
    listed.push_back(item_status(item));
    const auto& one = listed.back();
    sum(migration, one);
    for (const auto& warning : one["warnings"])
      migration["warnings"].push_back(item.volume.target + ": " + warning.get<std::string>());
    live = live || one["consistency"] == "live";
    frozen = frozen || one["consistency"] == "frozen";
    verified = verified && one["digest"].is_string();
    if (one["digest"].is_string()) digests += one["digest"].get<std::string>();
    if (item.outcome.is_null() || &item == &items_.back()) {
      const auto now = item.transfer->status();
      for (const char* member : {"phase", "round", "rate_bytes_per_s", "eta_s", "error"})
        if (!migration.contains(member) || std::string_view(item.state) == "importing") migration[member] = now[member];
    }
  }
  if (service_) add_pieces(migration, listed);
  if (owned_) migration["phase"] = "confirm";
  if (const std::string trouble = trouble_.text(); !trouble.empty()) migration["error"] = trouble;
  if (verified) {
    migration["consistency"] = live ? "live" : frozen ? "frozen" : "idle";
    migration["digest"] = items_.size() == 1 ? digests : sync::to_hex(sync::digest_of(digests));
  }
  nlohmann::json status = {{"state", "importing"}, {"migration", std::move(migration)}, {"volumes", std::move(listed)}};
  if (service_) status["migration"].update(rounds_.status());
  if (frozen_copy_) status["migration"].update(frozen_copy_->status());
  if (downtime_ms_) status["migration"]["downtime_ms"] = *downtime_ms_;
  if (service_) {
    status["service"] = steps_.status(plan().service->options);
    if (!service_warning_.empty()) status["migration"]["warnings"].push_back(service_warning_);
  }
  return status;
}

nlohmann::json TicketJob::volume_status(const std::string& volume) const {
  const std::lock_guard guard(mutex_);
  for (const auto& item : items_) {
    if (item.volume.target != volume) continue;
    auto status = new_import_status({{}, item.volume.source.volume, {}});
    for (const char* kept : {"id", "started", "peer"}) status[kept] = base_[kept];
    status.update(item.outcome.is_null() ? item.transfer->status() : item.outcome);
    status["ticket"] = name_;
    return status;
  }
  return nullptr;
}

}  // namespace ferry::migration
