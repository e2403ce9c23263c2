#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "transport/socket_stream.h"
#include "transport/tcp.h"
#include "transport/temporary.h"

namespace ferry::transport {

/// Runs a program to its end; its exit code.
inline int run_program(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_t pid = 0;
  if (::posix_spawnp(&pid, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) return -1;
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

inline void make_key(const std::filesystem::path& path, const std::string& type, const std::string& passphrase = "") {
  std::filesystem::remove(path);
  std::filesystem::remove(path.string() + ".pub");
  ASSERT_EQ(run_program({"ssh-keygen", "-q", "-t", type, "-N", passphrase, "-C", "", "-f", path.string()}), 0);
}

/// OpenSSH's server on a port of 127.0.0.1, in a mount namespace of its own, where /run is `run` and root and ops (whom
/// group 4711 is the group of) may log in with what `authorized` has. Needs root.
class Sshd {
 public:
  static std::string why_not() {
    if (std::string(FERRY_SSHD).find("NOTFOUND") != std::string::npos) return "there is no sshd; make deps";
    return ::geteuid() == 0 ? "" : "needs root";
  }

  /// `settings` go before the others, so they count. Host keys: host_ed25519 and so on in `directory`.
  Sshd(std::filesystem::path directory, const std::string& settings, const std::vector<std::string>& key_types)
      : directory_(std::move(directory)), port_(bound_port(listen_tcp("127.0.0.1", 0)->get())) {
    std::filesystem::create_directories(directory_ / "run" / "sshd");
    std::string text = settings + "\nListenAddress 127.0.0.1:" + std::to_string(port_) + "\nAuthorizedKeysFile " +
                       (directory_ / "authorized").string() +
                       "\nPermitRootLogin prohibit-password\nStrictModes no\nUsePAM no\nPidFile none\n"
                       "MaxStartups 100\n";
    if (settings.find("Subsystem") == std::string::npos) text += "Subsystem sftp internal-sftp\n";
    for (const auto& type : key_types) {
      make_key(directory_ / ("host_" + type), type);
      text += "HostKey " + (directory_ / ("host_" + type)).string() + "\n";
    }
    write_private(directory_ / "config", text);
    const std::string home = directory_.string();
    write_private(directory_ / "passwd", "root:*:0:0:root:" + home + ":/bin/sh\nops:*:4711:4711:ops:" + home +
                                             ":/bin/sh\nsshd:*:101:65534::/run/sshd:/usr/sbin/nologin\n");
    std::filesystem::permissions(directory_ / "passwd", std::filesystem::perms(0644));
    start();
  }
  Sshd(const Sshd&) = delete;
  Sshd& operator=(const Sshd&) = delete;
  ~Sshd() { stop(); }

  std::uint16_t port() const { return port_; }
  std::filesystem::path run() const { return directory_ / "run"; }
  std::string log() const { return read_text(directory_ / "log"); }

  /// Ends it and every connection that it has: all of its processes are in a namespace of their own, of which the first
  /// one outlives `unshare` for an instant. Until then it listens, and a new one could not.
  void stop() {
    if (pid_ == 0) return;
    const auto children = children_of(pid_);
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
    const Deadline deadline = after(std::chrono::seconds(10));
    for (const pid_t child : children)
      while (is_running(child) && SteadyClock::now() < deadline)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }

  /// From here on, none of its processes does anything, and what is sent to it stays in the sockets.
  void freeze() const { signal_all(pid_, SIGSTOP); }
  void thaw() const { signal_all(pid_, SIGCONT); }

  void start() {
    const std::string script = "mount --bind " + (directory_ / "passwd").string() + " /etc/passwd && mount --bind " +
                               run().string() + " /run && " + mount_boot_id() + "exec " FERRY_SSHD " -D -e -f " +
                               (directory_ / "config").string() + " 2>>" + (directory_ / "log").string();
    // Its end is also that of a test program that dies: ctest waits for whoever has the program's output.
    const std::vector<std::string> words = {
        "setpriv", "--pdeathsig", "KILL",         "unshare", "--mount", "--propagation",
        "private", "--pid",       "--kill-child", "sh",      "-c",      script};
    std::vector<char*> arguments;
    for (const auto& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ASSERT_EQ(::posix_spawnp(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ), 0);
    const Deadline deadline = after(std::chrono::seconds(10));
    while (!connect_tcp({"127.0.0.1", port_}, deadline) && SteadyClock::now() < deadline)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    ASSERT_LT(SteadyClock::now(), deadline) << log();
  }

 private:
  static void signal_all(pid_t pid, int signal) {
    ::kill(pid, signal);
    for (const pid_t child : children_of(pid)) signal_all(child, signal);
  }

  static std::vector<pid_t> children_of(pid_t pid) {
    const std::string name = std::to_string(pid);
    std::ifstream list("/proc/" + name + "/task/" + name + "/children");
    std::vector<pid_t> children;
    for (pid_t child = 0; list >> child;) children.push_back(child);
    return children;
  }

  /// A zombie (state Z, proc(5)) has closed its files.
  static bool is_running(pid_t pid) {
    std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
    std::string stat;
    std::getline(file, stat);
    const auto name_end = stat.rfind(") ");
    return name_end != std::string::npos && stat[name_end + 2] != 'Z' && stat[name_end + 2] != 'X';
  }

  /// As after a boot, if the test wants that.
  std::string mount_boot_id() const {
    const std::string other = (directory_ / "boot_id").string();
    return std::filesystem::exists(other) ? "mount --bind " + other + " /proc/sys/kernel/random/boot_id && " : "";
  }

  const std::filesystem::path directory_;
  const std::uint16_t port_;
  pid_t pid_ = 0;
};

}  // namespace ferry::transport
