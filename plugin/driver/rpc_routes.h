#pragma once

#include <string>
#include <string_view>

#include "driver/rpc_driver.h"

namespace ferry::driver {

/// What the Engine gets for one RPC.
struct Answer {
  int status = 200;      ///< 404 for an unknown path. A failed RPC has 200 and an "Err", as moby's clients expect
  std::string body;      ///< JSON
  bool hang_up = false;  ///< answer nothing and close the connection
};

/// Runs the RPC of an HTTP path ("/VolumeDriver.Mount", in any case) and logs it. Never throws. Thread-safe as `driver`
/// is.
///
/// hang_up: an error in the answer to Get makes the Engine forget the volume with its labels and options, unless it is
/// a network error (moby, daemon/volume/service/store.go). So only the driver's word that there is no such volume is
/// answered; whatever else goes wrong breaks the connection, and the Engine tries again.
Answer answer_rpc(VolumeDriver& driver, std::string_view path, std::string_view body);

}  // namespace ferry::driver
