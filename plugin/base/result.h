#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace ferry {

/// What a caller can act on; everything else is told by the message.
enum class Code {
  invalid_argument,  ///< the request is wrong and will be wrong again
  not_found,
  already_exists,
  busy,         ///< in use now; may work later
  denied,       ///< not allowed, or the keys differ
  unavailable,  ///< the other side cannot be reached now; worth a retry
  no_space,
  corrupt,      ///< stored or received data is not what it must be
  unsupported,  ///< this version or this file system cannot do it
  cancelled,
  io,  ///< a system call failed
};

std::string_view to_string(Code code);

/// An error with one clear sentence for the user: what is wrong, where, and what would be right.
struct Error {
  Code code;
  std::string message;
};

template <class T = void>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> fail(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}

/// Passes the error of one Result on as another's.
template <class T>
tl::unexpected<Error> pass(Result<T>& result) {
  return tl::unexpected<Error>(std::move(result.error()));
}

/// The error of a system call that set errno: "WHAT: No space left on device".
/// ENOSPC and EDQUOT become no_space; ENOENT, ENOTDIR, ELOOP, ENXIO and ENODATA not_found (nothing of the wanted kind
/// is there); EEXIST already_exists; EBUSY busy; the rest io.
tl::unexpected<Error> fail_errno(std::string_view what, int error = errno);

}  // namespace ferry

#define FERRY_CONCAT_(a, b) a##b
#define FERRY_CONCAT(a, b) FERRY_CONCAT_(a, b)

#define FERRY_TRY_(result, expression)         \
  do {                                         \
    auto result = (expression);                \
    if (!result) return ::ferry::pass(result); \
  } while (false)

/// Returns from the enclosing function with the error if `expression` (a Result<>) failed.
#define FERRY_TRY(expression) FERRY_TRY_(FERRY_CONCAT(ferry_try_, __COUNTER__), expression)

#define FERRY_ASSIGN_(result, target, expression) \
  auto result = (expression);                     \
  if (!result) return ::ferry::pass(result);      \
  target = std::move(*result)

/// Declares `target` with the value of `expression` (a Result<T>), or returns its error.
#define FERRY_ASSIGN(target, expression) FERRY_ASSIGN_(FERRY_CONCAT(ferry_result_, __COUNTER__), target, expression)
