#pragma once

#include <filesystem>
#include <memory>

#include "fake_peer.h"
#include "migration/tickets.h"

namespace ferry::migration {

/// Tickets and what they need of a host, put together as main.cpp does, for fixtures that let another process find what
/// the one before has left.
class OpenTickets {
 protected:
  /// All must outlive close_tickets().
  struct Around {
    FakePeers& peers;
    const ArchiveStore& archives;
    const volumes::Mounts& mounts;
    engine::Client& client;
    engine::Tracker& tracker;
    TicketPauses pauses;
  };
  void open_tickets(const std::filesystem::path& root, const Around& around) {
    catalogue_ = std::move(*volumes::Catalogue::open(volumes::Layout(root)));
    sources_ =
        std::make_unique<Sources>(*catalogue_, around.mounts, around.client, around.tracker, root, root / "propagated");
    hand_offs_ = std::make_unique<HandOffs>(
        HandOffs::Parts{*catalogue_, around.mounts, around.client, around.tracker, *sources_, [] {},
                        [this](const std::string& name) { return catalogue_->remove(name); }});
    imports_ = std::make_unique<Imports>(*catalogue_, around.peers, around.archives);
    tickets_ =
        std::make_unique<Tickets>(Tickets::Parts{*catalogue_, around.peers, *imports_, around.mounts, around.client,
                                                 *hand_offs_, 7766, [] {}, around.pauses, sources_.get()});
    hand_offs_->resume([this](const std::string& volume) { return tickets_->holder(volume); });
  }
  void close_tickets() {
    tickets_->abandon_all();
    tickets_.reset();
    imports_.reset();
    hand_offs_.reset();
    sources_.reset();
    catalogue_.reset();
  }

  std::unique_ptr<volumes::Catalogue> catalogue_;
  std::unique_ptr<Sources> sources_;
  std::unique_ptr<HandOffs> hand_offs_;
  std::unique_ptr<Imports> imports_;
  std::unique_ptr<Tickets> tickets_;
};

}  // namespace ferry::migration
