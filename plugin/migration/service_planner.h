#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "engine/containers.h"
#include "migration/service_obstacles.h"
#include "volumes/catalogue.h"

namespace ferry::migration {

/// The sockets of `protocol` in a table like /proc/net/tcp or /proc/net/udp6 (proc(5)) that have `state`, in hex
/// digits. An IPv4 address in an IPv6 socket is one of IPv4.
std::vector<engine::PublishedPort> sockets_in(std::string_view table, const std::string& protocol,
                                              std::string_view state);

/// The member `service` of Status, docs/status.md: what would move, and what stands in the way. Without secrets.
nlohmann::json plan_of(const ServiceDescription& service, const ServiceOptions& options, const DestinationFacts& there,
                       const std::vector<Obstacle>& obstacles);

/// Whether what both unpack to is the same: the ID depends on the store, and what was never pulled or pushed has no
/// digest.
bool has_same_layers(const engine::Image& a, const engine::Image& b);

/// This host as the destination of services. Thread-safe.
class ServicePlanner {
 public:
  /// The references must outlive this object. `network` is a directory like /proc/net, of the host's network.
  ServicePlanner(engine::Client& client, const volumes::Catalogue& catalogue,
                 std::filesystem::path network = "/proc/net")
      : client_(client), containers_(client), catalogue_(catalogue), network_(std::move(network)) {}

  /// What would become of the service here; see plan_of(). Changes nothing.
  /// `interrupt` ends it with Code::cancelled; none: engine::Client::stop().
  Result<nlohmann::json> plan(const ServiceDescription& service, const ServiceOptions& options,
                              engine::Interrupt* interrupt = nullptr) const;

  /// What stands in the way of it here, and what will be otherwise; see find_obstacles(). What was made for `ticket`
  /// does not.
  Result<std::vector<Obstacle>> obstacles(const ServiceDescription& service, const ServiceOptions& options,
                                          const std::string& ticket, engine::Interrupt* interrupt = nullptr) const;

  /// Whether that container of this host could be started, as far as others stand in its way, running or not.
  /// Code::busy: its port or name is taken, or its network gone.
  Result<> check_start(const engine::Container& container) const;

  /// The image of the service here, by which a container can be made of it: its name if that means it, else an ID or
  /// digest. Empty: it is not here. Code::already_exists: another one has its name.
  Result<std::string> image_for(const ServiceDescription& service, engine::Interrupt* interrupt = nullptr) const;

 private:
  struct FoundImage {
    DestinationFacts::ImageThere there = DestinationFacts::ImageThere::no;
    std::string reference;
  };
  Result<DestinationFacts> find_facts(const ServiceDescription& service, const ServiceOptions& options,
                                      const std::string& ticket, engine::Interrupt* interrupt) const;
  Result<> find_volumes(const ServiceDescription& service, const ServiceOptions& options, const std::string& ticket,
                        DestinationFacts& facts) const;
  Result<FoundImage> find_image(const ServiceDescription& service, engine::Interrupt* interrupt) const;
  std::vector<engine::PublishedPort> find_listening() const;

  engine::Client& client_;
  const engine::Containers containers_;
  const volumes::Catalogue& catalogue_;
  const std::filesystem::path network_;
};

}  // namespace ferry::migration
