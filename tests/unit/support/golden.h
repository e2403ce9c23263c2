#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace ferry::test {

/// What is compared with a file of tests/unit/<folder>/golden/. FERRY_REGENERATE_GOLDEN=1 writes the files instead; a
/// changed file is a changed format, which other versions of Ferry read and write.
inline std::filesystem::path golden_path(const std::string& folder, const std::string& name) {
  return std::filesystem::path(FERRY_UNIT_TESTS) / folder / "golden" / name;
}

inline std::string read_golden(const std::string& folder, const std::string& name) {
  std::ifstream file(golden_path(folder, name), std::ios::binary);
  EXPECT_TRUE(file) << golden_path(folder, name) << " is missing";
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void expect_golden(const std::string& folder, const std::string& name, const std::string& bytes) {
  if (std::getenv("FERRY_REGENERATE_GOLDEN") != nullptr) {
    std::filesystem::create_directories(golden_path(folder, name).parent_path());
    std::ofstream(golden_path(folder, name), std::ios::binary) << bytes;
    return;
  }
  EXPECT_EQ(read_golden(folder, name), bytes) << "see tests/unit/support/golden.h";
}

}  // namespace ferry::test
