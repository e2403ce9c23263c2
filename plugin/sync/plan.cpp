#include "sync/plan.h"

#include "sync/state_file.h"

namespace ferry::sync {

namespace {

constexpr std::uint8_t kind_begin = 16;  // the manifest's records have kinds of their own
constexpr std::uint8_t kind_entry = 17;
constexpr std::uint8_t kind_removal = 18;
constexpr std::uint8_t kind_patch = 19;
constexpr std::uint64_t format = 1;
constexpr std::size_t longest_name = 255;
constexpr std::size_t longest_patch = 1U << 20;

enum Flag : std::uint8_t { flag_stable = 1, flag_seen = 2 };  // plans of earlier versions have none that was seen

std::string record_of(std::uint32_t index, const Plan::Entry& entry) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_entry);
  writer.number(index);
  writer.byte(static_cast<std::uint8_t>(entry.step));
  writer.byte(static_cast<std::uint8_t>((entry.stable ? flag_stable : 0) | (entry.seen.known() ? flag_seen : 0)));
  writer.digest(entry.digest);
  if (!entry.seen.known()) return body;
  writer.number(entry.seen.inode);
  writer.number(entry.seen.ctime_ns);
  return body;
}

std::string record_of(const Plan::Removal& removal) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_removal);
  writer.number(removal.directory);
  writer.string(removal.name);
  return body;
}

std::string record_of(const Plan::FilePatch& patch) {
  std::string body;
  Writer writer(body);
  writer.byte(kind_patch);
  writer.number(patch.entry);
  writer.number(patch.extent);
  writer.string(*patch.patch);
  return body;
}

/// Puts together what record_of() took apart. The manifest comes before the rest.
class PlanReader {
 public:
  Result<> record(std::string_view body) {
    Reader reader(body);
    switch (reader.byte()) {
      case kind_begin:
        FERRY_TRY(check(reader.number() == format));
        plan_.splits_inodes = reader.byte() != 0;
        return check(reader.at_end());
      case kind_entry: return entry(reader);
      case kind_removal:
        plan_.removals.push_back({reader.number32(), std::string(reader.string(longest_name))});
        return check(reader.at_end());
      case kind_patch:
        plan_.patches.push_back(
            {reader.number32(), reader.number32(), Rare<std::string>(std::string(reader.string(longest_patch)))});
        return check(reader.at_end());
      default: return manifest_.record(body);
    }
  }

  Result<Plan> finish() {
    FERRY_ASSIGN(plan_.manifest, manifest_.finish());
    const std::size_t count = plan_.manifest.entries.size();
    bool fits = plan_.entries.size() == count;
    for (const auto& removal : plan_.removals) fits = fits && removal.directory < count;
    for (const auto& patch : plan_.patches) fits = fits && patch.entry < count;
    FERRY_TRY(check(fits));
    return std::move(plan_);
  }

 private:
  static Result<> check(bool fits) { return fits ? Result<>() : fail(Code::corrupt, "the update's plan is damaged"); }

  Result<> entry(Reader& reader) {
    const std::uint32_t index = reader.number32();
    Plan::Entry entry;
    const std::uint8_t step = reader.byte();
    entry.step = static_cast<Plan::Step>(step);
    const std::uint8_t flags = reader.byte();
    entry.stable = (flags & flag_stable) != 0;
    entry.digest = reader.digest();
    if ((flags & flag_seen) != 0) entry.seen = {reader.number(), reader.number()};
    FERRY_TRY(check(reader.at_end() && index == plan_.entries.size() &&
                    step <= static_cast<std::uint8_t>(Plan::Step::absent)));
    plan_.entries.push_back(entry);
    return {};
  }

  ManifestDecoder manifest_;
  Plan plan_;
};

}  // namespace

Result<> write_plan(const std::filesystem::path& path, const PlanParts& plan) {
  FERRY_ASSIGN(StateWriter state, StateWriter::create(path));
  std::string begin;
  Writer writer(begin);
  writer.byte(kind_begin);
  writer.number(format);
  writer.byte(plan.splits_inodes ? 1 : 0);
  FERRY_TRY(state.record(begin));
  FERRY_TRY(state.manifest(plan.manifest));
  for (std::uint32_t index = 0; index < plan.manifest.entries.size(); ++index)
    FERRY_TRY(state.record(record_of(index, plan.entry(index))));
  for (const auto& removal : plan.removals) FERRY_TRY(state.record(record_of(removal)));
  for (const auto& patch : plan.patches) FERRY_TRY(state.record(record_of(patch)));
  return state.finish();
}

Result<Plan> read_plan(const std::filesystem::path& path) {
  PlanReader reader;
  FERRY_TRY(read_state(path, [&](std::string_view body) { return reader.record(body); }));
  return reader.finish();
}

}  // namespace ferry::sync
