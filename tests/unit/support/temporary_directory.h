#pragma once

#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "base/random.h"

namespace ferry::test {

/// A directory of its own for one test, removed with everything in it. Below FERRY_TEST_DIRECTORY or /var/tmp: on a
/// disk, since tmpfs lacks what the tests are about.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    const char* parent = std::getenv("FERRY_TEST_DIRECTORY");
    path_ = std::filesystem::path(parent == nullptr ? "/var/tmp" : parent) / ("ferry-test-" + random_hex(6));
    std::filesystem::create_directories(path_);
  }
  ~TemporaryDirectory() {
    const auto removed = remove_tree(path_);
    if (!removed) ADD_FAILURE() << removed.error().message;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::filesystem::path& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace ferry::test
