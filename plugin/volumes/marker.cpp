#include "volumes/marker.h"

#include <nlohmann/json.hpp>

#include "base/files.h"

namespace ferry::volumes {

namespace fs = std::filesystem;

namespace {

fs::path marker_path(const fs::path& propagated) { return propagated / ".ferry-catalogue.json"; }

Result<std::string> catalogue_uuid(const Layout& layout) {
  FERRY_ASSIGN(const auto text, read_file(layout.catalogue()));
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("uuid") || !json["uuid"].is_string())
    return fail(Code::corrupt, layout.catalogue().string() + " cannot be read; restore it from a backup");
  return json["uuid"].get<std::string>();
}

bool has_entries(const fs::path& directory) {
  std::error_code error;
  return !fs::is_empty(directory, error) && !error;
}

/// The marker goes before the last volume does, see MarkerKeeper.
Result<> check_volumes(const Layout& layout) {
  if (has_entries(layout.volumes())) return {};
  return fail(Code::corrupt,
              layout.volumes().string() +
                  " is empty, but this installation has volumes: is something not mounted? Nothing is "
                  "served until they are back; if they are gone for good: docker plugin rm -f ferry, and "
                  "install it again");
}

}  // namespace

Result<std::optional<Marker>> read_marker(const fs::path& propagated) {
  const auto text = read_file(marker_path(propagated));
  if (!text && text.error().code == Code::not_found) return std::nullopt;
  if (!text) return tl::unexpected(text.error());
  try {
    const auto json = nlohmann::json::parse(*text);
    return Marker{json.at("catalogue").get<std::string>(), json.at("source").get<std::string>()};
  } catch (const nlohmann::json::exception& error) {
    return fail(Code::corrupt, marker_path(propagated).string() + " cannot be read: " + error.what());
  }
}

Result<> write_marker(const fs::path& propagated, const Marker& marker) {
  const nlohmann::json json = {{"catalogue", marker.catalogue}, {"source", marker.source}};
  return write_file_atomically(marker_path(propagated), json.dump(2) + "\n");
}

Result<> remove_marker(const fs::path& propagated) { return remove_tree(marker_path(propagated)); }

Result<> check_marker(const fs::path& propagated, const Layout& layout) {
  FERRY_ASSIGN(const auto marker, read_marker(propagated));
  if (!marker) return {};
  const auto found = catalogue_uuid(layout);
  if (!found && found.error().code != Code::not_found) return tl::unexpected(found.error());
  if (found && *found == marker->catalogue) return check_volumes(layout);
  if (!found && has_entries(layout.volumes()))
    return fail(Code::corrupt, layout.catalogue().string() + " is missing, but " + layout.volumes().string() +
                                   " has volumes. Nothing is served until that file is restored: from a backup, or " +
                                   "with this line: {\"format\": 1, \"uuid\": \"" + marker->catalogue + "\"}");
  const std::string source = marker->source.empty() ? "THE-DIRECTORY-IT-HAD-BEFORE" : marker->source;
  return fail(Code::corrupt, "the volumes of this installation (catalogue " + marker->catalogue +
                                 ") are not in the plugin's data source" +
                                 "; an upgrade resets it. Nothing is served until: docker plugin disable -f ferry; "
                                 "docker plugin set ferry data.source=" +
                                 source + "; docker plugin enable ferry");
}

}  // namespace ferry::volumes
