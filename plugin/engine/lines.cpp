#include "engine/lines.h"

#include <utility>

namespace ferry::engine {

Result<> Lines::add(std::string_view piece, const Taker& taker) {
  for (auto end = piece.find('\n'); end != std::string_view::npos; end = piece.find('\n')) {
    FERRY_TRY(keep(piece.substr(0, end)));
    piece.remove_prefix(end + 1);
    const auto line = std::exchange(partial_, {});
    if (!line.empty() && line != "\r") FERRY_TRY(taker(line));
  }
  return keep(piece);
}

Result<> Lines::keep(std::string_view text) {
  if (text.size() > limit_ - partial_.size())
    return fail(Code::corrupt, "a line is longer than " + std::to_string(limit_) + " bytes");
  partial_ += text;
  return {};
}

}  // namespace ferry::engine
