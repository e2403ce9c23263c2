#include "transport/ssh_known_hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/base64.h"

namespace ferry::transport {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// A key's blob: the type as SSH's string, then whatever.
std::string blob(const std::string& type, const std::string& rest = "material") {
  return std::string(3, '\0') + static_cast<char>(type.size()) + type + rest;
}
std::string line(const std::string& names, const std::string& type, const std::string& rest = "material") {
  return names + " " + type + " " + encode_base64(blob(type, rest)) + "\n";
}
std::size_t found(const std::string& text, const std::string& host, std::uint16_t port = 22) {
  return known_keys(text, {host, port}).size();
}

const std::string ed25519 = "ssh-ed25519";

// "alpha", as `ssh-keygen -H` of OpenSSH 9.2 wrote it
const char* const hashed = "|1|EAIYmVxcEkCtxIMFCdSAtLqnm5w=|z/7Qwp4AMeOwGJbv9wiNgWxTBGI= ";

TEST(KnownHosts, NamesAndPatterns) {
  const std::string text = line("alpha,10.0.0.1", ed25519) + line("*.example.com,!bad.example.com", ed25519) +
                           line("host?", "ssh-rsa") + line("[beta]:2222", ed25519);
  EXPECT_EQ(found(text, "alpha"), 1U);
  EXPECT_EQ(found(text, "ALPHA"), 1U);
  EXPECT_EQ(found(text, "10.0.0.1"), 1U);
  EXPECT_EQ(found(text, "alpha", 2222), 0U);
  EXPECT_EQ(found(text, "x.example.com"), 1U);
  EXPECT_EQ(found(text, "bad.example.com"), 0U);
  EXPECT_EQ(found(text, "example.com"), 0U);
  EXPECT_EQ(found(text, "host1"), 1U);
  EXPECT_EQ(found(text, "host12"), 0U);
  EXPECT_EQ(found(text, "beta", 2222), 1U);
  EXPECT_EQ(found(text, "beta"), 0U);
  EXPECT_EQ(found(line("::1", ed25519) + line("[::1]:99", ed25519), "::1", 99), 1U);
}

TEST(KnownHosts, WhatIsNoLineIsPassedOver) {
  const std::string text =
      "\n# a comment\nalpha\nalpha ssh-rsa\nalpha ssh-rsa ???\n|1|x|y ssh-rsa AAAA\n"
      "@cert-authority alpha ssh-rsa AAAA\n@what alpha ssh-rsa AAAA\n   \t\n" +
      line("  alpha", ed25519);
  const auto keys = known_keys(text, {"alpha", 22});
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0].line, 10);
  EXPECT_EQ(found("alpha ssh-rsa AAAA\r\n", "alpha"), 1U);
  EXPECT_EQ(found("alpha ssh-rsa AAAA a comment", "alpha"), 1U);
}

TEST(KnownHosts, HashedNames) {
  const std::string text = hashed + ed25519 + " " + encode_base64(blob(ed25519)) + "\n";
  EXPECT_EQ(found(text, "alpha"), 1U);
  EXPECT_EQ(found(text, "Alpha"), 1U);
  EXPECT_EQ(found(text, "beta"), 0U);
}

TEST(KnownHosts, ATypeThatIsKnownIsAskedForFirst) {
  const auto first = [](const std::string& text) { return host_key_algorithms(known_keys(text, {"alpha", 22})); };
  EXPECT_THAT(first(""), StartsWith("ssh-ed25519,ecdsa-sha2-nistp256,"));
  EXPECT_THAT(first(line("alpha", "ssh-rsa")), StartsWith("rsa-sha2-512,rsa-sha2-256,ssh-rsa,ssh-ed25519,"));
  EXPECT_THAT(first(line("alpha", "ssh-rsa") + line("alpha", "ecdsa-sha2-nistp384")),
              StartsWith("ecdsa-sha2-nistp384,rsa-sha2-512,"));
  EXPECT_THAT(first("@revoked " + line("alpha", "ssh-rsa")), StartsWith("ssh-ed25519,"));
}

