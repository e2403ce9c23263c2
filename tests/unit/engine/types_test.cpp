#include "engine/types.h"

#include <gtest/gtest.h>

namespace ferry::engine {
namespace {

ContainerMount mount_of(std::string volume, std::string destination, bool rw) {
  return {.container = "c",
          .container_id = "1",
          .volume = std::move(volume),
          .destination = std::move(destination),
          .rw = rw,
          .running = true};
}

TEST(MountArgument, PlainNames) {
  EXPECT_EQ(mount_argument(mount_of("pgdata", "/data", true)), "type=volume,src=pgdata,dst=/data");
  EXPECT_EQ(mount_argument(mount_of("pgdata", "/data", false)), "type=volume,src=pgdata,dst=/data,readonly");
}

TEST(MountArgument, QuotesAFieldWithCommaQuoteOrLineBreak) {
  EXPECT_EQ(mount_argument(mount_of("v", "/a,b", true)), "type=volume,src=v,\"dst=/a,b\"");
  EXPECT_EQ(mount_argument(mount_of("v", "/a\"b", true)), "type=volume,src=v,\"dst=/a\"\"b\"");
  EXPECT_EQ(mount_argument(mount_of("v", "/a\nb", true)), "type=volume,src=v,\"dst=/a\nb\"");
  EXPECT_EQ(mount_argument(mount_of("x,y", "/a", false)), "type=volume,\"src=x,y\",dst=/a,readonly");
}

TEST(MountArgument, LeavesSpacesAndEqualSignsAlone) {
  EXPECT_EQ(mount_argument(mount_of("v", "/a b=c", true)), "type=volume,src=v,dst=/a b=c");
}

}  // namespace
}  // namespace ferry::engine
