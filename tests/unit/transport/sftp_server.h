#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "transport/peer_address.h"
#include "transport/sshd.h"

namespace ferry::transport {

/// For tests with files behind a real sshd, on 127.0.0.1.
class SftpServerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = Sshd::why_not(); !why.empty()) GTEST_SKIP() << why;
    std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
    std::filesystem::create_directories(login_);
    std::filesystem::create_directories(files_);
    make_key(login_ / "id_ed25519", "ed25519");
    write_private(directory_.path() / "authorized", read_text(login_ / "id_ed25519.pub"));
    std::filesystem::permissions(directory_.path() / "authorized", std::filesystem::perms(0644));
    start();
  }

  /// Another one, with these settings.
  void start(const std::string& settings = "") {
    sshd_.reset();
    sshd_ = std::make_unique<Sshd>(directory_.path(), settings, std::vector<std::string>{"ed25519"});
    write_private(login_ / "known_hosts", "[127.0.0.1]:" + std::to_string(sshd_->port()) + " " +
                                              read_text(directory_.path() / "host_ed25519.pub"));
  }
  PeerAddress host(const std::string& user = "root") const {
    return {PeerAddress::Way::ssh, user, {"127.0.0.1", sshd_->port()}};
  }

  std::string path(const std::string& name) const { return (files_ / name).string(); }
  void write(const std::string& name, const std::string& text) const { write_private(files_ / name, text); }
  std::string read(const std::string& name) const { return read_text(files_ / name); }
  bool there(const std::string& name) const { return std::filesystem::exists(files_ / name); }

  TemporaryDirectory directory_;
  const std::filesystem::path login_ = directory_.path() / "login";
  const std::filesystem::path files_ = directory_.path() / "files";
  std::unique_ptr<Sshd> sshd_;
};

}  // namespace ferry::transport
