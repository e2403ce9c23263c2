#pragma once

#include <cstddef>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/client.h"
#include "engine/containers.h"

namespace ferry::engine {

/// How images come to a Docker Engine and leave it. Without `interrupt` Client::stop() ends a call. An Engine of which
/// nothing is heard for too long is Code::unavailable. Thread-safe.
class Images {
 public:
  explicit Images(Client& client) : client_(client), containers_(client) {}

  using Sink = std::function<Result<>(std::string_view piece)>;

  /// From its registry, without anybody's credentials. `reference`: NAME@DIGEST or NAME:TAG. Any error: it cannot be
  /// had so, and says why in the Engine's words.
  Result<> pull(const std::string& reference, Interrupt* interrupt = nullptr) const;
  /// As `docker save` has it: a tar archive, in pieces; without the content of the lowest `known` of its layers, for an
  /// Engine that has them. Code::not_found: before the first piece.
  Result<> save(const Image& image, std::size_t known, const Sink& sink, Interrupt* interrupt = nullptr) const;
  /// How many of these layers, the lowest first, some image of this host begins with. An Engine whose store is not
  /// containerd's loads an image without them (moby image/tarexport/load.go).
  Result<std::size_t> count_known(const std::vector<std::string>& layers, Interrupt* interrupt = nullptr) const;
  /// `write` hands such an archive on, to the sink that it is given; its error ends the call and is returned.
  Result<> load(const std::function<Result<>(const Sink& sink)>& write, Interrupt* interrupt = nullptr) const;
  /// `name`: REPOSITORY[:TAG], which it takes from another image that has it.
  Result<> tag(const std::string& id, const std::string& name, Interrupt* interrupt = nullptr) const;

 private:
  Result<> pack(const std::string& id, const Sink& sink, Interrupt* interrupt) const;
  Result<std::set<std::string>> find_lowest(const Image& image, std::size_t count, Interrupt* interrupt) const;

  Client& client_;
  const Containers containers_;
};

}  // namespace ferry::engine
