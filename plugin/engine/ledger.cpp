#include "engine/ledger.h"

#include <algorithm>

namespace ferry::engine {

namespace {

/// Bounds the memory for volumes that are gone; beyond it the oldest knowledge is given up.
constexpr std::size_t most_remembered = 4096;

const std::string& attribute(const Event& event, const char* name) {
  static const std::string none;
  const auto found = event.attributes.find(name);
  return found == event.attributes.end() ? none : found->second;
}

/// Adds a mount known from its event to the listed ones, which may show it as not running yet, or not at all.
void merge(std::vector<ContainerMount>& mounts, const ContainerMount& announced) {
  const auto same = std::find_if(mounts.begin(), mounts.end(), [&](const auto& mount) {
    return mount.container_id == announced.container_id && mount.destination == announced.destination;
  });
  if (same == mounts.end())
    mounts.push_back(announced);
  else
    same->running = true;
}

}  // namespace

void Ledger::begin() { announced_.clear(); }

void Ledger::set_connected(bool connected) {
  if (connected == connected_) return;
  connected_ = connected;
  if (connected) known_since_ = ++now_;
}

Ledger::Stale Ledger::apply(const Event& event) {
  if (event.type == "volume") {
    if (event.action == "mount") add_mount(event);
    if (event.action == "unmount") end_mounts(event.id, attribute(event, "container"));
    if (event.action == "destroy") forget(event.id);
    const bool listing = event.action == "create" || event.action == "destroy";
    return {.volumes = listing, .containers = !listing};
  }
  // The Engine lists no volume of a plugin that is not enabled, and this one runs before it counts as enabled.
  if (event.type == "plugin") return {.volumes = true};
  if (event.type != "container") return {};
  if (event.action == "die" || event.action == "destroy") end_mounts_of_container(event.id);
  return {.containers = true};
}

/// Another one of that name must not be shown with this one's labels.
void Ledger::forget(const std::string& volume) {
  volumes_.erase(volume);
  destroyed_.insert(volume);
}

void Ledger::add_mount(const Event& event) {
  if (attribute(event, "read/write") != "false")
    note_rw_mount(event.id, event.time_ns == 0 ? INT64_MAX : event.time_ns);
  const std::string container = attribute(event, "container");
  merge(announced_[{event.id, container}], {.container = container.substr(0, 12),
                                            .container_id = container,
                                            .volume = event.id,
                                            .destination = attribute(event, "destination"),
                                            .rw = attribute(event, "read/write") != "false",
                                            .running = true});
}

void Ledger::end_mounts(const std::string& volume, const std::string& container_id) {
  announced_.erase({volume, container_id});
}

void Ledger::end_mounts_of_container(const std::string& container_id) {
  std::erase_if(announced_, [&](const auto& entry) { return entry.first.second == container_id; });
}

bool Ledger::set_volumes(const std::vector<Volume>& volumes) {
  std::map<std::string, Volume> listed;
  for (const auto& volume : volumes)
    if (!destroyed_.contains(volume.name)) listed.emplace(volume.name, volume);
  const bool changed = listed != volumes_;
  volumes_ = std::move(listed);
  return changed;
}

bool Ledger::set_mounts(const std::vector<ContainerMount>& mounts) {
  Mounts listed;
  for (const auto& mount : mounts) listed[mount.volume].push_back(mount);
  const bool changed = listed != listed_;
  listed_ = std::move(listed);
  return changed;
}

VolumeFacts Ledger::facts(const std::string& volume) const {
  VolumeFacts facts;
  if (const auto known = volumes_.find(volume); known != volumes_.end()) {
    facts.labels = known->second.labels;
    facts.options = known->second.options;
  }
  if (const auto listed = listed_.find(volume); listed != listed_.end()) facts.mounts = listed->second;
  for (auto entry = announced_.lower_bound({volume, ""}); entry != announced_.end(); ++entry) {
    if (entry->first.first != volume) break;
    for (const auto& mount : entry->second) merge(facts.mounts, mount);
  }
  return facts;
}

Mounted Ledger::mount_rw_began_since(const std::string& volume, Mark mark, std::int64_t time_ns) const {
  const auto last = last_rw_mount_.find(volume);
  if (last != last_rw_mount_.end() && last->second >= time_ns) return Mounted::yes;
  const bool known = connected_ && mark >= known_since_ && time_ns > rw_mounts_forgotten_until_;
  return known ? Mounted::no : Mounted::unknown;
}

void Ledger::note_rw_mount(const std::string& volume, std::int64_t time_ns) {
  auto& last = last_rw_mount_[volume];
  last = std::max(last, time_ns);
  if (last_rw_mount_.size() <= most_remembered) return;
  const auto older = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto oldest = std::min_element(last_rw_mount_.begin(), last_rw_mount_.end(), older);
  rw_mounts_forgotten_until_ = std::max(rw_mounts_forgotten_until_, oldest->second);
  last_rw_mount_.erase(oldest);
}

}  // namespace ferry::engine
