#pragma once

#include <filesystem>
#include <memory>

#include "engine/client.h"
#include "engine/tracker.h"
#include "migration/hand_offs.h"
#include "migration/sources.h"
#include "volumes/catalogue.h"
#include "volumes/mounts.h"

namespace ferry::peer {

/// What any host has below its peer server: a catalogue and its volumes, but no Docker Engine.
struct BareHost {
  explicit BareHost(const std::filesystem::path& root)
      : catalogue(std::move(*volumes::Catalogue::open(volumes::Layout(root)))),
        client(root / "no-engine.sock"),
        tracker(client, [] {}),
        mounts(root / "propagated", root / "scratch"),
        sources(*catalogue, mounts, client, tracker, root, root / "propagated"),
        hand_offs({*catalogue, mounts, client, tracker, sources, [] {},
                   [this](const std::string& name) { return catalogue->remove(name); }}) {}

  const std::unique_ptr<volumes::Catalogue> catalogue;
  engine::Client client;
  engine::Tracker tracker;
  volumes::Mounts mounts;
  const migration::Sources sources;
  migration::HandOffs hand_offs;
};

}  // namespace ferry::peer
