#pragma once

#include <string_view>

/// The hand-off of a group of volumes as data: what either end may do, and what each message makes of it. Pure, so
/// that tests can go through all there is (tests/unit/migration/hand_off_test.cpp). One hand-off has one ID, which the
/// destination chooses anew for each.
///
/// One durable write decides, the source's from `held` to `given`: before it the source may take the volumes back on
/// its own, after it never; the destination owns them only once it has heard of it.
namespace ferry::migration::hand_off {

/// Durable, but for `released`, which lives as long as the source's process: no request that was sent before can come
/// in later than that.
enum class Source {
  own,        ///< not begun, and forgotten: the volumes are mounted as ever
  released,   ///< ended without a hand-off; a late `hold` does not begin it again
  held,       ///< they cannot be mounted
  given,      ///< they are the destination's, which has not confirmed it
  left,       ///< it has
  reclaimed,  ///< taken back by force: the destination has to be told
};

/// What the destination asks for; and, of the source's user, `cancel` and `reclaim`. `beat` changes nothing: the source
/// hears that it is still wanted, and says how it stands.
enum class Request { hold, commit, release, acknowledge, cancel, reclaim, beat };

/// What the source answers: how the hand-off stands then. `refused`: not now, and nothing has changed.
enum class Answer { held, given, gone, reclaimed, refused };

struct SourceStep {
  Source next;
  Answer answer;
};
SourceStep step(Source state, Request request);

/// Durable, but for `withdrawing`, which becomes `prepared` again.
enum class Destination {
  asking,       ///< for the volumes to be held
  receiving,    ///< they are; content comes
  prepared,     ///< it is complete, durable and cannot be mounted; only the source knows whether it is given
  withdrawing,  ///< the user wants none of it any more, and only the source can tell whether that is still possible
  dropping,     ///< it was never asked to give, so it is over here, and has to be told to the source
  owner,        ///< of the volumes
  settled,      ///< so, and the source knows
  over,         ///< without a hand-off
  fenced,       ///< they were taken back by force
};

/// What happens at the destination: answers, `complete` (all content is here), and the user's `cancel`, or `force`,
/// which does not wait for the source: that is fenced on contact, by its lower epoch.
enum class Event { held, given, gone, reclaimed, complete, cancel, force };

Destination step(Destination state, Event event);

/// What the destination asks of the source, again and again, until the answer changes its state.
struct Asks {
  bool any;
  Request request;
};
Asks asks(Destination state);

std::string_view to_string(Source state);
std::string_view to_string(Destination state);
std::string_view to_string(Answer answer);

}  // namespace ferry::migration::hand_off
