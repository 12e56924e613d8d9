// Image folders: train/CLASS/*.jpg and test/ (or val/, or both) alike, in a folder or an archive of one, or
// in one folder inside of it.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/datasets.h"
#include "espalier/data/image.h"

namespace espalier {

struct ImageFolderOptions {
  int64_t height, width;      ///< images of another size are resized (image.h)
  int64_t channels;           ///< 1 or 3: what images have beside becomes that, with a note
  Alpha alpha = Alpha::drop;  ///< what becomes of transparency
  bool skip_corrupt = false;  ///< leaves out images that cannot be decoded, and notes how many and which
  /// val/ beside test/ is the validation split; false: it is left out with a note.
  bool val_validates = false;
  std::optional<std::filesystem::path> cache = {};  ///< folder that keeps the decoded images; none: no cache
  /// Hears, before an image is read, how many there are and what memory they take.
  Say say = {};

  PixelOptions pixels() const { return {height, width, channels, alpha}; }
};

/// What a config's data set and a network ask for.
ImageFolderOptions image_folder_options(const DatasetRequest& wanted);

/// Every image, decoded on all threads, u8 [N,height,width,channels]. Classes are the sorted names of the
/// folders in train/; images come by class and name. Files below a class folder may lie at any depth. What is
/// hidden or no image by its name is left out, the latter with a note; so is a class of which there is no
/// image at all; a class that test/ or val/ has no image of is noted, too. An Error that names file or folder
/// for images that are corrupt (all of them, the first 10 by name), a class that is not in train/ or whose
/// name is not UTF-8, or more images than this machine's memory holds; where there is nothing, one that says
/// what is expected.
///
/// With a cache, the second call reads one file that the first has written, for as long as the files, their
/// times, the options and image_version (image.h) are the same. A cache that is of others, damaged, or cannot
/// be read or written is a note.
DataSplits load_image_folder(const std::filesystem::path& folder_or_archive,
                             const ImageFolderOptions& options);

/// The names of its classes, only by the names of folders and files: an Error as above for what is wrong
/// with these.
std::vector<std::string> image_folder_classes(const std::filesystem::path& folder_or_archive,
                                              const ImageFolderOptions& options);

/// The images of one split, CLASS/*.jpg, labelled as `classes` are numbered, and as the `test` of what is
/// returned; there need not be images of each class. They may lie in a test/ or val/ that is all there is. An
/// Error for a folder that is none of the classes.
/// Neither cached nor split.
DataSplits load_labelled_images(const std::filesystem::path& folder_or_archive,
                                const std::vector<std::string>& classes, const ImageFolderOptions& options);

/// $XDG_CACHE_HOME/espalier, else $HOME/.cache/espalier, else none.
std::optional<std::filesystem::path> user_cache_folder();

}  // namespace espalier
