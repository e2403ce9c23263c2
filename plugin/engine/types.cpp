#include "engine/types.h"

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

std::string mount_argument(const ContainerMount& mount) {
  std::string argument =
      "type=volume," + csv_field("src=" + mount.volume) + "," + csv_field("dst=" + mount.destination);
  if (!mount.rw) argument += ",readonly";
  return argument;
}

}  // namespace ferry::engine
