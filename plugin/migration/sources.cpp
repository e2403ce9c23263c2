#include "migration/sources.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "base/files.h"
#include "base/log.h"
#include "base/time.h"
#include "engine/containers.h"
#include "migration/handed_off.h"
#include "migration/label_keeper.h"
#include "sync/measure.h"
#include "volumes/mount_table.h"

namespace ferry::migration {

namespace fs = std::filesystem;

namespace {

constexpr std::chrono::milliseconds measure_time{1000};
constexpr std::chrono::milliseconds certainty_time{1000};

/// Options with which the local driver mounts something at the volume's directory (moby volume/local): this process
/// would see the empty directory below that mount.
bool is_mount(const volumes::StringMap& options) { return options.contains("device") || options.contains("type"); }

/// 0 if there is nothing.
std::uint64_t inode_of(const fs::path& path) {
  struct stat info {};
  return ::lstat(path.c_str(), &info) == 0 ? info.st_ino : 0;
}

/// Which directory it is: one that is made at the same place later has another inode or another time of birth.
std::string instance_of(const fs::path& path) {
  struct statx info {};
  if (::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &info) != 0) return {};
  if ((info.stx_mask & STATX_INO) == 0) return {};
  std::string instance = std::to_string(info.stx_ino);
  if ((info.stx_mask & STATX_BTIME) != 0)
    instance += "-" + std::to_string(info.stx_btime.tv_sec) + "." + std::to_string(info.stx_btime.tv_nsec);
  return instance;
}

bool holds_nothing(const fs::path& directory) {
  std::error_code failed;
  return fs::is_empty(directory, failed) && !failed;
}

}  // namespace

Result<Sources::Located> Sources::locate(const std::string& volume) const {
  const auto record = catalogue_.find(volume);
  if (!record) return locate_local(volume);
  if (record->kind == volumes::Kind::ticket)
    return fail(Code::not_found, volume + " is a ticket, which has no content; name the volumes that it brought");
  if (record->state == volumes::State::handed_off) return tl::unexpected(explain_handed_off(*record));
  if (record->state != volumes::State::ready)
    return fail(Code::busy, "volume " + volume + " cannot be migrated: it is " + std::string(to_string(record->state)));
  Located located;
  located.path = catalogue_.layout().data(volume);
  auto& description = located.description;
  description.volume = volume;
  description.driver = "ferry";
  description.lineage = record->lineage;
  description.epoch = record->epoch;
  description.mode = record->mode;
  description.owner = is_owner(*record);
  describe_registration(*record, description);
  return located;
}

/// Labels and options as the Engine shows them or, while they wait to be registered, will show them.
void Sources::describe_registration(const volumes::VolumeRecord& record, VolumeDescription& description) const {
  if (record.reregistration) {
    description.labels = record.reregistration->labels;
    description.options = record.reregistration->options;
    return;
  }
  engine::VolumeFacts facts = tracker_.facts(record.name);
  if (auto known = client_.volume(record.name)) {
    facts.labels = std::move(known->labels);
    facts.options = std::move(known->options);
  }
  description.labels_known = facts.labels.has_value() || record.labels_pending;
  description.labels = facts.labels.value_or(volumes::StringMap{});
  description.options = facts.options.value_or(record.options);
  if (!record.labels_pending) return;
  description.labels = LabelKeeper::wanted_labels(record, description.labels);
  description.options = LabelKeeper::wanted_options(record, description.options);
}

Result<Sources::Located> Sources::locate_local(const std::string& volume) const {
  auto known = client_.volume(volume);
  if (!known && known.error().code == Code::not_found) return fail(Code::not_found, "no volume named " + volume);
  if (!known)
    return fail(Code::unavailable, "no Ferry volume is named " + volume +
                                       ", and the Docker Engine cannot be asked for others: " + known.error().message);
  if (known->driver != "local")
    return fail(Code::unsupported, "volume " + volume + " belongs to the driver " + quote(known->driver) +
                                       "; Ferry moves its own volumes and those of the local driver");
  if (is_mount(known->options))
    return fail(Code::unsupported, "volume " + volume +
                                       " is a mount that the local driver makes (options type and device); "
                                       "Ferry cannot see into it, copy its source instead");
  Located located;
  FERRY_ASSIGN(located.path, visible_path(known->mountpoint));
  located.description.volume = volume;
  located.description.driver = "local";
  located.description.instance = instance_of(located.path);
  located.description.labels = std::move(known->labels);
  located.description.options = std::move(known->options);
  return located;
}

