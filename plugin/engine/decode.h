#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/types.h"

/// The Engine's JSON (moby's api/swagger.yaml) as values. Unknown members are ignored, absent ones and `null` are
/// empty; what is not JSON or has another type than the API says is Code::corrupt. Every function is pure.
namespace ferry::engine {

/// One message of GET /events.
struct Event {
  std::string type;    ///< volume, container
  std::string action;  ///< create, mount, die, …
  std::string id;      ///< the volume's name or the container's ID
  StringMap attributes;
  std::int64_t time_ns = 0;  ///< since the epoch, by the Engine's clock; 0: not told
};

Result<Volume> decode_volume(std::string_view body);
Result<std::vector<Volume>> decode_volumes(std::string_view body);
/// The mounts of type volume of GET /containers/json; other types have no volume name.
Result<std::vector<ContainerMount>> decode_container_mounts(std::string_view body);
Result<std::string> decode_data_root(std::string_view body);
/// From GET /plugins, Config.Mounts. That is what `docker plugin set` changes and what the Engine mounts;
/// Settings.Mounts follows only until the Engine is restarted (moby's plugin/v2, Set and InitSpec). Code::not_found
/// without it.
Result<std::string> decode_plugin_mount_source(std::string_view body, const std::string& plugin_id,
                                               const std::string& mount_name);
Result<Event> decode_event(std::string_view line);

/// The text of an error answer: its `message`, or, as from 20.10 to a very old client version, the bare text.
std::string decode_error(std::string_view body);

}  // namespace ferry::engine
