#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>

namespace ferry::engine::testing {

using Files = std::map<std::string, std::string>;  // content by name

/// As libarchive writes it, whose formats are "pax", "gnutar" and "ustar".
inline std::string pack(const Files& files, const char* format) {
  std::string packed;
  const std::unique_ptr<archive, int (*)(archive*)> writer(::archive_write_new(), ::archive_write_free);
  EXPECT_EQ(::archive_write_set_format_by_name(writer.get(), format), ARCHIVE_OK);
  ::archive_write_set_bytes_per_block(writer.get(), 10'240);
  EXPECT_EQ(::archive_write_open2(
                writer.get(), &packed, nullptr,
                [](archive*, void* to, const void* bytes, std::size_t size) {
                  static_cast<std::string*>(to)->append(static_cast<const char*>(bytes), size);
                  return static_cast<la_ssize_t>(size);
                },
                nullptr, nullptr),
            ARCHIVE_OK);
  for (const auto& [name, content] : files) {
    const std::unique_ptr<archive_entry, void (*)(archive_entry*)> entry(::archive_entry_new(), ::archive_entry_free);
    ::archive_entry_set_pathname(entry.get(), name.c_str());
    ::archive_entry_set_filetype(entry.get(), name.back() == '/' ? AE_IFDIR : AE_IFREG);
    ::archive_entry_set_perm(entry.get(), 0644);
    ::archive_entry_set_mtime(entry.get(), 1'600'000'000, 5);  // which pax has a header for
    ::archive_entry_set_size(entry.get(), static_cast<la_int64_t>(content.size()));
    EXPECT_EQ(::archive_write_header(writer.get(), entry.get()), ARCHIVE_OK) << name;
    EXPECT_EQ(::archive_write_data(writer.get(), content.data(), content.size()),
              static_cast<la_ssize_t>(content.size()));
  }
  EXPECT_EQ(::archive_write_close(writer.get()), ARCHIVE_OK);
  return packed;
}

/// As libarchive reads it.
inline Files unpack(const std::string& packed) {
  Files files;
  const std::unique_ptr<archive, int (*)(archive*)> reader(::archive_read_new(), ::archive_read_free);
  ::archive_read_support_format_tar(reader.get());
  EXPECT_EQ(::archive_read_open_memory(reader.get(), packed.data(), packed.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (::archive_read_next_header(reader.get(), &entry) == ARCHIVE_OK) {
    std::string content(static_cast<std::size_t>(::archive_entry_size(entry)), '\0');
    EXPECT_EQ(::archive_read_data(reader.get(), content.data(), content.size()),
              static_cast<la_ssize_t>(content.size()));
    files[::archive_entry_pathname(entry)] = content;
  }
  EXPECT_EQ(::archive_errno(reader.get()), 0) << ::archive_error_string(reader.get());
  return files;
}

}  // namespace ferry::engine::testing
