#pragma once

namespace ferry::archive {

/// Of an archive as a whole.
enum class Compression { none, zstd, gzip };

}  // namespace ferry::archive
