// The decoded images of an image folder as one file, so that the second start need not decode them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"

namespace espalier {

/// What the header of a cache says of its splits together.
struct ImageCacheInfo {
  int64_t images = 0;
  std::vector<std::string> classes;
};

/// The same as read_image_cache, without reading an image.
std::optional<ImageCacheInfo> read_image_cache_info(const std::filesystem::path& file,
                                                    const std::string& identity);

/// What `file` holds; nothing if there is no such file. An Error that names it and says why it is of no use
/// if write_image_cache has not written it under this `identity`, or not as it is now.
std::optional<DataSplits> read_image_cache(const std::filesystem::path& file, const std::string& identity);

/// Writes the splits and notes, and the folders to hold the file; what a killed process left of the same
/// file goes. An Error if the disk refuses.
void write_image_cache(const std::filesystem::path& file, const std::string& identity,
                       const DataSplits& data);

}  // namespace espalier
