#include "transport/endpoint.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"

namespace ferry::transport {

namespace {

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/// RFC 1123 with underscores, as they occur in container and host names.
bool is_host_name(std::string_view host) {
  return host.size() <= 253 && host.front() != '.' && host.front() != '-' &&
         host.find("..") == std::string_view::npos && std::ranges::all_of(host, is_name_character);
}

bool is_ipv6_literal(std::string_view host) {
  const std::string address(host.substr(0, host.find('%')));
  in6_addr parsed{};
  return ::inet_pton(AF_INET6, address.c_str(), &parsed) == 1;
}

Result<std::uint16_t> parse_port(std::string_view text, std::string_view whole) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc() || end != text.data() + text.size() || port < 1 || port > 65535)
    return fail(Code::invalid_argument,
                "port " + quote(text) + " of " + quote(whole) + " is not a number from 1 to 65535");
  return static_cast<std::uint16_t>(port);
}

/// What follows the closing bracket: nothing or ":PORT".
Result<Endpoint> parse_bracketed(std::string_view text, std::uint16_t port) {
  const auto close = text.find(']');
  if (close == std::string_view::npos) return fail(Code::invalid_argument, quote(text) + " lacks the closing ]");
  Endpoint endpoint{std::string(text.substr(1, close - 1)), port};
  if (!is_ipv6_literal(endpoint.host))
    return fail(Code::invalid_argument, quote(endpoint.host) + " in brackets is not an IPv6 address");
  const auto rest = text.substr(close + 1);
  if (rest.empty()) return endpoint;
  if (rest.front() != ':') return fail(Code::invalid_argument, quote(text) + " has something else than :PORT after ]");
  FERRY_ASSIGN(endpoint.port, parse_port(rest.substr(1), text));
  return endpoint;
}

}  // namespace

std::string Endpoint::text() const {
  const bool brackets = host.find(':') != std::string::npos;
  return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Endpoint> parse_endpoint(std::string_view text, std::uint16_t port) {
  if (text.empty()) return fail(Code::invalid_argument, "the host is missing: HOST or HOST:PORT");
  if (text.front() == '[') return parse_bracketed(text, port);
  const auto colon = text.find(':');
  if (colon != text.rfind(':'))
    return fail(Code::invalid_argument,
                quote(text) + " has several colons; write an IPv6 address in brackets: [::1]:" + std::to_string(port));
  Endpoint endpoint{std::string(text.substr(0, colon)), port};
  if (endpoint.host.empty())
    return fail(Code::invalid_argument, "the host before the port of " + quote(text) + " is missing");
  if (!is_host_name(endpoint.host))
    return fail(Code::invalid_argument, quote(endpoint.host) + " is not a host name or address");
  if (colon == std::string_view::npos) return endpoint;
  FERRY_ASSIGN(endpoint.port, parse_port(text.substr(colon + 1), text));
  return endpoint;
}

}  // namespace ferry::transport
