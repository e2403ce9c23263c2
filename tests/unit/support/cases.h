#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "support/sanitizer.h"
#include "support/seed.h"

namespace ferry::test {

/// How much of what is random is run: ThreadSanitizer is many times slower, and looks for what all cases have alike.
#ifdef FERRY_TEST_BY_TSAN
constexpr int case_divisor = 5;
#else
constexpr int case_divisor = 1;
#endif

/// Runs `usual` random cases, or FERRY_TEST_CASES of them, in several processes at once, because most of the time of
/// one is waiting, each process with a directory of its own below `directory`. Ends with the first that fails; alone it
/// comes again with the seed that is shown and FERRY_TEST_CASE=number. This process must have no other threads.
inline void run_cases(int usual, const std::filesystem::path& directory,
                      const std::function<void(Random&, const std::filesystem::path&)>& run) {
  constexpr int processes = 8;
  const char* given = std::getenv("FERRY_TEST_CASES");
  const char* only = std::getenv("FERRY_TEST_CASE");
  const int cases = given == nullptr ? usual / case_divisor : std::stoi(given);
  const std::uint64_t first_seed = seed();
  const auto run_some = [&](int process) {
    const auto own = directory / ("process" + std::to_string(process));
    std::filesystem::create_directories(own);
    for (int number = process; number < cases && !testing::Test::HasFailure(); number += processes) {
      if (only != nullptr && std::stoi(only) != number) continue;
      SCOPED_TRACE("FERRY_TEST_SEED=" + std::to_string(first_seed) + " FERRY_TEST_CASE=" + std::to_string(number));
      Random random(first_seed + static_cast<std::uint64_t>(number) * 1'000'003);
      run(random, own);
    }
  };
  std::vector<pid_t> children;
  std::fflush(nullptr);  // or each process would print it
  for (int process = 0; process < processes; ++process) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child != 0) {
      children.push_back(child);
      continue;
    }
    run_some(process);
    std::fflush(nullptr);
    ::_exit(testing::Test::HasFailure() ? 1 : 0);
  }
  for (const pid_t child : children) {
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "FERRY_TEST_SEED=" << first_seed << ": see above";
  }
}

}  // namespace ferry::test