TEST(KnownHosts, FingerprintsAreThoseOfOpenSsh) {
  const auto key = decode_base64("AAAAC3NzaC1lZDI1NTE5AAAAIDcGqx8YA/nGOvz6pc4RGsYBXSZPR+DsNd21p+DNcO+g");
  ASSERT_TRUE(key);
  EXPECT_EQ(key_fingerprint(*key), "SHA256:FO15+2fHpjru7YXjw7cmRNejsEr9T6qWrSIdQ3p4Vso");
}

class Checked : public testing::Test {
 protected:
  static Error check(const std::string& text, const std::string& shown, std::uint16_t port = 22) {
    const Endpoint host{"alpha", port};
    const auto result = check_host_key(known_keys(text, host), shown, host);
    return result ? Error{Code::io, "known"} : result.error();
  }
};

TEST_F(Checked, OneOfSeveralIsEnough) {
  const std::string text = line("alpha", ed25519, "old") + line("alpha", ed25519, "new") + line("alpha", "ssh-rsa");
  EXPECT_EQ(check(text, blob(ed25519, "new")).message, "known");
  EXPECT_EQ(check(text, blob("ssh-rsa")).message, "known");
}

TEST_F(Checked, AnUnknownOneIsTold) {
  const Error error = check(line("beta", ed25519), blob(ed25519), 2222);
  EXPECT_EQ(error.code, Code::denied);
  EXPECT_THAT(error.message, HasSubstr("the host key of alpha:2222 (ed25519, " + key_fingerprint(blob(ed25519)) + ")"));
  EXPECT_THAT(error.message,
              HasSubstr("is not known here; compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key"));
  EXPECT_THAT(error.message, HasSubstr("`ssh-keyscan -t ed25519 -p 2222 alpha >> known_hosts`"));
}

TEST_F(Checked, AnotherTypeIsNoChange) {
  const Error error = check(line("alpha", "ssh-rsa"), blob(ed25519));
  EXPECT_EQ(error.code, Code::denied);
  EXPECT_THAT(error.message, HasSubstr("only one of type rsa, which that host does not show"));
}

TEST_F(Checked, AChangedOneIsToldWithBoth) {
  const Error error = check("# top\n" + line("alpha", "ssh-rsa") + line("alpha", ed25519, "old"), blob(ed25519, "new"));
  EXPECT_EQ(error.code, Code::denied);
  EXPECT_THAT(error.message, HasSubstr("HAS CHANGED: it shows (ed25519, " + key_fingerprint(blob(ed25519, "new"))));
  EXPECT_THAT(error.message, HasSubstr("line 3 of known_hosts has " + key_fingerprint(blob(ed25519, "old"))));
}

TEST_F(Checked, ARevokedOneIsRefusedThoughItIsKnown) {
  const Error error = check(line("alpha", ed25519) + "@revoked " + line("*", ed25519), blob(ed25519));
  EXPECT_EQ(error.code, Code::denied);
  EXPECT_THAT(error.message, HasSubstr("is revoked by line 2 of known_hosts"));
}

TEST_F(Checked, WhatIsNoKeyIsNoTrouble) {
  EXPECT_EQ(check("", "").code, Code::denied);
  EXPECT_EQ(check("", std::string("\xff\xff\xff\xff\n", 5)).code, Code::denied);
}

TEST(Base64, BothWays) {
  for (const auto& text : std::vector<std::string>{"", "a", "ab", "abc", "abcd", std::string("\0\xff\x10", 3)})
    EXPECT_EQ(decode_base64(encode_base64(text)), text);
  EXPECT_EQ(encode_base64("ab"), "YWI=");
  for (const auto* wrong : {"a", "ab=", "a$==", "====="}) EXPECT_FALSE(decode_base64(wrong)) << wrong;
}

}  // namespace
}  // namespace ferry::transport
