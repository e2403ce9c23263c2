#include "transport/body.h"

namespace ferry::transport {

Body read_body(const httplib::ContentReader& read, std::size_t most, std::string& body) {
  bool too_large = false;
  const bool complete = read([&](const char* data, std::size_t size) {
    too_large = size > most - body.size();
    if (!too_large) body.append(data, size);
    return !too_large;
  });
  if (too_large) return Body::too_large;
  return complete ? Body::complete : Body::broken;
}

}  // namespace ferry::transport
