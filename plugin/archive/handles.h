#pragma once

#include <archive.h>
#include <archive_entry.h>

#include <memory>
#include <string>

/// What libarchive's functions return, owned. Only for this folder's .cpp files.
namespace ferry::archive {

struct FreeReader {
  void operator()(::archive* handle) const { ::archive_read_free(handle); }
};
using ReadHandle = std::unique_ptr<::archive, FreeReader>;

struct FreeWriter {
  void operator()(::archive* handle) const { ::archive_write_free(handle); }
};
using WriteHandle = std::unique_ptr<::archive, FreeWriter>;

struct FreeEntry {
  void operator()(::archive_entry* entry) const { ::archive_entry_free(entry); }
};
using EntryHandle = std::unique_ptr<::archive_entry, FreeEntry>;

/// What went wrong last.
inline std::string error_of(::archive* handle) {
  const char* text = ::archive_error_string(handle);
  return text != nullptr ? text : "libarchive does not say why";
}

}  // namespace ferry::archive
