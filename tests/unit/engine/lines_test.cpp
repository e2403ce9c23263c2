#include "engine/lines.h"

#include <gmock/gmock.h>

namespace ferry::engine {
namespace {

using ::testing::ElementsAre;

TEST(Lines, CutsAtAnyByte) {
  const std::string text = "one\ntwo\n\nthree\r\n\r\nrest";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    std::vector<std::string> taken;
    const auto take = [&](std::string_view line) -> Result<> {
      taken.emplace_back(line);
      return {};
    };
    Lines lines(100);
    ASSERT_TRUE(lines.add(text.substr(0, cut), take));
    ASSERT_TRUE(lines.add(text.substr(cut), take));
    EXPECT_THAT(taken, ElementsAre("one", "two", "three\r")) << cut;
  }
}

TEST(Lines, RefusesALineBeyondTheLimit) {
  const auto ignore = [](std::string_view) -> Result<> { return {}; };
  Lines fits(4);
  EXPECT_TRUE(fits.add("1234\n1234\n12", ignore));
  EXPECT_TRUE(fits.add("34", ignore));
  const auto refused = fits.add("5", ignore);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::corrupt);
  EXPECT_FALSE(Lines(4).add("12345\n", ignore));
}

TEST(Lines, StopsAtTheTakersError) {
  int taken = 0;
  Lines lines(100);
  const auto result = lines.add("a\nb\nc\n", [&](std::string_view line) -> Result<> {
    ++taken;
    if (line == "b") return fail(Code::corrupt, "b");
    return {};
  });
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message, "b");
  EXPECT_EQ(taken, 2);
}

}  // namespace
}  // namespace ferry::engine
