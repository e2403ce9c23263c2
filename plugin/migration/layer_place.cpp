#include "migration/layer_place.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/files.h"

namespace ferry::migration {

namespace fs = std::filesystem;

Result<std::uint64_t> identify_layer(const fs::path& staged) {
  struct stat info {};
  if (::lstat(staged.c_str(), &info) != 0) return fail_errno("look at " + staged.string());
  if (!S_ISDIR(info.st_mode)) return fail(Code::corrupt, staged.string() + " is no directory");
  return info.st_ino;
}

Result<> place_layer(const fs::path& staged, std::uint64_t identity, const fs::path& upper) {
  FERRY_ASSIGN(const auto there, identify_layer(upper));
  if (there != identity) {
    FERRY_ASSIGN(const auto here, identify_layer(staged));
    if (here != identity) return fail(Code::corrupt, "what has come is not at " + staged.string() + " any more");
    if (::renameat2(AT_FDCWD, staged.c_str(), AT_FDCWD, upper.c_str(), RENAME_EXCHANGE) != 0) {
      const int error = errno;
      if (error == EXDEV || error == EINVAL)
        return fail(Code::unsupported,
                    upper.string() + " is on another file system, or in another quota project, than Ferry's data");
      return fail_errno("exchange " + staged.string() + " and " + upper.string(), error);
    }
  }
  FERRY_TRY(sync_directory(upper.parent_path()));
  return sync_directory(staged.parent_path());
}

}  // namespace ferry::migration
