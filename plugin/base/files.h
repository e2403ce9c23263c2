#pragma once

#include <sys/types.h>

#include <atomic>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

/// Whole-file helpers for Ferry's own state. Every function is safe to call from any thread.
namespace ferry {

/// openat(2) with O_CLOEXEC; the error names `path`.
Result<Fd> open_at(int directory, const std::string& path, int flags, mode_t mode = 0);

/// The whole file; `limit` bytes at most, a longer one is an error (Code::corrupt).
Result<std::string> read_file(const std::filesystem::path& path, std::size_t limit = 64U << 20);

/// Replaces `path` durably: a temporary name beside it, fsync, rename(2), fsync of the directory.
/// After a crash at any instant the file has the old or the new content. Mode is exactly `mode`.
Result<> write_file_atomically(const std::filesystem::path& path, std::string_view content, mode_t mode = 0600);

/// Makes `path` durably: fsync of the file and of the directory. Code::already_exists, and nothing is touched, if there
/// is anything of that name. After another error there is none, but a crash may leave a part of it, so this is for a
/// directory that nobody looks into before it gets another name. Mode is exactly `mode`.
Result<> write_new_file(const std::filesystem::path& path, std::string_view content, mode_t mode = 0600);

/// Whether there is anything of that name, also a symlink that leads nowhere.
Result<bool> exists(const std::filesystem::path& path);

/// fsync(2) of a directory, which makes renames and creations in it durable.
Result<> sync_directory(const std::filesystem::path& path);

/// rename(2), then fsync of both parents. Refuses to replace an existing `to` (RENAME_NOREPLACE).
Result<> rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);

/// mkdir(2) of `path` and its missing parents, fsyncing each parent.
Result<> make_directories(const std::filesystem::path& path, mode_t mode = 0700);

/// Removes a tree of any depth by directory fds without following symlinks. A missing one is a success. Once `*stop` is
/// set, it ends after the next entry with Code::cancelled, and the rest stays.
Result<> remove_tree(const std::filesystem::path& path, const std::atomic<bool>* stop = nullptr);

/// The same for `name` below an open directory.
Result<> remove_tree_at(int directory, const std::string& name, const std::atomic<bool>* stop = nullptr);

/// write(2) until all of `data` is written.
Result<> write_all(int fd, std::span<const char> data, std::string_view what);

}  // namespace ferry
