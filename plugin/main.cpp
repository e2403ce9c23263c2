#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <thread>

#include "base/log.h"
#include "base/memory.h"
#include "base/time.h"
#include "driver/rpc_server.h"
#include "driver/rpc_socket.h"
#include "driver/volume_service.h"
#include "engine/client.h"
#include "engine/tracker.h"
#include "migration/archive_exports.h"
#include "migration/arrivals.h"
#include "migration/exports.h"
#include "migration/forced_reclaims.h"
#include "migration/freezes.h"
#include "migration/hand_offs.h"
#include "migration/imports.h"
#include "migration/label_keeper.h"
#include "migration/sources.h"
#include "peer/client.h"
#include "peer/listeners.h"
#include "peer/server.h"
#include "peer/turned_links.h"
#include "settings.h"
#include "transport/key_file.h"
#include "transport/socket_stream.h"
#include "volumes/catalogue.h"
#include "volumes/marker.h"
#include "volumes/marker_keeper.h"
#include "volumes/mount_table.h"
#include "volumes/mounts.h"
#include "volumes/trash.h"

/// Wires the parts together; what they do is in their headers. The paths are those of config.json.
namespace ferry {

namespace {

const std::filesystem::path data_root = "/host/docker";
const std::filesystem::path host_run = "/host/run";
const std::filesystem::path host_ssh = "/host/ssh";
const std::filesystem::path host_archives = "/host/archives";
const std::filesystem::path propagated = "/propagated";
const std::filesystem::path scratch = "/run/ferry";
const std::filesystem::path plugin_socket = "/run/docker/plugins/ferry.sock";

/// Many connections, and one descriptor for each level of a deep tree that is open.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

sigset_t termination_signals() {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGTERM);
  ::sigaddset(&signals, SIGINT);
  return signals;
}

void wait_for_termination() {
  const sigset_t signals = termination_signals();
  int signal = 0;
  ::sigwait(&signals, &signal);
  spdlog::info("stopping on signal {}", signal);
}

/// A predecessor that was killed may need a moment to let go of the lock.
Result<std::unique_ptr<volumes::Catalogue>> open_catalogue(const volumes::Layout& layout) {
  const Deadline deadline = after(std::chrono::seconds(8));
  while (true) {
    auto catalogue = volumes::Catalogue::open(layout);
    if (catalogue || catalogue.error().code != Code::busy || SteadyClock::now() > deadline) return catalogue;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}

/// Before anything is served: the plugin's own mounts and the catalogue, or a reason not to serve.
Result<std::unique_ptr<volumes::Catalogue>> load(const volumes::Layout& layout) {
  FERRY_TRY(volumes::unpin_mounts(data_root.string(), {layout.base().string(), (data_root / "volumes").string()}));
  FERRY_TRY(volumes::check_marker(propagated, layout));
  return open_catalogue(layout);
}

/// With what is mounted below it; empty: there is none. By default it is the host's /run, because a mount's source has
/// to exist: never one for archives, whatever `run` is. What is mounted below that must not be kept from being
/// unmounted.
std::filesystem::path archives_directory() {
  std::error_code failed;
  const bool is_run = std::filesystem::exists(host_archives / "docker" / "plugins", failed) ||
                      std::filesystem::equivalent(host_archives, host_run, failed);
  if (!is_run && !failed) return host_archives;
  if (auto unpinned = volumes::unpin_mounts(host_archives.string(), {}); !unpinned)
    spdlog::error("{}", unpinned.error().message);
  return {};
}

/// Completes the marker with the host's path of the data source, once the Engine can be asked. True: done, for as long
/// as the plugin runs, because only a disabled one can be given another source.
bool complete_marker(engine::Client& client, volumes::MarkerKeeper& marker) {
  const auto id = volumes::plugin_id(propagated.string());
  if (!id) return false;
  const auto source = client.plugin_mount_source(*id, "data");
  if (!source) return false;
  const auto written = marker.set_source(*source);
  if (!written) spdlog::warn("{}", written.error().message);
  return written.has_value();
}

Result<> serve(const Settings& settings, volumes::Catalogue& catalogue) {
  const volumes::Layout& layout = catalogue.layout();
  volumes::Mounts mounts(propagated, scratch);
  FERRY_TRY(mounts.start());
  const transport::KeyFile keys(layout.key());
  if (auto ensured = keys.ensure(); !ensured) spdlog::error("{}", ensured.error().message);
  volumes::Trash trash(layout, std::chrono::duration_cast<std::chrono::seconds>(settings.trash_retention));

  volumes::MarkerKeeper marker(propagated, catalogue);
  if (auto marked = marker.update(); !marked) spdlog::error("{}", marked.error().message);
  engine::Client client(host_run / settings.engine_socket);
  migration::LabelKeeper labels(catalogue, client);
  engine::Tracker tracker(client, [&, complete = false]() mutable {
    labels.wake();
    complete = complete || complete_marker(client, marker);
  });
  const migration::Sources sources(catalogue, mounts, client, tracker, data_root, propagated);
  const auto remove = [&](const std::string& name) { return marker.remove([&] { return catalogue.remove(name); }); };
  const auto mark = [&] {
    if (auto marked = marker.update(); !marked) spdlog::error("{}", marked.error().message);
  };
  migration::HandOffs hand_offs({catalogue, mounts, client, tracker, sources, mark, remove});
  peer::TurnedLinks links;
  const migration::Services services(client, sources);
  const migration::ContainerHolds holds(client);
  migration::ServiceDepartures departures({catalogue, hand_offs, holds, mark, remove});
  migration::Freezes freezes({layout, client, tracker, holds});
  const auto peers = peer::make_peer_factory(
      keys, host_ssh,
      peer::ExportEnds{sources, catalogue.uuid(), links, hand_offs, settings.allow.contains(peer::Permission::freeze),
                       &services, &departures, &freezes});
  const migration::ArchiveStore archives(host_ssh, archives_directory());
  migration::Imports imports(catalogue, *peers, archives);
  migration::Tickets tickets({catalogue,
                              *peers,
                              imports,
                              mounts,
                              client,
                              hand_offs,
                              settings.port,
                              [&] {
                                labels.wake();
                                trash.wake();
                              },
                              {},
                              &sources,
                              [&](const std::string& container) { departures.forget(container); }});
  hand_offs.resume([&](const std::string& volume) { return tickets.holder(volume); });
  tickets.resume();  // before a volume that one of them holds can be mounted
  migration::Exports exports({catalogue, *peers, sources, hand_offs, &services, &departures});
  exports.resume();
  migration::ForcedReclaims forced({catalogue, *peers, hand_offs, tickets, settings.port});
  forced.start();
  migration::ArchiveExports archive_exports(catalogue, archives, sources);
  const migration::ServicePlanner planner(client, catalogue);
  migration::ServicePlans plans({catalogue, *peers, services, planner});
  plans.resume();
  migration::ServiceArrivals arriving({catalogue, *peers, client, planner, tickets});
  migration::ServiceReturns returns({catalogue, *peers, client, sources, planner, departures, tickets});
  driver::VolumeService service({catalogue, mounts, trash, imports, tickets, exports, archive_exports, hand_offs,
                                 forced, plans, departures, arriving, returns, labels, tracker, marker});
  migration::Arrivals arrivals(catalogue,
                               {[&](const std::string& name, const migration::TicketRequest& asked) {
                                  return service.create_ticket(name, asked);
                                },
                                [&](const std::string& name) { return service.remove(name); },
                                [&](const volumes::VolumeRecord& ticket) { return service.ticket_status(ticket); }});
  driver::RpcServer rpc(service, plugin_socket);
  FERRY_TRY(rpc.start());
  tracker.start();
  labels.start();
  imports.resume();
  archive_exports.resume();  // which needs to know who has a volume mounted
  peer::Server peer_server(sources, catalogue.uuid(), settings.allow);
  peer_server.receive(arrivals, links);
  peer_server.hand_over(hand_offs);
  peer_server.tell(forced);
  departures.start();  // containers are brought back, which mount volumes
  arriving.resume();   // as do those that are made
  peer_server.let_depart(departures);
  freezes.start();
  peer_server.let_freeze(freezes);
  peer_server.move_services(services, planner);
  peer::Listeners listeners(keys, peer_server, settings.port, host_run, host_run / settings.engine_socket);
  listeners.start();

  wait_for_termination();
  freezes.stop();  // while the Engine can be asked
  client.stop();
  links.stop();
  forced.stop();
  departures.stop();
  std::thread packing([&] { peer_server.stop_packing(); });  // each may wait for the other
  listeners.stop();
  packing.join();
  exports.abandon_all();
  archive_exports.abandon_all();
  plans.abandon_all();
  arriving.abandon_all();
  imports.abandon_all();
  tickets.abandon_all();
  rpc.stop();
  labels.stop();
  tracker.stop();
  return {};
}

/// Before a process ends to be started anew: until the Engine has looked whether it listens, by a connection without a
/// request. It disables a plugin that has ended before that (moby daemon/pkg/plugin/manager_linux.go, pluginPostStart).
void wait_for_engine() {
  constexpr std::chrono::seconds longest{20};
  constexpr std::chrono::milliseconds first_byte{200};
  driver::RpcSocket socket(plugin_socket);
  const auto listening = socket.listen();
  if (!listening) return spdlog::error("{}", listening.error().message);
  const Deadline deadline = after(longest);
  while (transport::wait_for(listening->get(), POLLIN, deadline)) {
    const Fd connection(::accept4(listening->get(), nullptr, nullptr, SOCK_CLOEXEC));
    char byte = 0;
    const bool is_told = transport::wait_for(connection.get(), POLLIN, std::min(deadline, after(first_byte)));
    if (is_told && ::recv(connection.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0) return;
  }
}

Result<> run() {
  FERRY_ASSIGN(const Settings settings, read_settings());
  FERRY_TRY(set_up_logging(settings.log_level));
  spdlog::info("Ferry " FERRY_VERSION " starts");
  if (auto seen = volumes::check_seen_by_engine(propagated.string(), data_root.string()); !seen) {
    wait_for_engine();
    return seen;
  }
  auto catalogue = load(volumes::Layout(data_root));
  if (!catalogue) {
    // Staying up without listening makes `docker plugin enable` fail once; exiting would make the Engine restart the
    // plugin over and over.
    spdlog::error("NOT SERVING: {}", catalogue.error().message);
    wait_for_termination();
    return {};
  }
  return serve(settings, **catalogue);
}

}  // namespace

}  // namespace ferry

int main() {
  const sigset_t signals = ferry::termination_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::umask(0);
  ferry::raise_file_limit();
  ferry::return_large_blocks();
  const auto result = ferry::run();
  if (result) return 0;
  spdlog::error("{}", result.error().message);
  return 1;
}
