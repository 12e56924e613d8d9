// The decoded images of an image folder as one file, so that the second start need not decode them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "espalier/data/dataset.h"

namespace espalier {

/// What `file` holds, if write_image_cache has written it under this `identity`; nothing if it is missing,
/// broken or of another identity.
std::optional<DataSplits> read_image_cache(const std::filesystem::path& file, const std::string& identity);

/// Writes train, test and notes, and the folders to hold the file; what a killed process left of the same
/// file goes. An Error if the disk refuses.
void write_image_cache(const std::filesystem::path& file, const std::string& identity,
                       const DataSplits& data);

}  // namespace espalier
