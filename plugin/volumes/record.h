#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.h"

namespace ferry::volumes {

using StringMap = std::map<std::string, std::string>;

enum class Mode { rw, ro };

/// `quarantined` is never stored: the record of such a volume could not be read, so only its name is known.
/// `done` is a ticket's. `handed_off`: it is another host's now, and its data is only kept.
enum class State { ready, importing, failed, done, handed_off, quarantined };

/// A ticket stands for a migration and has no data.
enum class Kind { volume, ticket };

/// Labels and options that the Engine has to be given anew. While it is in the record, Remove must not delete
/// (the Engine's own DELETE is part of the procedure); see migration/label_keeper.h.
struct Reregistration {
  std::string driver;  ///< the name under which the Engine has this plugin, e.g. "ferry:latest"
  StringMap labels;
  StringMap options;
};

/// What the Engine was told of an older version of a volume that has been updated: that much of what it shows did not
/// come from the user.
struct Superseded {
  StringMap labels;
  StringMap options;
  bool everything = false;  ///< nothing of what it shows counts any more
};

/// What Ferry durably knows of a volume. A value: copies are independent.
struct VolumeRecord {
  std::string name;
  Kind kind = Kind::volume;
  std::string created;  ///< RFC 3339, UTC
  Mode mode = Mode::rw;
  State state = State::ready;
  std::string lineage;          ///< UUID that the volume keeps through all its copies
  std::uint64_t epoch = 1;      ///< ownership counter: every hand-off raises it
  StringMap options;            ///< for a plain volume as given to create; for an import as the source had them
  StringMap labels;             ///< as the source of an import had them; of a plain volume only the Engine knows them
  bool labels_pending = false;  ///< the Engine does not show the labels of the import yet
  std::optional<Reregistration> reregistration;
  std::optional<Superseded> superseded;  ///< until the labels are not pending any more
  nlohmann::json import = nullptr;  ///< request of an import or ticket (owned by migration/), null for a plain volume
  nlohmann::json migration = nullptr;  ///< last stored progress or receipt, as shown in Status
  nlohmann::json hand_off = nullptr;   ///< where a volume went, or that it was taken back (owned by migration/)
};

std::string_view to_string(Mode mode);
std::string_view to_string(State state);
Result<Mode> parse_mode(std::string_view text);

/// One JSON object, ending in a newline.
std::string encode(const VolumeRecord& record);

/// Strict: a missing or mistyped member, an unknown format or another name than `name` is Code::corrupt. A format
/// number of a later version is Code::unsupported.
Result<VolumeRecord> decode(const std::string& text, const std::string& name);

}  // namespace ferry::volumes
