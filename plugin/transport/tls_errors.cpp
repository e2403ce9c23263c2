#include "transport/tls_errors.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>

#include "base/log.h"

namespace ferry::transport {

namespace {

bool is_alert(const HandshakeFacts& facts, int alert) { return facts.reason == SSL_AD_REASON_OFFSET + alert; }

/// What a Ferry sends that knows no such key: it has no certificate to go on with. The others come when somebody
/// changes the messages on their way, or uses the same identity for another key.
bool says_keys_differ(const HandshakeFacts& facts) {
  return is_alert(facts, SSL_AD_HANDSHAKE_FAILURE) || is_alert(facts, SSL_AD_UNKNOWN_PSK_IDENTITY) ||
         is_alert(facts, SSL_AD_ILLEGAL_PARAMETER) || is_alert(facts, SSL_AD_DECRYPT_ERROR);
}

bool hung_up(const HandshakeFacts& facts) {
  return facts.ssl_error == SSL_ERROR_SYSCALL || facts.ssl_error == SSL_ERROR_ZERO_RETURN ||
         facts.reason == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

}  // namespace

std::string openssl_reason() {
  const unsigned long error = ERR_peek_error();
  ERR_clear_error();
  const char* reason = ERR_reason_error_string(error);
  if (reason != nullptr) return reason;
  return error == 0 ? "no reason given" : "error " + std::to_string(error);
}

Error explain_connect(const HandshakeFacts& facts, const std::string& peer) {
  if (facts.timed_out)
    return {Code::unavailable, peer + " accepts connections but does not answer; is it Ferry that listens there?"};
  if (facts.certificate)
    return {Code::unsupported, "what listens on " + peer + " is not Ferry: it answers with a certificate"};
  if (says_keys_differ(facts))
    return {Code::denied, "the keys of this host and " + peer +
                              " differ; copy the file ferry/key below the Docker data root from one to the other"};
  if (is_alert(facts, SSL_AD_INTERNAL_ERROR))
    return {Code::unavailable,
            peer + " cannot serve now: it has too many connections or cannot read its key; its log says which"};
  if (hung_up(facts))
    return {Code::unavailable,
            peer + " closed the connection before it was secured; if it stays so, it is not Ferry that listens there"};
  return {Code::unsupported,
          "what listens on " + peer + " does not speak Ferry's protocol (TLS: " + facts.detail + ")"};
}

Error explain_accept(const HandshakeFacts& facts, const std::string& identity, const std::string& peer) {
  if (facts.own_key_error)
    return {facts.own_key_error->code, "cannot serve " + peer + ": " + facts.own_key_error->message};
  if (facts.timed_out) return {Code::unavailable, peer + " did not finish the TLS handshake in time"};
  if (!facts.offered.empty() && facts.offered != identity)
    return {Code::denied,
            peer + " has another key: it offered " + quote(facts.offered) + ", this host has " + quote(identity)};
  if (hung_up(facts)) return {Code::unavailable, peer + " closed the connection before it was secured"};
  return {Code::denied, peer + " did not prove the key (TLS: " + facts.detail + ")"};
}

}  // namespace ferry::transport
