#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/keyed_mutex.h"
#include "base/result.h"
#include "volumes/layout.h"
#include "volumes/record.h"

namespace ferry::volumes {

/// Every volume that this host's Ferry has, in memory and, before a change is visible, durably on disk.
///
/// Thread-safe. Reads are served from memory and never wait for I/O; changes of one volume are serialised, changes of
/// different volumes are not. A crash at any instant leaves the old or the new state of a volume.
class Catalogue {
 public:
  using Snapshot = std::shared_ptr<const VolumeRecord>;

  /// Takes the lock of the data directory (Code::busy if another process has it), creates what is missing, finishes or
  /// undoes what a crash interrupted, and loads every record. A record that means nothing is moved to quarantine/; its
  /// volume, as one whose record cannot be read or is of a later format or whose data is missing (these records stay),
  /// is listed as State::quarantined. Fails, instead of starting empty, if the directories cannot be read or hold a
  /// format of another version.
  static Result<std::unique_ptr<Catalogue>> open(const Layout& layout);

  const Layout& layout() const { return layout_; }
  /// Identifies this catalogue, and with it the host's Ferry, for ever.
  const std::string& uuid() const { return uuid_; }

  Snapshot find(const std::string& name) const;  ///< nullptr: no such volume
  std::vector<Snapshot> list() const;
  std::size_t size() const;

  /// Adds a volume with an empty data directory (an importing one: with an empty staging directory; a ticket: without).
  /// Code::already_exists if the name is taken. After an error there is nothing of it, unless the machine goes down
  /// before the disk takes that: the volume may then be there, empty.
  Result<> create(VolumeRecord record);

  /// Adds an importing volume with the staging and journal of the orphan `id`; see orphan().
  Result<> adopt(VolumeRecord record, const std::string& id);

  /// Applies `change` to the record. Code::not_found if the volume has gone.
  Result<> update(const std::string& name, const std::function<void(VolumeRecord&)>& change);

  /// Makes staging/ the content of an importing volume: the one instant at which an import becomes visible. `change`
  /// must set the state ready; it is durable before the rename, so that a crash in between is finished by open(). After
  /// an error the record is what it was, unless the disk does not even take that; it may be repeated.
  Result<> commit_staging(const std::string& name, const std::function<void(VolumeRecord&)>& change);

  /// Gives a failed import an empty staging directory again, and applies `change`, which must set the state importing.
  Result<> restart_import(const std::string& name, const std::function<void(VolumeRecord&)>& change);

  /// Makes the directories of an update of a ready volume, or keeps what is there of one that was interrupted.
  Result<> prepare_update(const std::string& name);

  /// Leaves the update's directory to the trash, at one instant, durably: what was received before it is decided upon,
  /// what is left over after it was applied.
  Result<> drop_update(const std::string& name);

  /// Makes a ready volume of which nothing has any value one that is imported: its data goes to the trash, and it gets
  /// an empty staging directory. Applies `change`, which must set the state importing. A crash leaves a volume that is
  /// ready, and empty perhaps. Code::not_found; busy: it is not ready.
  Result<> empty_for_import(const std::string& name, const std::function<void(VolumeRecord&)>& change);

  /// Deletes staging and journal of an import that has failed, until `*stop` is set (Code::cancelled; open() then
  /// leaves the rest to the trash). First of all staging loses its name, so that nothing can take a part of it for the
  /// whole.
  Result<> drop_staging(const std::string& name, const std::atomic<bool>* stop);

  /// Removes the volume from the catalogue, durably, and leaves its files to the trash (a quarantined one's to
  /// quarantine/). Code::not_found if there is none.
  Result<> remove(const std::string& name);

  /// As remove, but keeps staging and record as orphans/ID and returns ID.
  Result<std::string> orphan(const std::string& name);

  /// Records of the orphans that can still be adopted, by ID.
  Result<std::map<std::string, VolumeRecord>> orphans() const;

 private:
  Catalogue(Layout layout, Fd lock) : layout_(std::move(layout)), lock_(std::move(lock)) {}
  Result<> load();
  Result<> load_identity();
  Result<> load_volume(const std::string& name);
  Result<> quarantine_record(const std::string& name, const std::string& reason);
  void list_quarantined(const std::string& name, const std::string& reason);
  using WriteRecord = Result<> (*)(const std::filesystem::path& path, std::string_view content, mode_t mode);
  Result<> install(VolumeRecord record, const std::filesystem::path& directory, WriteRecord write);
  Result<> store(const VolumeRecord& record);
  Result<> finish_commit(const VolumeRecord& record);
  Result<> finish_failure(const VolumeRecord& record);
  Result<> move_out(const std::string& name, const std::filesystem::path& destination);
  void publish(VolumeRecord record);

  const Layout layout_;
  const Fd lock_;     // constant after construction
  std::string uuid_;  // constant after open()
  KeyedMutex names_;  // held while a volume's files change; never while mutex_ is held
  mutable std::mutex mutex_;
  std::map<std::string, Snapshot> records_;  // protected by mutex_
};

}  // namespace ferry::volumes
