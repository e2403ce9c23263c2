#pragma once

#include <sys/sysmacros.h>

#include <string>
#include <string_view>
#include <vector>

#include "archive/pax.h"

namespace ferry::archive {

/// A tar archive with whatever a test wants in it, member by member.
class MadeArchive {
 public:
  MadeArchive& file(std::string_view path, std::string_view content = "content") {
    sync::Entry entry = made(sync::Type::regular);
    entry.size = content.size();
    const sync::Extent all{0, entry.size};
    return raw(*member_header(path, entry, {&all, content.empty() ? 0U : 1U})).body(content);
  }
  /// One of which only a map and `content`, if there is any, is in the archive.
  MadeArchive& sparse(std::string_view path, std::uint64_t size, std::vector<sync::Extent> data,
                      std::string_view content) {
    sync::Entry entry = made(sync::Type::regular);
    entry.size = size;
    return raw(*member_header(path, entry, data)).body(content);
  }
  MadeArchive& directory(std::string_view path, std::vector<sync::Xattr> xattrs = {}) {
    sync::Entry entry = made(sync::Type::directory);
    if (!xattrs.empty()) entry.set_extra({.xattrs = sync::Xattrs(std::move(xattrs))});
    return raw(*member_header(path, entry));
  }
  MadeArchive& symlink(std::string_view path, std::string_view target) {
    sync::Entry entry = made(sync::Type::symlink);
    entry.set_extra({.target = std::string(target)});
    return raw(*member_header(path, entry));
  }
  MadeArchive& device(std::string_view path) {
    sync::Entry entry = made(sync::Type::character_device);
    entry.set_extra({.device = makedev(1, 3)});
    return raw(*member_header(path, entry));
  }
  MadeArchive& link(std::string_view path, std::string_view first) { return raw(*link_header(path, first)); }
  MadeArchive& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  MadeArchive& body(std::string_view content) {
    return raw(content).raw(std::string(tar_padding(content.size()), '\0'));
  }
  /// Of the last header, a byte of which was changed.
  MadeArchive& patch(std::size_t at, char byte) {
    const std::size_t header = bytes_.size() - tar_block;
    bytes_[header + at] = byte;
    bytes_.replace(header + 148, 8, 8, ' ');
    unsigned sum = 0;
    for (std::size_t i = header; i < bytes_.size(); ++i) sum += static_cast<unsigned char>(bytes_[i]);
    for (std::size_t i = 6; i-- > 0; sum /= 8) bytes_[header + 148 + i] = static_cast<char>('0' + sum % 8);
    bytes_[header + 154] = '\0';
    return *this;
  }
  std::string end() const { return bytes_ + std::string(end_marker, '\0'); }

 private:
  static sync::Entry made(sync::Type type) {
    sync::Entry entry;
    entry.type = type;
    entry.mode = type == sync::Type::directory ? 0755 : 0644;
    entry.set_mtime({1'000'000'000, 0});
    return entry;
  }
  std::string bytes_;
};

}  // namespace ferry::archive
