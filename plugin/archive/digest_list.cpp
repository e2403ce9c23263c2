#include "archive/digest_list.h"

#include "sync/directories.h"

namespace ferry::archive {

namespace {

/// As sha256sum(1) writes it: a line begins with a backslash if there is one in the name, or the end of a line.
std::string escaped(const std::string& name, bool& is_escaped) {
  is_escaped = name.find_first_of("\\\n") != std::string::npos;
  std::string text;
  for (const char c : name) {
    if (c == '\\')
      text += "\\\\";
    else if (c == '\n')
      text += "\\n";
    else
      text += c;
  }
  return text;
}

}  // namespace

std::string DigestLines::next() {
  constexpr std::uint64_t before = 2, behind = 1;  // lines that are about no file
  const std::uint64_t at = at_++;
  file_ = -1;
  if (at == 0) return "# ferry-digests 1\n";
  if (at == 1)
    return "# " + std::to_string(list_.entries) + " entries, " + std::to_string(list_.files.size()) + " files, " +
           std::to_string(list_.bytes) + " bytes\n";
  if (at - before < list_.files.size()) {
    file_ = static_cast<std::int64_t>(at - before);
    return line_of(list_.files[at - before]);
  }
  return at - before - list_.files.size() < behind ? "# metadata " + list_.metadata + "\n" : std::string();
}

std::string DigestLines::line_of(const DigestList::File& file) const {
  bool is_escaped = false;
  const std::string name = escaped(member_path(entries_, file.entry), is_escaped);
  const std::string start = file.digest.kind == FileDigest::Kind::sha256 ? "" : "# non-zero ";
  return start + (is_escaped ? "\\" : "") + to_hex(file.digest) + "  " + name + "\n";
}

std::string member_path(const std::vector<sync::Entry>& entries, std::uint32_t index) {
  if (index == 0) return "./";
  const bool is_directory = entries[index].type == sync::Type::directory;
  return "./" + sync::Directories::path(entries, index) + (is_directory ? "/" : "");
}

}  // namespace ferry::archive
