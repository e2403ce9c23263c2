#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/result.h"
#include "volumes/layout.h"

namespace ferry::volumes {

/// Written into the propagated mount, which `docker plugin upgrade` keeps while it reverts a customised data source to
/// config.json's: tells which catalogue this installation served last, and where it was.
struct Marker {
  std::string catalogue;  ///< UUID
  std::string source;     ///< host path of the plugin's mount `data`; empty while it is not known
};

/// No value if there is none. Code::corrupt if it cannot be read.
Result<std::optional<Marker>> read_marker(const std::filesystem::path& propagated);
Result<> write_marker(const std::filesystem::path& propagated, const Marker& marker);
/// A missing one is a success.
Result<> remove_marker(const std::filesystem::path& propagated);

/// Fails, with the line that mends it, if the marker names a catalogue that is not the one that `layout` has (an
/// upgrade has reset the data source), or if that has lost its volumes. To be asked before Catalogue::open, which would
/// start an empty one.
Result<> check_marker(const std::filesystem::path& propagated, const Layout& layout);

}  // namespace ferry::volumes
