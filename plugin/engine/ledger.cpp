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

bool writes(const ContainerMount& mount) { return mount.rw && mount.running; }

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
  if (connected) {
    known_since_ = ++now_;
    return;
  }
  for (const auto& [volume, mounts] : listed_)
    if (rw_now(volume)) note_rw(volume);
  for (const auto& [key, mounts] : announced_)
    if (rw_now(key.first)) note_rw(key.first);
}

Ledger::Stale Ledger::apply(const Event& event) {
  if (event.type == "volume") {
    if (event.action == "mount") add_mount(event);
    if (event.action == "unmount") end_mounts(event.id, attribute(event, "container"));
    const bool listing = event.action == "create" || event.action == "destroy";
    return {.volumes = listing, .containers = !listing};
  }
  if (event.type != "container") return {};
  if (event.action == "die" || event.action == "destroy") end_mounts_of_container(event.id);
  return {.containers = true};
}

void Ledger::add_mount(const Event& event) {
  if (attribute(event, "read/write") != "false") {
    auto& last = last_rw_mount_[event.id];
    last = std::max(last, event.time_ns);
    if (last_rw_mount_.size() > most_remembered) last_rw_mount_.erase(last_rw_mount_.begin());
  }
  const std::string container = attribute(event, "container");
  merge(announced_[{event.id, container}], {.container = container.substr(0, 12),
                                            .container_id = container,
                                            .volume = event.id,
                                            .destination = attribute(event, "destination"),
                                            .rw = attribute(event, "read/write") != "false",
                                            .running = true});
}

void Ledger::end_mounts(const std::string& volume, const std::string& container_id) {
  if (rw_now(volume)) note_rw(volume);
  announced_.erase({volume, container_id});
}

void Ledger::end_mounts_of_container(const std::string& container_id) {
  for (auto entry = announced_.begin(); entry != announced_.end();) {
    const auto& [volume, container] = entry->first;
    if (container == container_id && rw_now(volume)) note_rw(volume);
    entry = container == container_id ? announced_.erase(entry) : std::next(entry);
  }
}

bool Ledger::set_volumes(const std::vector<Volume>& volumes) {
  std::map<std::string, Volume> listed;
  for (const auto& volume : volumes) listed.emplace(volume.name, volume);
  const bool changed = listed != volumes_;
  volumes_ = std::move(listed);
  return changed;
}

bool Ledger::set_mounts(const std::vector<ContainerMount>& mounts) {
  if (connected_)
    for (const auto& [volume, old] : listed_)
      if (rw_now(volume)) note_rw(volume);
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

Mounted Ledger::mounted_rw_since(const std::string& volume, Mark mark) const {
  const auto seen = last_rw_.find(volume);
  if (seen != last_rw_.end() && seen->second >= mark) return Mounted::yes;
  if (!connected_) return Mounted::unknown;
  if (rw_now(volume)) return Mounted::yes;
  return mark < known_since_ ? Mounted::unknown : Mounted::no;
}

Mounted Ledger::mount_rw_began_since(const std::string& volume, Mark mark, std::int64_t time_ns) const {
  const auto last = last_rw_mount_.find(volume);
  if (last != last_rw_mount_.end() && last->second >= time_ns) return Mounted::yes;
  return connected_ && mark >= known_since_ ? Mounted::no : Mounted::unknown;
}

bool Ledger::rw_now(const std::string& volume) const {
  const auto listed = listed_.find(volume);
  if (listed != listed_.end() && std::any_of(listed->second.begin(), listed->second.end(), writes)) return true;
  for (auto entry = announced_.lower_bound({volume, ""}); entry != announced_.end(); ++entry) {
    if (entry->first.first != volume) break;
    if (std::any_of(entry->second.begin(), entry->second.end(), writes)) return true;
  }
  return false;
}

void Ledger::note_rw(const std::string& volume) {
  last_rw_[volume] = now_;
  if (last_rw_.size() <= most_remembered) return;
  const auto older = [](const auto& a, const auto& b) { return a.second < b.second; };
  const auto oldest = std::min_element(last_rw_.begin(), last_rw_.end(), older);
  known_since_ = std::max(known_since_, oldest->second + 1);
  last_rw_.erase(oldest);
}

}  // namespace ferry::engine
