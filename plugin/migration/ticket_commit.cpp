#include "migration/ticket_commit.h"

#include <algorithm>
#include <utility>

#include "base/files.h"
#include "base/time.h"
#include "migration/handed_off.h"
#include "sync/plan.h"

namespace ferry::migration {

namespace {

/// In the `import` of a volume's record: the ticket of which the plan has been carried out.
constexpr const char* applied_member = "applied";

}  // namespace

Result<> TicketCommit::prepare(const TicketVolume& volume) {
  if (volume.is_update()) {
    if (const auto record = catalogue_.find(volume.target)) FERRY_TRY(check_ours(*record, volume));
    return catalogue_.prepare_update(volume.target);
  }
  volumes::VolumeRecord record;
  record.name = volume.target;
  record.created = now_rfc3339();
  if (const auto there = catalogue_.find(volume.target)) {
    const auto is_for_it = [&](const char* member) {
      return there->import.is_object() && there->import.value(member, "") == ticket_;
    };
    if (is_for_it("ticket")) return {};
    if (is_for_it(made_for))  // so that a container could be made with it, which has filled it from its image
      return catalogue_.empty_for_import(volume.target,
                                         [&](volumes::VolumeRecord& next) { be_imported(next, volume); });
    return fail(Code::already_exists, "there is another volume of that name here now");
  }
  be_imported(record, volume);
  return create_(std::move(record));
}

void TicketCommit::be_imported(volumes::VolumeRecord& record, const TicketVolume& volume) const {
  record.mode = volume.source.mode;
  record.state = volumes::State::importing;
  record.lineage = volume.source.lineage;
  record.epoch = epoch_of(volume);
  if (moves(volume)) record.hand_off = {{"received", plan_.hand_off}};
  record.options = volume.source.options;
  record.labels = volume.source.labels;
  record.labels_pending = true;
  record.import = import_of(plan_, volume, ticket_);
}

Result<std::vector<bool>> TicketCommit::planned() const {
  std::vector<bool> all;
  for (const auto& volume : plan_.volumes) {
    FERRY_ASSIGN(const bool planned, ferry::exists(plan_of(volume)));
    all.push_back(volume.is_update() && planned);
  }
  return all;
}

Result<> TicketCommit::begin_again(const std::string& hand_off) {
  TicketPlan next = plan_;
  next.hand_off_before = next.hand_off;
  next.hand_off = hand_off;
  next.prepared = nullptr;
  next.planned.clear();
  uncertain_ = true;
  FERRY_TRY(store(next));
  uncertain_ = false;
  plan_.hand_off_before = std::exchange(plan_.hand_off, hand_off);  // other threads read the rest
  plan_.prepared = nullptr;
  plan_.planned.clear();
  return {};
}

Result<> TicketCommit::note_failure(const std::string& why) {
  TicketPlan next = plan_;
  next.failing = why;
  FERRY_TRY(store(next));
  plan_.failing = why;
  return {};
}

Result<> TicketCommit::note_pieces(const std::vector<std::uint64_t>& came) {
  TicketPlan next = plan_;
  next.service->came = came;
  FERRY_TRY(store(next));
  plan_.service->came = came;
  return {};
}

Result<> TicketCommit::be_prepared(nlohmann::json outcomes) {
  TicketPlan next = plan_;
  next.prepared = std::move(outcomes);
  FERRY_ASSIGN(next.planned, planned());
  uncertain_ = true;
  FERRY_TRY(store(next));
  uncertain_ = false;
  plan_.prepared = std::move(next.prepared);
  plan_.planned = std::move(next.planned);
  return {};
}

Result<> TicketCommit::check_prepared() const {
  for (std::size_t i = 0; i < plan_.volumes.size(); ++i) {
    const auto& volume = plan_.volumes[i];
    const auto record = catalogue_.find(volume.target);
    const auto& layout = catalogue_.layout();
    const bool is_ours =
        record && (volume.is_update() || (record->import.is_object() && record->import.value("ticket", "") == ticket_));
    const auto place = volume.is_update() ? plan_of(volume) : layout.staging(volume.target);
    const bool expected = !volume.is_update() || (i < plan_.planned.size() && plan_.planned[i]);
    FERRY_ASSIGN(const bool there, ferry::exists(place));
    if (!is_ours || (expected && !there))
      return fail(Code::corrupt, "volume " + volume.target + ": what has come is not there any more: " +
                                     place.string() + "; remove the ticket to leave the volumes where they are");
  }
  return {};
}

Result<> TicketCommit::be_owner() {
  TicketPlan next = plan_;
  next.owned = true;
  FERRY_TRY(store(next));
  plan_.owned = true;
  return {};
}

/// The epoch that a volume has here once it is what has come.
std::uint64_t TicketCommit::epoch_of(const TicketVolume& volume) const {
  return volume.source.epoch + (moves(volume) ? 1 : 0);
}

Result<> TicketCommit::decide(nlohmann::json outcomes) {
  TicketPlan decided = plan_;
  decided.committing = std::move(outcomes);
  decided.prepared = nullptr;
  if (plan_.prepared.is_null()) {
    FERRY_ASSIGN(decided.planned, planned());
  }
  uncertain_ = true;  // what replaces the record may fail after its rename
  FERRY_TRY(store(decided));
  uncertain_ = false;
  plan_.committing = std::move(decided.committing);  // other threads read the rest
  plan_.prepared = nullptr;
  plan_.planned = std::move(decided.planned);
  return {};
}

Result<> TicketCommit::take_back() {
  if (!uncertain_) return {};
  if (is_on_disk()) {
    uncertain_ = false;
    return {};
  }
  if (auto stored = store(plan_); !stored)
    return fail(stored.error().code,
                "it may be recorded that the volumes become what has come, which cannot be taken "
                "back: " +
                    stored.error().message);
  uncertain_ = false;
  return {};
}

/// A full disk does not even let it be written that nothing is decided. But a record is replaced by rename(2), at last:
/// as long as the former one is read the new one was never there, and once the directory is durable it never will be.
bool TicketCommit::is_on_disk() const {
  const auto path = catalogue_.layout().record(ticket_);
  const auto text = read_file(path);
  if (!text || !sync_directory(path.parent_path())) return false;
  const auto record = volumes::decode(*text, ticket_);
  return record && record->import == to_json(plan_);
}

Result<> TicketCommit::confirm() { return store(plan_); }

Result<> TicketCommit::store(const TicketPlan& plan) {
  return catalogue_.update(ticket_, [&](volumes::VolumeRecord& record) { record.import = to_json(plan); });
}

std::filesystem::path TicketCommit::plan_of(const TicketVolume& volume) const {
  return sync::UpdatePaths(catalogue_.layout().update(volume.target)).plan;
}

Result<> TicketCommit::commit(std::size_t number) {
  const auto& volume = plan_.volumes[number];
  return volume.is_update() ? commit_update(number) : commit_new(volume, plan_.committing[number]);
}

Result<> TicketCommit::commit_new(const TicketVolume& volume, const nlohmann::json& status) {
  const auto record = catalogue_.find(volume.target);
  if (record && record->state == volumes::State::ready) return {};
  return catalogue_.commit_staging(volume.target, [&](volumes::VolumeRecord& next) {
    next.state = volumes::State::ready;
    next.migration = status;
    if (moves(volume)) next.hand_off = {{"received", plan_.hand_off}};  // it may have begun as another one
  });
}

/// While the record says importing, nobody can mount it, whatever of it is old or new. The plan, of which there is none
/// if nothing differs, goes before that ends: once it can be mounted it must not be applied again.
Result<> TicketCommit::commit_update(std::size_t number) {
  const auto& volume = plan_.volumes[number];
  const auto& status = plan_.committing[number];
  const auto record = catalogue_.find(volume.target);
  const bool done = record && record->state == volumes::State::ready && record->migration == status;
  FERRY_ASSIGN(const bool has_plan, ferry::exists(plan_of(volume)));
  if (!done && !is_applied(volume)) {
    if (has_plan) FERRY_TRY(apply(volume));
    const bool expected = !plan_.planned.empty() && plan_.planned[number];
    if (!has_plan && expected)
      return fail(Code::corrupt, "what was to be done to it is not there any more: " + plan_of(volume).string());
  }
  FERRY_TRY(catalogue_.drop_update(volume.target));
  return finish_update(volume, status);
}

Result<> TicketCommit::apply(const TicketVolume& volume) {
  const auto& layout = catalogue_.layout();
  if (const auto record = catalogue_.find(volume.target)) FERRY_TRY(check_ours(*record, volume));
  FERRY_TRY(catalogue_.update(volume.target, [&](volumes::VolumeRecord& record) {
    record.state = volumes::State::importing;
    record.import = import_of(plan_, volume, ticket_);  // or it would be taken for an import of its own
  }));
  FERRY_TRY(sync::apply_plan(layout.update(volume.target), layout.data(volume.target), layout.baseline(volume.target)));
  return catalogue_.update(volume.target,
                           [&](volumes::VolumeRecord& record) { record.import[applied_member] = ticket_; });
}

/// So that a plan that is not there any more can be told from one that was lost.
bool TicketCommit::is_applied(const TicketVolume& volume) const {
  const auto record = catalogue_.find(volume.target);
  return record && record->state == volumes::State::importing && record->import.is_object() &&
         record->import.value(applied_member, "") == ticket_;
}

/// What was handed off meanwhile is nobody's to change but who takes it over, from the one that has it.
Result<> TicketCommit::check_ours(const volumes::VolumeRecord& record, const TicketVolume& volume) const {
  if (record.state != volumes::State::handed_off) return {};
  if (moves(volume) && volume.source.epoch >= record.hand_off.value("epoch", std::uint64_t{0})) return {};
  return tl::unexpected(explain_handed_off(record));
}

Result<> TicketCommit::finish_update(const TicketVolume& volume, const nlohmann::json& status) {
  const auto current = catalogue_.find(volume.target);
  if (!current || (current->state == volumes::State::ready && current->migration == status)) return {};
  FERRY_TRY(check_ours(*current, volume));
  return catalogue_.update(volume.target, [&](volumes::VolumeRecord& record) {
    const auto& source = volume.source;
    record.state = volumes::State::ready;
    record.mode = source.mode;
    // A copy changes no ownership, so it must not make an owner older. But another volume's place has no history.
    const bool is_other = volume.action == "replace";
    record.epoch = moves(volume) ? epoch_of(volume) : is_other ? source.epoch : std::max(record.epoch, source.epoch);
    if (moves(volume))
      record.hand_off = {{"received", plan_.hand_off}};
    else if (is_other)
      record.hand_off = nullptr;
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
  FERRY_TRY(take_back());
  Result<> all;
  for (const auto& volume : plan_.volumes) {
    const auto record = catalogue_.find(volume.target);
    if (!record) continue;
    Result<> done;
    if (volume.is_update())
      done = catalogue_.drop_update(volume.target);
    else if (record->import.is_object() &&
             (record->import.value("ticket", "") == ticket_ || record->import.value(made_for, "") == ticket_))
      done = catalogue_.remove(volume.target);
    if (!done && all) all = done;
  }
  return all;
}

}  // namespace ferry::migration
