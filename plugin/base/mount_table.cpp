#include "base/mount_table.h"

#include <sstream>

#include "base/files.h"

namespace ferry {

namespace {

bool is_octal(char c) { return c >= '0' && c <= '7'; }

std::string decode_octal(const std::string& text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '\\' && i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) &&
                        is_octal(text[i + 3]);
    if (!escape) {
      plain += text[i];
      continue;
    }
    plain += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return plain;
}

}  // namespace

std::vector<MountPoint> parse_mount_table(const std::string& content) {
  std::vector<MountPoint> mounts;
  std::istringstream lines(content);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string id, parent, device, root, target, options, word;
    if (!(words >> id >> parent >> device >> root >> target >> options)) continue;
    std::string fields;
    while (words >> word && word != "-") fields += (fields.empty() ? "" : " ") + word;
    mounts.push_back({decode_octal(root), decode_octal(target), fields});
  }
  return mounts;
}

Result<std::vector<MountPoint>> read_mount_table() {
  FERRY_ASSIGN(const std::string content, read_file("/proc/self/mountinfo"));
  return parse_mount_table(content);
}

bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.compare(0, directory.size(), directory) == 0 &&
         path[directory.size()] == '/';
}

}  // namespace ferry
