#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/result.h"
#include "migration/peer.h"
#include "sync/receiver.h"

/// The JSON messages of the peer protocol, docs/protocol.md. Encoders never throw; decoders check everything, since a
/// peer's bytes are hostile, and give Code::corrupt.
namespace ferry::peer {

/// Every path begins with it; a peer of another protocol version answers 404.
inline constexpr const char* path_prefix = "/ferry/v2";
inline constexpr const char* json_type = "application/json";
inline constexpr const char* bytes_type = "application/octet-stream";

struct Hello {
  std::string version;                            ///< of Ferry, for people
  std::string uuid;                               ///< of the catalogue
  std::vector<migration::FenceRequest> fences{};  ///< what the host that asks has to be told
};

std::string encode(const Hello& hello);
Result<Hello> decode_hello(const std::string& text);

std::string encode(const migration::VolumeDescription& description);
Result<migration::VolumeDescription> decode_description(const std::string& text);

/// Of a volume, or of a container's writable layer.
struct OpenRequest {
  std::string volume;
  migration::Freeze freeze = migration::Freeze::refuse;
  std::string container{};  ///< empty: of the volume
  std::string frozen{};     ///< ID of the freeze that lasts meanwhile; empty: none
};
std::string encode(const OpenRequest& request);
Result<OpenRequest> decode_open_request(const std::string& text);

struct DescribeRequest {
  OpenRequest of;
  std::uint64_t room = 0;  ///< see migration::Peer::describe
};
std::string encode(const DescribeRequest& request);
Result<DescribeRequest> decode_describe_request(const std::string& text);

/// The answer to an open request: the ID under which the source is reached.
std::string encode_opened(const std::string& id);
Result<std::string> decode_opened(const std::string& text);

struct SealRequest {
  bool unchanged = false;  ///< see sync::Source::seal
};
std::string encode(const SealRequest& request);
Result<SealRequest> decode_seal_request(const std::string& text);

std::string encode(const sync::Seal& seal);
Result<sync::Seal> decode_seal(const std::string& text);

/// What a destination asks of the source; `host` and `peer` are not part of it.
std::string encode(const migration::HandOffRequest& request);
Result<migration::HandOffRequest> decode_hand_off_request(const std::string& text);
std::string encode(const migration::FreezeRequest& request);
Result<migration::FreezeRequest> decode_freeze_request(const std::string& text);
/// Of a freeze that has begun: whether anything stands still.
std::string encode_held(bool held);
Result<bool> decode_held(const std::string& text);
/// Of a freeze that has been ended.
std::string encode_lasted(bool lasted);
Result<bool> decode_lasted(const std::string& text);

std::string encode(const migration::FenceRequest& request);  ///< without `id`, which is in the path
Result<migration::FenceRequest> decode_fence_request(const std::string& text);
std::string encode(const migration::FenceAnswer& answer);
Result<migration::FenceAnswer> decode_fence_answer(const std::string& text);

/// What was made of a fence that came with a greeting; its ID is in the path.
struct FenceReport {
  std::string volume;  ///< as the fence names it
  migration::FenceAnswer answer;
};
std::string encode(const FenceReport& report);
Result<FenceReport> decode_fence_report(const std::string& text);

std::string encode(migration::hand_off::Answer answer);
Result<migration::hand_off::Answer> decode_hand_off_answer(const std::string& text);

/// What an exporting host asks for; the peer is not part of it, and the volumes are named as there and here.
std::string encode_export_request(const migration::TicketRequest& request);
Result<migration::TicketRequest> decode_export_request(const std::string& text);

/// The Status of a ticket, to be shown elsewhere: members that are not known are left out, and texts are cut.
std::string encode_status(const nlohmann::json& status);
Result<nlohmann::json> decode_status(const std::string& text);

/// An error as a message, and its HTTP status.
std::string encode(const Error& error);
int status_of(Code code);
/// The error that a peer answered; `status` counts where the text cannot be read.
Error decode_error(int status, const std::string& text, const std::string& peer);

}  // namespace ferry::peer
