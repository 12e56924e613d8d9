// Image folders: train/CLASS/*.jpg, *.jpeg, *.png and test/ (or val/) alike, in a folder or an archive of
// one, or in one folder inside of it.
#pragma once

#include <filesystem>
#include <optional>

#include "espalier/data/dataset.h"
#include "espalier/data/image.h"

namespace espalier {

struct ImageFolderOptions {
  int64_t height, width;      ///< images of another size are resized (image.h)
  int64_t channels;           ///< 3: grey images become RGB; else a file's count must be this one
  bool skip_corrupt = false;  ///< leaves out images that cannot be decoded, and notes how many and which
  std::optional<std::filesystem::path> cache = {};  ///< folder that keeps the decoded images; none: no cache
};

/// Whether a file of that name is taken for an image: .jpg, .jpeg or .png, in capitals or not.
bool is_image_name(const std::string& path);

/// Writes `image` as the options want it, [height,width,channels], to `to`; an Error that begins with `place`
/// if its channels cannot become theirs.
void fit_image(const Image& image, const ImageFolderOptions& options, const std::string& place, uint8_t* to);

/// Every image, decoded on all threads, u8 [N,height,width,channels]. Classes are the sorted names of the
/// folders in train/; images come by class and name. Files below a class folder may lie at any depth; what is
/// hidden or no .jpg, .jpeg or .png is left out, the latter with a note; so is a val/ beside test/. An Error
/// that names file or folder for an image that is corrupt or has other channels, a class without images or
/// whose name is not UTF-8, classes that train/ and test/ do not share, or more images than this machine's
/// memory holds; where there is nothing, one that says what is expected.
///
/// With a cache, the second call reads one file that the first has written, for as long as the files, their
/// times, the options and image_version (image.h) are the same. A cache that is of others, damaged, or cannot
/// be read or written is a note.
DataSplits load_image_folder(const std::filesystem::path& folder_or_archive,
                             const ImageFolderOptions& options);

/// $XDG_CACHE_HOME/espalier, else $HOME/.cache/espalier, else none.
std::optional<std::filesystem::path> user_cache_folder();

}  // namespace espalier
