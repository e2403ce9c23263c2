#include "engine/api_version.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace ferry::engine {
namespace {

TEST(ApiVersion, ComparesAsNumbers) {
  EXPECT_LT(*ApiVersion::parse("1.9"), *ApiVersion::parse("1.41"));
  EXPECT_LT(*ApiVersion::parse("1.99"), *ApiVersion::parse("2.0"));
  EXPECT_EQ(std::min(*ApiVersion::parse("1.51"), newest_known), newest_known);
  EXPECT_EQ(ApiVersion::parse("1.41")->to_string(), "1.41");
}

TEST(ApiVersion, RefusesEverythingElse) {
  for (const auto* text : {"", ".", "1", "1.", ".1", "1.4x", "x", "1.4.1", "-1.2", "1.-2", " 1.2", "1.99999999999"})
    EXPECT_FALSE(ApiVersion::parse(text)) << text;
}

}  // namespace
}  // namespace ferry::engine
