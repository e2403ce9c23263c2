#pragma once

#include <gtest/gtest.h>

#include <fstream>

#include "host.h"
#include "migration/arrivals.h"
#include "migration/exports.h"
#include "migration/forced_reclaims.h"
#include "peer/client.h"
#include "peer/offer.h"
#include "peer/server.h"
#include "transport/tls_server.h"

namespace ferry::peer {

/// A host with all that its peers can talk to, and a network to it.
class FullHost : public BareHost {
 public:
  FullHost(const std::filesystem::path& root, const transport::KeyFile& keys)
      : BareHost(root),
        peers(make_peer_factory(keys, "", ExportEnds{sources, catalogue->uuid(), links_, hand_offs})),
        imports_(*catalogue, *peers, archives_),
        tickets({*catalogue, *peers, imports_, mounts, client, hand_offs, 0, [] {}}),
        exports({*catalogue, *peers, sources, hand_offs}),
        forced({*catalogue, *peers, hand_offs, tickets, 0}),
        arrivals_(*catalogue, {[this](const std::string& name, const migration::TicketRequest& asked) {
                                 return tickets.begin(name, asked);
                               },
                               [this](const std::string& name) -> Result<> {
                                 FERRY_TRY(tickets.cancel(name));
                                 return catalogue->remove(name);
                               },
                               [this](const volumes::VolumeRecord& ticket) { return tickets.status(ticket); }}),
        server_(sources, catalogue->uuid(), {Permission::write}),
        tls_(keys, 0, "127.0.0.1") {
    hand_offs.resume([this](const std::string& name) { return tickets.holder(name); });
    server_.receive(arrivals_, links_);
    server_.tell(forced);
    server_.add_routes(tls_.routes());
    const auto started = tls_.start();
    EXPECT_TRUE(started) << started.error().message;
  }
  ~FullHost() { stop(); }
  FullHost(const FullHost&) = delete;
  FullHost& operator=(const FullHost&) = delete;

  /// As main.cpp does.
  void stop() {
    links_.stop();
    forced.stop();
    tls_.stop();
    exports.abandon_all();
    tickets.abandon_all();
  }
  void add(const std::string& name) {
    volumes::VolumeRecord record;
    record.name = name;
    record.created = "2026-11-22T17:05:09Z";
    record.lineage = "lineage of " + name;
    ASSERT_TRUE(catalogue->create(record));
    std::ofstream(catalogue->layout().data(name) / "file") << name;
  }
  std::uint16_t port() const { return tls_.port(); }

 private:
  TurnedLinks links_;

 public:
  const std::unique_ptr<migration::PeerFactory> peers;

 private:
  const migration::ArchiveStore archives_{{}, {}};
  migration::Imports imports_;

 public:
  migration::Tickets tickets;
  migration::Exports exports;
  migration::ForcedReclaims forced;

 private:
  migration::Arrivals arrivals_;
  Server server_;
  transport::TlsServer tls_;
};

}  // namespace ferry::peer
