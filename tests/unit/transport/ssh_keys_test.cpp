#include "transport/ssh_keys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "transport/sshd.h"
#include "transport/temporary.h"

namespace ferry::transport {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SshKeys : public testing::Test {
 protected:
  TemporaryDirectory directory_;
  std::filesystem::path path(const std::string& name) { return directory_.path() / name; }
  PrivateKeys load() { return load_private_keys(directory_.path()); }
};

TEST_F(SshKeys, AreFoundUnderTheirUsualNames) {
  EXPECT_THAT(explain_no_key(load()).message, HasSubstr("none of id_ed25519, id_ecdsa and id_rsa"));
  for (const auto* name : {"id_rsa", "id_ed25519", "id_ecdsa", "id_other"}) write_private(path(name), name);
  const auto keys = load();
  ASSERT_EQ(keys.usable.size(), 3U);
  EXPECT_EQ(keys.usable[0].name(), "id_ed25519");
  EXPECT_EQ(keys.usable[1].content(), "id_ecdsa");
  EXPECT_EQ(keys.usable[2].name(), "id_rsa");
  EXPECT_THAT(keys.unusable, IsEmpty());
}

TEST_F(SshKeys, PassphrasesAreSeenInEveryFormat) {
  for (const std::string type : {"ed25519", "ecdsa", "rsa"}) {
    make_key(path("open"), type);
    EXPECT_FALSE(has_passphrase(read_text(path("open")))) << type;
    make_key(path("shut"), type, "secret");
    EXPECT_TRUE(has_passphrase(read_text(path("shut")))) << type;
  }
  for (const std::string format : {"PEM", "PKCS8"}) {
    for (const std::string passphrase : {"", "secret"}) {
      make_key(path("key"), "rsa");
      ASSERT_EQ(run_program({"ssh-keygen", "-q", "-p", "-P", "", "-N", passphrase, "-m", format, "-f", path("key")}),
                0);
      EXPECT_EQ(has_passphrase(read_text(path("key"))), !passphrase.empty()) << format;
    }
  }
  EXPECT_FALSE(has_passphrase(""));
  EXPECT_FALSE(has_passphrase("-----BEGIN OPENSSH PRIVATE KEY-----"));
}

TEST_F(SshKeys, OneThatMayNotBeUsedLeavesTheOthers) {
  make_key(path("id_ed25519"), "ed25519", "secret");
  make_key(path("id_ecdsa"), "ecdsa");
  std::filesystem::create_directory(path("id_rsa"));
  const auto keys = load();
  ASSERT_EQ(keys.usable.size(), 1U);
  EXPECT_EQ(keys.usable[0].name(), "id_ecdsa");
  EXPECT_THAT(keys.unusable, ElementsAre(HasSubstr("id_ed25519 in the directory ssh.source has a passphrase"),
                                         HasSubstr("id_rsa in the directory ssh.source is not a file")));
}

TEST_F(SshKeys, OneThatOthersMayReadIsNotUsed) {
  write_private(path("id_rsa"), "key");
  for (const unsigned mode : {0640U, 0604U, 0620U}) {
    std::filesystem::permissions(path("id_rsa"), std::filesystem::perms(mode));
    const auto keys = load();
    EXPECT_THAT(keys.usable, IsEmpty());
    EXPECT_THAT(explain_no_key(keys).message, HasSubstr("may be read by others (mode 0"));
    EXPECT_EQ(explain_no_key(keys).code, Code::denied);
  }
}

}  // namespace
}  // namespace ferry::transport
