#include "engine/types.h"

#include <algorithm>

namespace ferry::engine {

namespace {

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string field = "\"";
  for (const char c : text) {
    if (c == '"') field += '"';
    field += c;
  }
  return field + '"';
}

}  // namespace

const ContainerMount* running_mount(const std::vector<ContainerMount>& mounts, const std::string& volume) {
  const auto found = std::find_if(mounts.begin(), mounts.end(),
                                  [&](const ContainerMount& mount) { return mount.volume == volume && mount.running; });
  return found == mounts.end() ? nullptr : &*found;
}

std::string mount_argument(const ContainerMount& mount) {
  std::string argument =
      "type=volume," + csv_field("src=" + mount.volume) + "," + csv_field("dst=" + mount.destination);
  if (!mount.rw) argument += ",readonly";
  return argument;
}

}  // namespace ferry::engine
