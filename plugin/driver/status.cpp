#include "driver/status.h"

namespace ferry::driver {

namespace {

nlohmann::json mounts_of(const engine::Tracker::Facts& facts) {
  auto mounts = nlohmann::json::array();
  for (const auto& mount : facts.mounts)
    mounts.push_back({{"container", mount.container},
                      {"destination", mount.destination},
                      {"rw", mount.rw},
                      {"mount", engine::mount_argument(mount)}});
  return mounts;
}

}  // namespace

nlohmann::json status_of(const volumes::VolumeRecord& record, const nlohmann::json& migration,
                         const engine::Tracker::Facts& facts, bool engine_connected) {
  const bool quarantined = record.state == volumes::State::quarantined;
  nlohmann::json status = {{"state", quarantined ? "failed" : std::string(to_string(record.state))},
                           {"mode", to_string(record.mode)},
                           {"lineage", record.lineage},
                           {"epoch", record.epoch},
                           {"labels_pending", record.labels_pending || record.reregistration.has_value()}};
  if (!record.import.is_null()) {  // as the source had them
    status["labels"] = record.labels;
    status["options"] = record.options;
  } else {
    status["labels"] = facts.labels ? nlohmann::json(*facts.labels) : nlohmann::json(nullptr);
    status["options"] = facts.options.value_or(record.options);
  }
  if (engine_connected)
    status["mounts"] = mounts_of(facts);
  else
    status["unknown"] =
        "the Docker Engine cannot be asked now (see the plugin's mount `run`): labels, and which containers "
        "mount the volume, are not known";
  if (record.state == volumes::State::handed_off)
    for (const char* member : {"to", "volume", "epoch", "when"})
      status["handed_off"][member] = record.hand_off.value(member, nlohmann::json());
  const nlohmann::json& shown = migration.is_null() ? record.migration : migration;
  if (!shown.is_null()) status["migration"] = shown;
  return status;
}

}  // namespace ferry::driver
