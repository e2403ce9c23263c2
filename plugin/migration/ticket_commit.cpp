#include "migration/ticket_commit.h"

#include "base/files.h"
#include "base/time.h"
#include "sync/plan.h"

namespace ferry::migration {

Result<> TicketCommit::prepare(const TicketVolume& volume) {
  if (volume.is_update()) return catalogue_.prepare_update(volume.target);
  if (const auto record = catalogue_.find(volume.target)) {
    if (record->import.is_object() && record->import.value("ticket", "") == ticket_) return {};
    return fail(Code::already_exists, "there is another volume of that name here now");
  }
  volumes::VolumeRecord record;
  record.name = volume.target;
  record.created = now_rfc3339();
  record.mode = volume.source.mode;
  record.state = volumes::State::importing;
  record.lineage = volume.source.lineage;
  record.epoch = volume.source.epoch;
  record.options = volume.source.options;
  record.labels = volume.source.labels;
  record.labels_pending = true;
  record.import = import_of(plan_, volume, ticket_);
  return create_(std::move(record));
}

Result<> TicketCommit::decide(nlohmann::json outcomes) {
  TicketPlan decided = plan_;
  decided.committing = std::move(outcomes);
  FERRY_TRY(catalogue_.update(ticket_, [&](volumes::VolumeRecord& record) { record.import = to_json(decided); }));
  plan_.committing = std::move(decided.committing);  // other threads read the rest
  return {};
}

Result<> TicketCommit::commit(std::size_t number) {
  const auto& volume = plan_.volumes[number];
  const auto& status = plan_.committing[number];
  return volume.is_update() ? commit_update(volume, status) : commit_new(volume, status);
}

Result<> TicketCommit::commit_new(const TicketVolume& volume, const nlohmann::json& status) {
  const auto record = catalogue_.find(volume.target);
  if (record && record->state == volumes::State::ready) return {};
  return catalogue_.commit_staging(volume.target, [&](volumes::VolumeRecord& next) {
    next.state = volumes::State::ready;
    next.migration = status;
  });
}

/// While the record says importing, nobody can mount it, whatever of it is old or new. The plan, of which there is none
/// if nothing differs, goes before that ends: once it can be mounted it must not be applied again.
Result<> TicketCommit::commit_update(const TicketVolume& volume, const nlohmann::json& status) {
  const auto& layout = catalogue_.layout();
  const auto update = layout.update(volume.target);
  FERRY_ASSIGN(const bool planned, ferry::exists(sync::UpdatePaths(update).plan));
  if (planned) {
    FERRY_TRY(catalogue_.update(volume.target, [&](volumes::VolumeRecord& record) {
      record.state = volumes::State::importing;
      record.import = import_of(plan_, volume, ticket_);  // or it would be taken for an import of its own
    }));
    FERRY_TRY(sync::apply_plan(update, layout.data(volume.target), layout.baseline(volume.target)));
  }
  FERRY_TRY(catalogue_.drop_update(volume.target));
  return finish_update(volume, status);
}

Result<> TicketCommit::finish_update(const TicketVolume& volume, const nlohmann::json& status) {
  const auto current = catalogue_.find(volume.target);
  if (!current || (current->state == volumes::State::ready && current->migration == status)) return {};
  return catalogue_.update(volume.target, [&](volumes::VolumeRecord& record) {
    const auto& source = volume.source;
    record.state = volumes::State::ready;
    record.mode = source.mode;
    record.epoch = source.epoch;
    if (!source.lineage.empty()) record.lineage = source.lineage;
    if (source.labels_known) {  // whatever was given when it was made was for that version
      record.superseded = volumes::Superseded{{}, {}, true};
      record.labels = source.labels;
      record.options = source.options;
      record.labels_pending = true;
    }
    record.import = import_of(plan_, volume, ticket_);
    record.migration = status;
  });
}

Result<> TicketCommit::undo() {
  Result<> all;
  for (const auto& volume : plan_.volumes) {
    const auto record = catalogue_.find(volume.target);
    if (!record) continue;
    Result<> done;
    if (volume.is_update())
      done = catalogue_.drop_update(volume.target);
    else if (record->import.is_object() && record->import.value("ticket", "") == ticket_)
      done = catalogue_.remove(volume.target);
    if (!done && all) all = done;
  }
  return all;
}

}  // namespace ferry::migration
