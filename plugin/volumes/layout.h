#pragma once

#include <cstddef>
#include <filesystem>
#include <string>

namespace ferry::volumes {

/// The sole authority for names on disk. Everything lies below `<data-root>/ferry`:
///
///     catalogue.json            format and UUID of this catalogue
///     lock                      flock(2)ed by the one process that may use the directory
///     key                       the pre-shared key of the peers
///     frozen/ID                 containers that stand still for a copy, until they run again
///     unwanted                  IDs of the moves of services that this host's user has ended, the last ones, by line
///     volumes/NAME/record.json  what is known of the volume
///     volumes/NAME/data/        its content; what containers see
///     volumes/NAME/staging/     an import that is under way; becomes data/ by rename(2)
///     volumes/NAME/journal      what of staging/ is complete and durable
///     volumes/NAME/baseline     what the volume was when it was last copied from elsewhere
///     volumes/NAME/baseline.index   where in it other imports may find content
///     volumes/NAME/update/      an update that is under way; see sync/plan.h
///     volumes/NAME/dropped/     staging of an import that has failed, which is being deleted
///     volumes/NAME/local-N/     of a ticket: its own staging/, journal and baseline, for a volume of the local driver
///     incoming/ID/              a volume that is being created; becomes volumes/NAME by rename(2)
///     trash/SECONDS-ID/         removed volumes, deleted in the background; SECONDS is the Unix time of removal
///     quarantine/               records that could not be read, and volumes removed in that state; never deleted
///     orphans/ID/               staging of removed anonymous imports, kept an hour, then moved to trash/0-ID
class Layout {
 public:
  explicit Layout(const std::filesystem::path& data_root) : base_(data_root / "ferry") {}

  const std::filesystem::path& base() const { return base_; }
  std::filesystem::path catalogue() const { return base_ / "catalogue.json"; }
  std::filesystem::path lock() const { return base_ / "lock"; }
  std::filesystem::path key() const { return base_ / "key"; }
  std::filesystem::path frozen() const { return base_ / "frozen"; }
  std::filesystem::path unwanted() const { return base_ / "unwanted"; }
  std::filesystem::path volumes() const { return base_ / "volumes"; }
  std::filesystem::path incoming() const { return base_ / "incoming"; }
  std::filesystem::path trash() const { return base_ / "trash"; }
  std::filesystem::path quarantine() const { return base_ / "quarantine"; }
  std::filesystem::path orphans() const { return base_ / "orphans"; }
  std::filesystem::path volume(const std::string& name) const { return volumes() / name; }
  std::filesystem::path record(const std::string& name) const { return volume(name) / record_name; }
  std::filesystem::path data(const std::string& name) const { return volume(name) / "data"; }
  std::filesystem::path staging(const std::string& name) const { return volume(name) / "staging"; }
  std::filesystem::path journal(const std::string& name) const { return volume(name) / "journal"; }
  std::filesystem::path baseline(const std::string& name) const { return volume(name) / "baseline"; }
  std::filesystem::path update(const std::string& name) const { return volume(name) / "update"; }
  std::filesystem::path dropped(const std::string& name) const { return volume(name) / "dropped"; }

  /// In the place of a volume's name: what a ticket brings for a volume of the local driver, the one of that number.
  static std::string local_part(const std::string& ticket, std::size_t number) {
    return ticket + "/local-" + std::to_string(number);
  }

  static constexpr const char* record_name = "record.json";

 private:
  std::filesystem::path base_;
};

}  // namespace ferry::volumes
