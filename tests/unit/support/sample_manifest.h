#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sync/content.h"
#include "sync/digest.h"
#include "sync/manifest.h"
#include "sync/wire.h"

namespace ferry::test {

/// Until the test's process ends.
inline sync::Name kept(std::string_view name) {
  static sync::Names names;
  return names.add(name);
}

inline sync::Entry entry(std::string_view name, std::uint32_t parent, sync::Type type) {
  sync::Entry made;
  made.name = kept(name);
  made.parent = parent;
  made.type = type;
  made.mode = type == sync::Type::symlink ? 0777 : 0644;
  made.uid = 1000;
  made.gid = 100;
  made.set_mtime({1'700'000'000, 123'456'789});
  made.inode = 4711;
  made.ctime_ns = 1'700'000'001'000'000'001;
  if (type == sync::Type::symlink) made.set_extra({.target = "some/where"});
  return made;
}

inline sync::Entry file(std::string_view name, std::uint32_t parent, std::uint64_t size) {
  auto made = entry(name, parent, sync::Type::regular);
  made.size = size;
  return made;
}

inline sync::Entry hard_link(std::string_view name, std::uint32_t parent, std::uint32_t link) {
  sync::Entry made;
  made.name = kept(name);
  made.parent = parent;
  made.type = sync::Type::hard_link;
  made.link = link;
  return made;
}

/// A small tree with an entry of every type; entries 1 and 7 are directories, 3, 8 and 9 are files.
inline std::vector<sync::Entry> sample_entries() {
  using sync::Type;
  std::vector<sync::Entry> entries = {entry("", 0, Type::directory),
                                      entry("a", 0, Type::directory),
                                      entry("c", 0, Type::character_device),
                                      file("f", 0, 2'000'000),
                                      entry("l", 0, Type::symlink),
                                      entry("p", 0, Type::fifo),
                                      entry("s\xff", 0, Type::block_device),
                                      entry("sub", 1, Type::directory),
                                      file("x", 1, 5),
                                      file("y", 7, 20 << 20),
                                      hard_link("z", 7, 3)};
  entries[0].mode = 01777;
  entries[0].set_extra({.xattrs = {{"security.x", std::string("\0\1", 2)}, {"user.a", ""}}});
  entries[2].set_extra({.device = 0x501});
  entries[3].mode = 04755;
  entries[6].set_extra({.device = 0xffffffff});
  entries[8].set_mtime({-5, 123'456'789});
  entries[9].set_data(1 << 20);
  return entries;
}

inline std::string sample_manifest() {
  std::string bytes;
  const auto entries = sample_entries();
  for (const auto& each : entries) sync::append_entry(bytes, each);
  sync::append_trailer(bytes, {1'700'000'002'000'000'000, {"1 sockets were left out"}}, entries.size());
  return bytes;
}

/// The frames of wants, as the sender makes them.
class Frames {
 public:
  Frames& data(std::uint64_t offset, const std::string& payload) {
    digest_.add(offset, payload);
    return raw_data(offset, payload);
  }
  /// Of which the digest at the end knows nothing.
  Frames& raw_data(std::uint64_t offset, const std::string& payload) {
    std::string body;
    sync::Writer writer(body);
    writer.byte(static_cast<std::uint8_t>(sync::FrameKind::data));
    writer.number(offset);
    writer.raw(payload);
    sync::append_record(bytes_, body);
    return *this;
  }
  Frames& hole(std::uint64_t offset, std::uint64_t length) {
    std::string body;
    sync::Writer writer(body);
    writer.byte(static_cast<std::uint8_t>(sync::FrameKind::hole));
    writer.number(offset);
    writer.number(length);
    sync::append_record(bytes_, body);
    return *this;
  }
  Frames& end(sync::Outcome outcome = sync::Outcome::complete) { return raw_end(static_cast<std::uint8_t>(outcome)); }
  Frames& raw_end(std::uint8_t outcome) {
    std::string body;
    sync::Writer writer(body);
    writer.byte(static_cast<std::uint8_t>(sync::FrameKind::end));
    writer.byte(outcome);
    writer.digest(digest_.finish());
    sync::append_record(bytes_, body);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  sync::ContentDigest digest_;
};

}  // namespace ferry::test
