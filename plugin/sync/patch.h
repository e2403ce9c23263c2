#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "sync/extent.h"

namespace ferry::sync {

/// What of an extent differs from an older version of its file.
struct Change {
  Extent range;       ///< of the file
  bool hole = false;  ///< otherwise data
  bool operator==(const Change&) const = default;
};

/// Changes in ascending order, which do not overlap. Neighbours become one.
class Patch {
 public:
  void add(const Extent& range, bool hole);
  const std::vector<Change>& changes() const { return changes_; }
  bool empty() const { return changes_.empty(); }
  std::string encode() const;
  /// Code::corrupt unless encode() made it and all is within `extent`.
  static Result<Patch> decode(std::string_view bytes, const Extent& extent);

 private:
  std::vector<Change> changes_;
};

}  // namespace ferry::sync
