#include "base/directory.h"

#include <fcntl.h>

#include <algorithm>
#include <string_view>

#include "base/files.h"
#include "base/log.h"

namespace ferry {

Result<DirectoryReader> DirectoryReader::open(int parent, const std::string& name, int flags) {
  FERRY_ASSIGN(Fd fd, open_at(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | flags));
  DIR* stream = ::fdopendir(fd.get());
  if (stream == nullptr) return fail_errno("read directory " + printable(name));
  fd.release();
  return DirectoryReader(stream);
}

Result<const char*> DirectoryReader::next() {
  while (true) {
    errno = 0;  // the only way to tell an error from the end, readdir(3)
    const dirent* entry = ::readdir(stream_.get());
    if (entry == nullptr && errno != 0) return fail_errno("read directory");
    if (entry == nullptr) return nullptr;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") return entry->d_name;
  }
}

Result<std::vector<std::string>> names_in(int directory) {
  FERRY_ASSIGN(DirectoryReader reader, DirectoryReader::open(directory, ".", O_NOATIME));
  std::vector<std::string> names;
  while (true) {
    FERRY_ASSIGN(const char* name, reader.next());
    if (name == nullptr) break;
    names.emplace_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace ferry
