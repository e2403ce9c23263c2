#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

#include "archive/archive_writer.h"
#include "archive/extraction.h"
#include "base/files.h"
#include "support/full_tree.h"
#include "support/temporary_directory.h"
#include "support/tree.h"

namespace ferry::archive {

namespace fs = std::filesystem;

class StringSink : public Sink {
 public:
  Result<> write(std::span<const char> bytes) override {
    text.append(bytes.data(), bytes.size());
    return {};
  }
  std::string text;
};

class StringSource : public Source {
 public:
  explicit StringSource(std::string_view text, std::size_t piece = 100'003) : text_(text), piece_(piece) {}
  Result<std::size_t> read(std::span<char> buffer) override {
    const std::size_t size = std::min({buffer.size(), piece_, text_.size() - at_});
    std::copy_n(text_.data() + at_, size, buffer.data());
    at_ += size;
    return size;
  }

 private:
  const std::string_view text_;
  const std::size_t piece_;
  std::size_t at_ = 0;
};

/// A volume, its archive, and a place where that is extracted to.
class ArchiveTest : public testing::Test {
 protected:
  ArchiveTest() {
    for (const auto& path : {volume_, staging_}) fs::create_directories(path);
  }

  static Fd open_directory(const fs::path& path) { return *open_at(AT_FDCWD, path.string(), O_RDONLY | O_DIRECTORY); }

  Result<Written> write(Sink& sink, Compression compression = Compression::none) {
    const Fd volume = open_directory(volume_);
    return write_archive(volume.get(), facts_, compression, sink, progress_);
  }

  /// Of the volume.
  std::string pack(Compression compression = Compression::none) {
    StringSink sink;
    const auto written = write(sink, compression);
    EXPECT_TRUE(written) << written.error().message;
    if (written) written_ = *written;
    return sink.text;
  }

  Result<Extracted> extract(Source& source) {
    const Fd staging = open_directory(staging_);
    return extract_archive(source, staging.get(), limits_, progress_);
  }

  Result<Extracted> extract(std::string_view bytes, std::size_t piece = 100'003) {
    StringSource source(bytes, piece);
    return extract(source);
  }

  Result<Extracted> extract_anew(std::string_view bytes) {
    EXPECT_TRUE(remove_tree(staging_));
    fs::create_directories(staging_);
    return extract(bytes);
  }

  void extract_well(std::string_view bytes) {
    const auto extracted = extract(bytes);
    ASSERT_TRUE(extracted) << extracted.error().message;
    extracted_ = *extracted;
  }

  static void run(const std::string& command) {
    const int status = std::system(("set -e; " + command).c_str());
    EXPECT_EQ(status, 0) << command;
  }

  static void store(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

  static std::string load(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  static std::string quoted(const fs::path& path) { return "'" + path.string() + "'"; }

  /// The judge of the end-to-end tests, which also looks at holes. "" if the trees are equal.
  std::string compare(const fs::path& a, const fs::path& b) {
    const auto said = directory_ / "differences";
    const std::string command = "/usr/bin/python3 " FERRY_TREE_TOOL " compare --ignore-sockets " + quoted(a) + " " +
                                quoted(b) + " >" + quoted(said) + " 2>&1";
    return std::system(command.c_str()) == 0 ? "" : load(said);
  }

  test::TemporaryDirectory directory_;
  fs::path volume_ = directory_ / "volume";
  fs::path staging_ = directory_ / "staging";
  Facts facts_{.name = "pgdata",
               .lineage = "0b6e7a55-0f0c-4f3e-9d7e-1c1c43b6f6d0",
               .epoch = 7,
               .mode = "ro",
               .labels = {{"team", "web, \"and\" more\n"}, {"ü", "="}},
               .options = {{"mode", "ro"}}};
  Limits limits_;
  Progress progress_;
  Written written_;
  Extracted extracted_;
};

}  // namespace ferry::archive
