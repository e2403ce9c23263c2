#include "transport/tls_stream.h"

#include <openssl/err.h>

namespace ferry::transport {

bool TlsStream::may_repeat(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ: return wait_to_read();
    case SSL_ERROR_WANT_WRITE: return wait_to_write();
    default: return false;
  }
}

ssize_t TlsStream::read(char* data, std::size_t size) {
  while (may_go_on()) {
    std::size_t n = 0;
    ERR_clear_error();
    const int result = SSL_read_ex(ssl_, data, size, &n);
    if (result == 1) return static_cast<ssize_t>(n);
    if (SSL_get_error(ssl_, result) == SSL_ERROR_ZERO_RETURN) return 0;
    if (!may_repeat(result)) return -1;
  }
  return -1;
}

ssize_t TlsStream::write(const char* data, std::size_t size) {
  while (may_go_on()) {
    std::size_t n = 0;
    ERR_clear_error();
    const int result = SSL_write_ex(ssl_, data, size, &n);
    if (result == 1) return flush() ? static_cast<ssize_t>(n) : -1;
    if (!may_repeat(result)) return -1;
  }
  return -1;
}

/// Sends what is in the buffer that tls_context has put before the socket.
bool TlsStream::flush() {
  BIO* buffer = SSL_get_wbio(ssl_);
  while (may_go_on()) {
    ERR_clear_error();
    if (BIO_flush(buffer) == 1) return true;
    if (BIO_should_retry(buffer) == 0 || !wait_to_write()) return false;
  }
  return false;
}

}  // namespace ferry::transport
