#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "base/fd.h"
#include "engine/client.h"
#include "engine/tracker.h"
#include "migration/peer.h"
#include "sync/sender.h"
#include "volumes/catalogue.h"
#include "volumes/mounts.h"

namespace ferry::migration {

/// A volume of this host, or the writable layer of a container, while a peer reads it.
struct OpenVolume {
  std::string volume;  ///< empty: a layer
  std::filesystem::path path;
  bool local = false;            ///< it belongs to the `local` driver
  std::uint64_t inode = 0;       ///< of the directory that was opened at `path`
  std::uint64_t mark = 0;        ///< of the tracker, when it was opened
  std::int64_t opened_ns = 0;    ///< CLOCK_REALTIME then
  bool written_at_open = false;  ///< a running container had it mounted read-write then
  bool frozen = false;           ///< those that have it stand still
  sync::Sender sender;
  std::string container{};  ///< of a layer: ID of its container
  std::string started{};    ///< and engine::Container::started, when it was opened
};

/// The volumes of this host, Ferry's and the `local` driver's, and the writable layers of its containers, as sources of
/// migrations. Thread-safe.
class Sources {
 public:
  /// The references must outlive this object. `data` is where this process sees the Engine's data root.
  Sources(const volumes::Catalogue& catalogue, const volumes::Mounts& mounts, engine::Client& client,
          const engine::Tracker& tracker, std::filesystem::path data, std::filesystem::path propagated)
      : catalogue_(catalogue),
        mounts_(mounts),
        client_(client),
        tracker_(tracker),
        data_(std::move(data)),
        propagated_(std::move(propagated)) {}

  /// Code::not_found: no such volume; busy: it is mounted read-write (Freeze::refuse) or not complete; unsupported: it
  /// belongs to another driver, or is a mount that a plugin cannot see.
  /// `room`: see Peer::describe.
  Result<VolumeDescription> describe(const std::string& volume, Freeze freeze, std::uint64_t room) const;
  /// `frozen`: whoever writes to it stands still, see Freezes.
  Result<std::unique_ptr<OpenVolume>> open(const std::string& volume, Freeze freeze, bool frozen = false) const;
  /// What the container has changed of its image, as the upper directory of an overlay (sync::TreeKind).
  /// Code::not_found: no such container; busy: it runs (Freeze::refuse); unsupported: a plugin cannot see the layer.
  Result<std::unique_ptr<OpenVolume>> open_layer(const std::string& container, Freeze freeze) const;

  /// Whether there is an Engine's socket.
  Result<bool> has_engine() const;
  /// Where this process sees a path of the host below the Engine's data root. Code::unsupported: nowhere.
  Result<std::filesystem::path> visible_path(const std::string& path) const;
  /// Where this process sees the content of a volume of the local driver. Errors as of describe().
  Result<std::filesystem::path> local_path(const std::string& volume) const;
  /// Whether this process can read what is at that path of the host.
  bool sees(const std::string& path) const;

  /// Ends a round: how much of the volume has changed (nothing, if that is known), and whether anybody may have written
  /// to it since it was opened.
  Result<sync::Seal> seal(const OpenVolume& volume, bool unchanged) const;

 private:
  struct Located {
    VolumeDescription description;
    std::filesystem::path path;
  };
  Result<Located> locate(const std::string& volume) const;
  Result<Located> locate_local(const std::string& volume) const;
  void describe_registration(const volumes::VolumeRecord& record, VolumeDescription& description) const;
  Result<bool> has_writer(const std::string& volume, Freeze freeze) const;
  Result<std::string> find_writer(const std::string& volume, Deadline deadline) const;
  Result<> add_writers(const OpenVolume& volume, sync::Seal& seal) const;
  Result<> add_runs(const OpenVolume& layer, sync::Seal& seal) const;

  const volumes::Catalogue& catalogue_;
  const volumes::Mounts& mounts_;
  engine::Client& client_;
  const engine::Tracker& tracker_;
  const std::filesystem::path data_;
  const std::filesystem::path propagated_;
};

}  // namespace ferry::migration
