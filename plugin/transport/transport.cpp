#include "transport/transport.h"

#include "transport/stream_client.h"

namespace ferry::transport {

Error explain_request(httplib::Error error, const std::string& peer) {
  switch (error) {
    case httplib::Error::Connection: return {Code::unavailable, "the connection to " + peer + " is closed"};
    case httplib::Error::Read: return {Code::unavailable, peer + " stopped answering, or the connection broke"};
    case httplib::Error::Write: return {Code::unavailable, "the connection to " + peer + " broke while sending"};
    case httplib::Error::Canceled: return {Code::cancelled, "the request to " + peer + " was cancelled"};
    default: return {Code::unavailable, "the request to " + peer + " failed: " + httplib::to_string(error)};
  }
}

Result<std::unique_ptr<PeerClient>> Transport::connect(std::chrono::milliseconds timeout) {
  FERRY_ASSIGN(Link link, open(timeout));
  const PeerAddress to = address();
  const bool has_name = to.way != PeerAddress::Way::turned;  // else it is a name for people
  return make_stream_client(has_name ? to.endpoint : Endpoint{"exporter", 0}, std::move(link));
}

}  // namespace ferry::transport
