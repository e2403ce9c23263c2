#pragma once

#include <httplib.h>

#include <cstddef>
#include <string>

namespace ferry::transport {

enum class Body {
  complete,
  too_large,
  broken,  ///< the connection, or how the body was sent
};

/// Reads a request's body of `most` bytes at most into `body`, within a handler that httplib gives a ContentReader.
/// set_payload_max_length() does not bound a chunked body (httplib 0.11; before 0.20.1, CVE-2025-46728), so a handler
/// without a ContentReader, or a method and path without any handler, takes as much memory as the client likes.
Body read_body(const httplib::ContentReader& read, std::size_t most, std::string& body);

}  // namespace ferry::transport
