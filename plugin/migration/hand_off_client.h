#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "migration/hand_off.h"
#include "migration/peer.h"
#include "migration/trouble.h"

namespace ferry::migration {

/// The destination's end of one hand-off: asks the source, and knows where that has brought it (hand_off.h). What of it
/// is durable is the caller's to write, before. Thread-safe, but for one thing asked at a time.
class HandOffClient {
 public:
  struct Subject {
    std::string ticket;      ///< of this host, for the log
    std::string id;          ///< of the hand-off; empty: this is a copy, of which nothing may be asked
    HandOffRequest request;  ///< what the source is to hold
    std::string source;      ///< its address, for people
    std::chrono::milliseconds question{1000};  ///< between two of the same
  };

  /// `cancelled` and `trouble` must outlive this object; after a change of the former trouble.wake() is to be called.
  HandOffClient(Subject subject, std::shared_ptr<Peer> source, hand_off::Destination stands,
                const std::atomic<bool>& cancelled, Trouble& trouble);

  hand_off::Destination stands() const { return stands_; }
  std::string id() const;
  /// Whether it is over, or fenced, because the source has taken everything back by force.
  bool was_reclaimed() const { return reclaimed_; }
  const HandOffRequest& request() const { return subject_.request; }

  /// What the source has ended is asked for once more, as a hand-off of another ID. Not while something is asked.
  void begin_again(const std::string& id);

  /// All content is here, durably.
  void complete() { advance(hand_off::Event::complete); }

  /// Asks what there is to ask where it stands, until the answer makes it stand elsewhere. Code::cancelled: it was
  /// cancelled; other errors are the source's refusal to hold anything.
  Result<> ask_until_answered();

  /// Asks what there is to ask where it stands, once: an answer within the time may make it stand elsewhere.
  void ask_once(std::chrono::milliseconds timeout);

  /// The source's word is not waited for any more, where that can be.
  void take_by_force();

  /// Of what is not decided, when nobody else asks: tells the source that it is not wanted. False: it is decided there,
  /// so it has to go on. Code::busy: only the source knows. `source` is a new connection, as below.
  Result<bool> withdraw(Peer& source);
  /// After a failure: best effort, since a hold of which nothing is heard runs out.
  void drop();
  /// Of an owner, when nobody else asks: tells the source so, once.
  void confirm(Peer& source);

 private:
  Result<hand_off::Answer> ask(Peer& source, hand_off::Request request, std::chrono::milliseconds timeout) const;
  void advance(hand_off::Event event) { stands_ = hand_off::step(stands_, event); }
  void advance(hand_off::Answer answer);
  bool has_fenceable() const;

  Subject subject_;           // constant but for begin_again()
  mutable std::mutex mutex_;  // of its ID
  const std::shared_ptr<Peer> source_;
  const std::atomic<bool>& cancelled_;
  Trouble& trouble_;
  std::atomic<hand_off::Destination> stands_;
  std::atomic<bool> forced_{false};
  std::atomic<bool> reclaimed_{false};
};

}  // namespace ferry::migration
