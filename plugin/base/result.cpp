#include "base/result.h"

#include <system_error>

namespace ferry {

std::string_view to_string(Code code) {
  switch (code) {
    case Code::invalid_argument: return "invalid_argument";
    case Code::not_found: return "not_found";
    case Code::already_exists: return "already_exists";
    case Code::busy: return "busy";
    case Code::denied: return "denied";
    case Code::unavailable: return "unavailable";
    case Code::no_space: return "no_space";
    case Code::corrupt: return "corrupt";
    case Code::unsupported: return "unsupported";
    case Code::cancelled: return "cancelled";
    case Code::io: return "io";
  }
  return "io";
}

namespace {

Code code_of(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT: return Code::no_space;
    case ENOENT:
    case ENOTDIR:
    case ELOOP:
    case ENXIO:
    case ENODATA: return Code::not_found;
    case EEXIST: return Code::already_exists;
    case EBUSY: return Code::busy;
    default: return Code::io;
  }
}

}  // namespace

tl::unexpected<Error> fail_errno(std::string_view what, int error) {
  return fail(code_of(error), std::string(what) + ": " + std::generic_category().message(error));
}

}  // namespace ferry