Result<fs::path> Sources::local_path(const std::string& volume) const {
  FERRY_ASSIGN(const auto located, locate_local(volume));
  return located.path;
}

Result<fs::path> Sources::visible_path(const std::string& path) const {
  FERRY_ASSIGN(const std::string root, client_.data_root());
  const auto id = volumes::plugin_id(propagated_.string());
  if (!id || !fs::exists(data_ / "plugins" / *id))
    return fail(
        Code::unsupported,
        "what is in the Engine's data root " + root +
            " cannot be read: it is not the plugin's mount `data`; see `docker plugin set ferry data.source=…`");
  const auto relative = fs::path(path).lexically_relative(root);
  if (relative.empty() || *relative.begin() == "..")
    return fail(Code::unsupported, path + " is not below the Engine's data root " + root);
  return data_ / relative;
}

bool Sources::sees(const std::string& path) const {
  const auto visible = visible_path(path);
  std::error_code error;
  return visible && fs::exists(*visible, error);
}

/// Whether a running container may write to the volume now; with Freeze::refuse that is an error.
Result<bool> Sources::has_writer(const std::string& volume, Freeze freeze) const {
  const auto help = "; stop it, or pass -o freeze=none for a copy that may be torn";
  const auto writer = find_writer(volume, after(certainty_time));
  if (!writer) {
    if (mounts_.mountpoint(volume).empty()) return false;
    if (freeze != Freeze::refuse) return true;
    return fail(Code::busy,
                "volume " + volume + " is mounted, and without the Docker Engine Ferry cannot tell by whom" + help);
  }
  if (writer->empty()) return false;
  if (freeze != Freeze::refuse) return true;
  return fail(Code::busy, "volume " + volume + " is mounted read-write by the running container " + *writer + help);
}

