#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "transport/endpoint.h"
#include "volumes/record.h"

namespace ferry::migration {

/// How writers of the source are held while it is read. `refuse`: there must be none.
enum class Freeze { refuse, none };

/// An import as the user asked for it.
struct ImportRequest {
  transport::Endpoint peer;
  std::string volume;  ///< at the peer
  Freeze freeze = Freeze::refuse;
  std::uint64_t limit = 0;  ///< bytes per second; 0: none
};

/// A ticket as the user asked for it: volumes of a peer that are imported or updated together.
struct TicketRequest {
  struct Volume {
    std::string source;  ///< name at the peer
    std::string target;  ///< name here
  };
  transport::Endpoint peer;
  std::vector<Volume> volumes;  ///< at least one; different targets
  Freeze freeze = Freeze::refuse;
  std::uint64_t limit = 0;  ///< bytes per second; 0: none
  bool replace = false;     ///< changes here may be lost
  bool dry_run = false;
};

/// What the options of one `docker volume create` ask for.
/// A plain volume, or one of `import`, `ticket` and `retry`.
struct CreateRequest {
  std::optional<volumes::Mode> mode;  ///< as given
  volumes::StringMap own_options;     ///< those that belong to the volume, not to the migration
  std::optional<ImportRequest> import;
  std::optional<TicketRequest> ticket;
  std::string retry;  ///< a volume of which the import failed; empty: none
};

/// Checks the options of `create NAME`. Every refusal is one sentence that names the option and says what would be
/// right, also for options of the documentation that this version does not have. Asks nobody.
Result<CreateRequest> parse_options(const std::string& name, const volumes::StringMap& options);

}  // namespace ferry::migration
