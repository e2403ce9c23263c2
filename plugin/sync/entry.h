#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "sync/digest.h"
#include "sync/name.h"

namespace ferry::sync {

enum class Type : std::uint8_t {
  directory = 1,
  regular = 2,
  symlink = 3,
  fifo = 4,
  character_device = 5,
  block_device = 6,
  hard_link = 7,  ///< another name of the earlier, non-directory entry `link`
};

struct Xattr {
  std::string name;
  std::string value;
  bool operator==(const Xattr&) const = default;
};

/// Whether it is part of a copy. XFS also lists ACLs in a format of its own, to root, beside those of
/// system.posix_acl_*.
bool is_copied(std::string_view xattr);

/// The xattr that SELinux gives every file by its policy. It can be replaced, but not removed.
constexpr std::string_view host_label = "security.selinux";

/// A value that is mostly T{}, and then takes no more than a pointer. Copies share what they hold, which never changes;
/// each may be used by another thread.
template <class T>
class Rare {
 public:
  Rare() = default;
  explicit Rare(T value) { set(std::move(value)); }
  Rare(const Rare& other) noexcept : held_(other.held_) {
    if (held_ != nullptr) held_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Rare(Rare&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  Rare& operator=(Rare other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~Rare() {
    if (held_ != nullptr && held_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) delete held_;
  }

  bool empty() const { return held_ == nullptr; }
  void set(T value) {
    Rare other;
    if (!(value == T{})) other.held_ = new Held{std::move(value)};
    *this = std::move(other);
  }
  const T& operator*() const {
    static const T nothing{};
    return held_ != nullptr ? held_->value : nothing;
  }
  const T* operator->() const { return &**this; }
  bool operator==(const Rare& other) const { return held_ == other.held_ || **this == *other; }

 private:
  struct Held {
    const T value;
    std::atomic<std::uint32_t> owners{1};
  };
  Held* held_ = nullptr;
};

/// Sorted by name. Copies share them.
class Xattrs {
 public:
  Xattrs() = default;
  Xattrs(std::initializer_list<Xattr> all) : Xattrs(std::vector<Xattr>(all)) {}
  explicit Xattrs(std::vector<Xattr> all) { all_.set(std::move(all)); }

  bool empty() const { return all_.empty(); }
  std::size_t size() const { return all_->size(); }
  auto begin() const { return all_->begin(); }
  auto end() const { return all_->end(); }
  bool operator==(const Xattrs&) const = default;
  /// Bytes that they take beside the object.
  std::uint64_t memory() const;

 private:
  Rare<std::vector<Xattr>> all_;
};

/// What few entries have, or many have in common.
struct Extra {
  std::uint64_t device = 0;  ///< st_rdev; device nodes only
  std::string target = {};   ///< symlinks only
  Xattrs xattrs = {};
  bool operator==(const Extra&) const = default;
};

/// A moment since the epoch, any that a file system may tell.
struct Timestamp {
  std::int64_t s = 0;
  std::uint32_t ns = 0;
  bool operator==(const Timestamp&) const = default;
};

/// One name in a tree, with all its metadata and none of its content. Entries are in breadth-first order: entry 0 is
/// the root (empty name); a directory's entries are contiguous, sorted bytewise, and follow those of every directory
/// that comes before it. So `parent` never decreases, and a reader can check order and uniqueness as it goes.
///
/// There may be millions: so what is mostly small or nothing has little room, and is kept apart where it is more.
class Entry {
 public:
  Name name;
  std::uint64_t size = 0;      ///< bytes; regular files only
  std::uint64_t inode = 0;     ///< at the sender; with size and ctime it tells whether content may have changed
  std::uint64_t ctime_ns = 0;  ///< at the sender, since the epoch
  std::uint32_t parent = 0;    ///< index of the directory that holds it; 0 for the root itself
  union {
    std::uint32_t uid = 0;
    std::uint32_t link;  ///< hard links only, which have no owner, mode and times of their own
  };
  std::uint32_t gid = 0;
  std::uint16_t mode : 12 = 0;  ///< permission bits with suid, sgid and sticky (07777)
  Type type : 3 = Type::regular;

  /// Allocated bytes, `size` at most: what has to be sent and stored. `size` has to be set before.
  std::uint64_t data() const {
    if (holes_ < holes_in_blocks) return size - holes_;
    return holes_ < holes_elsewhere ? (size / block - (holes_ - holes_in_blocks)) * block : size - rest_->holes;
  }
  void set_data(std::uint64_t bytes);

  /// Of modification.
  Timestamp mtime() const;
  void set_mtime(const Timestamp& time);

  const Extra& extra() const { return rest_->extra; }
  void set_extra(Extra extra);

  /// Bytes of memory that it takes beside those of the object and its name, if it shares none.
  std::uint64_t memory_elsewhere() const;
  /// Shares them with another entry that has the same there. False: it has something else.
  bool share_elsewhere(const Entry& other);

 private:
  struct Rest {
    Extra extra;
    Timestamp mtime;
    std::uint64_t holes = 0;  // bytes
    bool operator==(const Rest&) const = default;
  };
  static constexpr std::uint64_t block = 512;  // of which data mostly is a multiple, as st_blocks has it
  static constexpr std::uint32_t holes_in_blocks = 1U << 16;
  static constexpr std::uint32_t holes_elsewhere = (1U << 17) - 1;
  static constexpr std::int64_t mtime_elsewhere = INT64_MIN;
  template <class Change>
  void change_rest(const Change& change);

  std::uint32_t holes_ : 17 = 0;  // bytes or, from holes_in_blocks on, blocks; beside `mode` and `type`
  std::int64_t mtime_ns_ = 0;     // since the epoch: from 1677 to 2262
  Rare<Rest> rest_;
};

static_assert(sizeof(Entry) == 64);

/// All entries of a tree, and what holds their names.
struct Tree {
  std::vector<Entry> entries;
  Names names;
  void clear() {
    entries.clear();
    names.clear();
  }
};

/// A name without an entry: a socket.
struct LeftOut {
  std::uint32_t parent = 0;
  std::string name;
};

/// Which volume of which host; both may be empty, where nobody asks.
struct Identity {
  std::string host;     ///< UUID of the host's catalogue
  std::string lineage;  ///< UUID that the volume keeps through all its copies; empty: it has none
};

/// What a manifest says of its walk as a whole.
struct ManifestInfo {
  /// Nanoseconds since the epoch: a file whose ctime is older cannot have changed since without its ctime showing it;
  /// 0 if ctimes show nothing (see stable_before(), sync/inspect.h). See docs/protocol.md.
  std::uint64_t stable_before_ns = 0;
  std::vector<std::string> warnings;  ///< what was left out, e.g. sockets; one sentence each
  std::string lineage = {};           ///< of the sender's volume; empty: it has none
  std::string host = {};              ///< UUID of the sender's catalogue
  std::string origin = {};            ///< UUID of that from which the sender has its volume; empty: none
  Digest origin_stamp{};              ///< stamp_of() what that one sent, see sync/baseline.h
};

/// Whether an equal ctime proves that a file has not changed since the moment of `stable_before_ns` (see ManifestInfo).
/// A ctime of whole seconds may be one of a file system that keeps no others (ext4 with inodes of 128 bytes), or only
/// even ones: then the next change may have the same for two seconds.
bool is_stable(std::uint64_t ctime_ns, std::uint64_t stable_before_ns);

/// Takes an entry of which name and target may be anything that a peer sends, and the one before it (none for the
/// root); Code::corrupt if it cannot be part of a tree: a name with '/' or NUL, "." or "..", out of order, twice, below
/// something that is no directory, or a link to something later.
class EntryChecker {
 public:
  Result<> check(const Entry& entry);

 private:
  std::vector<Type> types_;
  std::uint32_t last_parent_ = 0;
  std::string last_name_;
};

}  // namespace ferry::sync
