#include "migration/handed_off.h"

#include "base/time.h"
#include "migration/options.h"

namespace ferry::migration {

void mark_handed_off(volumes::VolumeRecord& record, const HandedOff& to) {
  const auto received = received_by(record);
  record.state = volumes::State::handed_off;
  record.hand_off = {{"id", to.id},     {"to", to.host},       {"peer", peer_to_json(to.peer)},
                     {"uuid", to.uuid}, {"volume", to.volume}, {"epoch", to.epoch},
                     {"of", to.group},  {"forced", to.forced}, {"when", now_rfc3339()}};
  if (!to.service.empty()) record.hand_off["service"] = to.service;
  if (!received.empty()) record.hand_off["received"] = received;
}

nlohmann::json peer_to_json(const std::optional<transport::PeerAddress>& peer) {
  if (!peer) return nullptr;
  auto json = nlohmann::json::object();
  add_to_json(json, *peer);
  return json;
}

std::string received_by(const volumes::VolumeRecord& record) {
  return record.hand_off.is_object() ? record.hand_off.value("received", "") : "";
}

bool was_handed_off_by(const volumes::VolumeRecord& record, const std::string& id) {
  return record.state == volumes::State::handed_off && record.hand_off.value("id", "") == id;
}

bool was_taken_from(const volumes::VolumeRecord& record, const std::string& id) {
  return record.hand_off.is_object() && record.hand_off.value("reclaimed", "") == id;
}

bool is_owner(const volumes::VolumeRecord& record) { return record.import.is_null() || record.hand_off.is_object(); }

Error explain_own(const volumes::VolumeRecord& record) {
  const bool is_ready = record.state == volumes::State::ready;
  return {Code::invalid_argument, "volume " + record.name + " was not handed off: it is " +
                                      (is_ready ? "this host's own" : std::string(to_string(record.state)))};
}

/// Not one that only the other host can open.
std::optional<transport::PeerAddress> peer_that_has(const volumes::VolumeRecord& record) {
  if (!record.hand_off.is_object() || !record.hand_off.contains("peer") || record.hand_off["peer"].is_null())
    return std::nullopt;
  auto peer = peer_of(record.hand_off["peer"]);
  if (peer.way == transport::PeerAddress::Way::turned) return std::nullopt;
  return peer;
}

Error explain_handed_off(const volumes::VolumeRecord& record) {
  const auto& gone = record.hand_off;
  const std::string service = gone.value("service", "");
  const std::string alone = "-o reclaim=" + record.name;
  return {Code::busy, "volume " + record.name + " was handed off: it is volume " + gone.value("volume", record.name) +
                          " of " + gone.value("to", "another host") + " now (epoch " +
                          std::to_string(gone.value("epoch", std::uint64_t{0})) +
                          "); use it there, or bring it back with a ticket, " +
                          (service.empty() ? alone
                                           : "-o reclaim=" + service + " for all of its service, or " + alone +
                                                 " if that is not to come with it")};
}

}  // namespace ferry::migration
