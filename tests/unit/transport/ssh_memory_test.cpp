#include "transport/ssh_memory.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace ferry::transport {
namespace {

/// Whether everything is freed, and once, is for the build with ASan to say.
TEST(SshMemory, FreesWhatIsLeft) {
  SshMemory memory(SshMemory::Track::yes);
  void* pieces[10];
  for (auto& piece : pieces) {
    piece = memory.allocate(100);
    std::memset(piece, 1, 100);
  }
  for (const int i : {0, 9, 4, 5}) memory.release(pieces[i]);
  memory.release(nullptr);
}

TEST(SshMemory, WhatGrowsKeepsItsContent) {
  SshMemory memory(SshMemory::Track::yes);
  void* const other = memory.allocate(1);
  void* piece = memory.reallocate(nullptr, 6);
  std::memcpy(piece, "abcde", 6);
  piece = memory.reallocate(piece, 1'000'000);
  EXPECT_EQ(std::string_view(static_cast<char*>(piece)), "abcde");
  piece = memory.reallocate(piece, 6);
  EXPECT_EQ(std::string_view(static_cast<char*>(piece)), "abcde");
  memory.release(other);
}

TEST(SshMemory, WhatIsNotTrackedMayBeFreedByAnyone) {
  SshMemory memory(SshMemory::Track::yes);
  void* const before = memory.allocate(10);
  void* const grown = memory.allocate(10);
  {
    const SshMemory::Pause pause(memory);
    std::free(memory.allocate(10));
    memory.release(memory.reallocate(memory.allocate(10), 1000));
    memory.release(before);
    memory.reallocate(grown, 1000);  // tracked as it was
  }
  memory.allocate(10);
  SshMemory never(SshMemory::Track::no);
  std::free(never.allocate(10));
}

}  // namespace
}  // namespace ferry::transport
