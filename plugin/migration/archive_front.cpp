#include "migration/archive_front.h"

#include "archive/extraction.h"

namespace ferry::migration {

namespace {

class Front final : public archive::Source {
 public:
  Front(ArchiveInput& input, Deadline deadline) : input_(input), deadline_(deadline) { input_.hurry(deadline); }
  Result<std::size_t> read(std::span<char> buffer) override {
    if (SteadyClock::now() >= deadline_)
      return fail(Code::unavailable, "the archive comes too slowly for its begin to be looked at");
    return input_.read(buffer);
  }

 private:
  ArchiveInput& input_;
  const Deadline deadline_;
};

}  // namespace

Result<std::optional<archive::FrontMatter>> read_front(const ArchiveStore& store, const ArchiveAddress& address,
                                                       Deadline deadline) {
  FERRY_ASSIGN(const auto input, store.open(address, deadline));
  Front front(*input, deadline);
  return archive::read_front_matter(front, archive::Progress());
}

Result<std::string> read_archive_id(const ArchiveStore& store, const ArchiveAddress& address, Deadline deadline) {
  FERRY_ASSIGN(const auto front, read_front(store, address, deadline));
  return front ? front->digests : std::string();
}

}  // namespace ferry::migration
