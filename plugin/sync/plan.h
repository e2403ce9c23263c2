#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "sync/baseline.h"
#include "sync/manifest.h"
#include "sync/patch.h"

namespace ferry::sync {

/// What turns a volume's tree into the new version, from the moment at which it is decided that it becomes that: an
/// update is received beside the volume (Changes), stored as a Plan unless nothing differs, and carried out, again and
/// again if need be, without the sender. So a crash at any point leaves the old version or one that becomes the new
/// one.
struct Plan {
  enum class Step : std::uint8_t {
    keep = 0,      ///< as it is
    metadata = 1,  ///< its content stays
    make = 2,      ///< a directory, special file or hard link
    replace = 3,   ///< by a file that was received as a whole
    patch = 4,     ///< some of its content
    absent = 5,    ///< it did not arrive
  };
  struct Entry {
    Step step = Step::keep;
    bool stable = false;  ///< of a regular file, as is the following: see Baseline::File
    Digest digest{};
    Here seen{};  ///< what is kept was that when it was looked at; unknown if its ctime changes nevertheless
  };
  /// A name in a directory of the manifest that is taken away before anything else happens.
  struct Removal {
    std::uint32_t directory = 0;
    std::string name;
  };
  struct FilePatch {
    std::uint32_t entry = 0;
    std::uint32_t extent = 0;
    Rare<std::string> patch;  ///< Patch::encode()
  };

  Manifest manifest;
  std::vector<Entry> entries;     ///< by entry of the manifest
  std::vector<Removal> removals;  ///< none is below another
  std::vector<FilePatch> patches;
  bool splits_inodes = false;  ///< something that is taken away is another name of something that stays
};

/// What an update has on disk while it is received and applied, below a directory of its own beside the volume's data.
struct UpdatePaths {
  explicit UpdatePaths(const std::filesystem::path& update)
      : content(update / "content"), gone(update / "gone"), taken(update / "taken"), plan(update / "plan") {}
  std::filesystem::path content;  ///< files that were received, see Places::Shape::flat
  std::filesystem::path gone;     ///< what was taken away
  std::filesystem::path taken;    ///< exists when all of that is there
  std::filesystem::path plan;
};

/// A plan that is stored without being in memory as a whole. What it refers to must outlive it.
struct PlanParts {
  const Manifest& manifest;
  std::function<Plan::Entry(std::uint32_t index)> entry;  ///< is called once for each entry of the manifest, in order
  const std::vector<Plan::Removal>& removals;
  const std::vector<Plan::FilePatch>& patches;
  bool splits_inodes = false;
};

Result<> write_plan(const std::filesystem::path& path, const PlanParts& plan);
Result<Plan> read_plan(const std::filesystem::path& path);

/// Carries out the plan of the update on the tree `data`, and makes the result durable, with its baseline. Whatever
/// part of it was done before is done again or found done. An error (a full disk, say) leaves it to be repeated: until
/// it has succeeded the tree is neither the old nor the new one.
Result<> apply_plan(const std::filesystem::path& update, const std::filesystem::path& data,
                    const std::filesystem::path& baseline);

}  // namespace ferry::sync
