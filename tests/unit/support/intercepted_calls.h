#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace ferry::test {

/// A call of the C library.
struct Call {
  std::string_view name;  ///< of the function, e.g. "pwrite"
  std::string place;      ///< the path that it is about
};

/// While it exists, `hook` decides about each call of this program of some kind, in whatever thread: 0 lets it be, else
/// it does nothing and fails with this errno, or with `done` succeeds, because the hook has done it. Calls by the hook
/// itself are let be. One object at a time.
class InterceptedCalls {
 public:
  using Hook = std::function<int(const Call&)>;
  static constexpr int done = -1;
  enum class Kind {
    changes,  ///< those that change files, create them or make them durable
    reads,    ///< those that look at files, directories, metadata and xattrs
  };
  explicit InterceptedCalls(Hook hook, Kind kind = Kind::changes);
  ~InterceptedCalls();
  InterceptedCalls(const InterceptedCalls&) = delete;

 private:
  const Hook hook_;
  const Kind kind_;
};

}  // namespace ferry::test
