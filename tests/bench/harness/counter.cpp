// counter DIRECTORY PAGES: a service whose state is a log that grows, and a map of pages. Each number that a client
// sends is appended to the log, and stored in page NUMBER % PAGES of the map through mmap(2); then it is sent back. One
// client at a time. `counter DIRECTORY PAGES check LAST` tells whether both have every number that the log tells of,
// and LAST.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr std::size_t page_size = 4096;
constexpr std::size_t numbers_in_page = page_size / sizeof(std::uint64_t);
constexpr std::uint16_t port = 7000;

[[noreturn]] void die(const std::string& what) {
  std::perror(what.c_str());
  std::exit(1);
}

struct State {
  int log;
  std::uint64_t* map;
  std::size_t pages;
};

State open_state(const std::string& directory, std::size_t pages) {
  const int log = ::open((directory + "/log").c_str(), O_RDWR | O_APPEND | O_CREAT, 0600);
  const int map = ::open((directory + "/map").c_str(), O_RDWR | O_CREAT, 0600);
  if (log < 0 || map < 0 || ::ftruncate(map, static_cast<off_t>(pages * page_size)) != 0) die(directory);
  void* memory = ::mmap(nullptr, pages * page_size, PROT_READ | PROT_WRITE, MAP_SHARED, map, 0);
  if (memory == MAP_FAILED) die("mmap");
  return {log, static_cast<std::uint64_t*>(memory), pages};
}

/// The whole page has the number, so that half a page is noticed.
void store(const State& state, std::uint64_t number) {
  if (::write(state.log, &number, sizeof number) != sizeof number) die("log");
  std::uint64_t* page = state.map + number % state.pages * numbers_in_page;
  for (std::size_t i = 0; i < numbers_in_page; ++i) page[i] = number;
}

volatile std::sig_atomic_t is_over = 0;

void serve(const State& state) {
  const int listening = ::socket(AF_INET, SOCK_STREAM, 0);
  const int on = 1;
  ::setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (::bind(listening, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || ::listen(listening, 8) != 0)
    die("port");
  while (is_over == 0) {
    const int client = ::accept(listening, nullptr, nullptr);
    if (client < 0) continue;
    ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    std::uint64_t number = 0;
    while (is_over == 0 && ::recv(client, &number, sizeof number, MSG_WAITALL) == sizeof number) {
      store(state, number);
      if (::send(client, &number, sizeof number, MSG_NOSIGNAL) != sizeof number) break;
    }
    ::close(client);
  }
}

int check(const State& state, std::uint64_t last) {
  std::vector<std::uint64_t> expected(state.pages);
  std::uint64_t number = 0, before = 0;
  while (::read(state.log, &number, sizeof number) == sizeof number) {
    if (number <= before) return std::printf("the log has %lu after %lu\n", number, before), 1;
    before = expected[number % state.pages] = number;
  }
  if (before < last) return std::printf("the log ends with %lu, not %lu\n", before, last), 1;
  for (std::size_t i = 0; i < state.pages * numbers_in_page; ++i)
    if (state.map[i] != expected[i / numbers_in_page])
      return std::printf("page %zu has %lu, not %lu\n", i / numbers_in_page, state.map[i],
                         expected[i / numbers_in_page]),
             1;
  return std::printf("%lu\n", before), 0;
}

}  // namespace

int main(int count, char** words) {
  if (count != 3 && count != 5) return 2;
  struct sigaction ending {};  // without SA_RESTART; and PID 1 has no default
  ending.sa_handler = [](int) { is_over = 1; };
  ::sigaction(SIGTERM, &ending, nullptr);
  const State state = open_state(words[1], std::stoul(words[2]));
  if (count == 5) return check(state, std::stoull(words[4]));
  serve(state);
}
