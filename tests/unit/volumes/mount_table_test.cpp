#include "volumes/mount_table.h"

#include <gtest/gtest.h>

namespace ferry::volumes {
namespace {

TEST(MountTable, AnOrdinaryDirectoryIsNoPropagatedMount) {
  EXPECT_EQ(plugin_id("/proc").error().code, Code::not_found);
  EXPECT_EQ(plugin_id("/nowhere").error().code, Code::not_found);
}

}  // namespace
}  // namespace ferry::volumes