/// The name of a running container that has the volume mounted read-write; empty if there is none. Events tell of a
/// mount some 0.1 s before the Engine lists its container as running, and of its end some time after the Engine lists
/// it as stopped: what only they know is looked at again until both agree or the deadline has passed.
Result<std::string> Sources::find_writer(const std::string& volume, Deadline deadline) const {
  const auto find = [&](const std::vector<engine::ContainerMount>& mounts) {
    const auto writer = std::find_if(mounts.begin(), mounts.end(), [&](const engine::ContainerMount& mount) {
      return mount.volume == volume && mount.rw && mount.running;
    });
    return writer == mounts.end() ? std::string() : writer->container;
  };
  while (true) {
    FERRY_ASSIGN(const auto mounts, client_.container_mounts());
    if (auto listed = find(mounts); !listed.empty()) return listed;
    auto told = tracker_.connected() ? find(tracker_.facts(volume).mounts) : std::string();
    if (told.empty() || SteadyClock::now() > deadline) return told;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Result<bool> Sources::has_engine() const { return ferry::exists(client_.socket()); }

Result<VolumeDescription> Sources::describe(const std::string& volume, Freeze freeze, std::uint64_t room) const {
  FERRY_ASSIGN(Located located, locate(volume));
  FERRY_TRY(has_writer(volume, freeze));
  FERRY_ASSIGN(const Fd root, open_at(AT_FDCWD, located.path.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  FERRY_ASSIGN(const std::uint64_t most, sync::used_bytes(root.get()));
  if (most > room) located.description.bytes = sync::measure(root.get(), after(measure_time));
  return std::move(located.description);
}

Result<std::unique_ptr<OpenVolume>> Sources::open(const std::string& volume, Freeze freeze, bool frozen) const {
  const std::uint64_t mark = tracker_.mark();
  const std::int64_t now = realtime_ns();
  FERRY_ASSIGN(const Located located, locate(volume));
  FERRY_ASSIGN(const bool written, frozen ? Result<bool>(false) : has_writer(volume, freeze));
  FERRY_ASSIGN(Fd root, open_at(AT_FDCWD, located.path.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  const std::uint64_t inode = inode_of(located.path);
  std::shared_ptr<const sync::Baseline> baseline;
  if (located.description.driver == "ferry")
    if (auto known = sync::read_baseline(catalogue_.layout().baseline(volume)))
      baseline = std::make_shared<const sync::Baseline>(std::move(*known));
  return std::unique_ptr<OpenVolume>(new OpenVolume{
      volume, located.path, located.description.driver == "local", inode, mark, now, written, frozen,
      sync::Sender(std::move(root), {catalogue_.uuid(), located.description.lineage}, std::move(baseline))});
}

Result<std::unique_ptr<OpenVolume>> Sources::open_layer(const std::string& name, Freeze freeze) const {
  const auto container = engine::Containers(client_).container(name);
  if (!container && container.error().code == Code::not_found)
    return fail(Code::not_found, "there is no container " + quote(name));
  if (!container) return tl::unexpected(container.error());
  if (container->running && freeze == Freeze::refuse)
    return fail(Code::busy, "container " + container->name + " runs, so its layer may change while it is read");
  // Others have their own marks for what is gone: fuse-overlayfs, or overlay2 below a user namespace.
  if (container->upper.empty() || container->store != "overlay2")
    return fail(Code::unsupported, "the Docker Engine does not tell where the layer of container " + container->name +
                                       " is (it keeps layers in " + container->store + ")");
  FERRY_ASSIGN(const fs::path path, visible_path(container->upper));
  FERRY_ASSIGN(Fd root, open_at(AT_FDCWD, path.string(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  return std::unique_ptr<OpenVolume>(
      new OpenVolume{"", path, false, inode_of(path), 0, realtime_ns(), container->running, false,
                     sync::Sender(std::move(root), {catalogue_.uuid(), ""}, nullptr, sync::TreeKind::overlay_upper),
                     container->id, container->started});
}

Result<sync::Seal> Sources::seal(const OpenVolume& volume, bool unchanged) const {
  const bool is_layer = !volume.container.empty();
  const std::string what = is_layer ? "the container whose layer is read" : "volume " + volume.volume;
  sync::Seal seal;
  if (!unchanged) seal = volume.sender.seal();
  // A removed volume is emptied in the trash: what the round has found of it is no copy of anything.
  if (inode_of(volume.path) != volume.inode) return fail(Code::not_found, what + " was removed while it was read");
  FERRY_TRY(is_layer ? add_runs(volume, seal) : add_writers(volume, seal));
  return seal;
}

/// Whether the container has run while its layer was read.
Result<> Sources::add_runs(const OpenVolume& layer, sync::Seal& seal) const {
  FERRY_ASSIGN(const auto container, engine::Containers(client_).container(layer.container));
  const bool ran = layer.written_at_open || container.running || container.started != layer.started;
  seal.consistency = ran ? "live" : "idle";
  if (ran) seal.warning = "the container ran while its layer was copied: it may be torn";
  return {};
}

/// Whether anybody may have written to the volume.
Result<> Sources::add_writers(const OpenVolume& volume, sync::Seal& seal) const {
  if (const auto record = catalogue_.find(volume.volume);
      !volume.local && (!record || record->state != volumes::State::ready))
    return fail(Code::unavailable, "volume " + volume.volume + " is being updated on that host");
  const auto began = tracker_.mount_rw_began_since(volume.volume, volume.mark, volume.opened_ns);
  switch (volume.written_at_open ? engine::Mounted::yes : began) {
    case engine::Mounted::no: seal.consistency = volume.frozen ? "frozen" : "idle"; break;
    case engine::Mounted::yes:
      seal.consistency = "live";
      seal.warning = "a container had the source mounted read-write during the copy: it may be torn";
      break;
    case engine::Mounted::unknown:
      seal.consistency = "live";
      seal.warning = "the source's Docker Engine could not be asked who had the volume mounted: the copy may be torn";
      break;
  }
  if (seal.warning.empty() && volume.local && holds_nothing(volume.path))
    seal.warning =
        "the source is empty as far as Ferry can see: it does not see what was mounted there after the plugin "
        "was enabled on that host";
  return {};
}

}  // namespace ferry::migration
