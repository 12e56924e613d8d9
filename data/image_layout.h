// What an image folder holds, only by the names of its folders and files: splits, classes, and what is
// neither.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "espalier/data/file_tree.h"

namespace espalier {

/// Images of folders that are their classes.
struct ImageSplit {
  std::string folder;                                     ///< "train/" or "a/train/"
  std::map<std::string, std::vector<std::string>> files;  ///< by class: paths in the tree of its images

  int64_t images() const;
};

/// Those of a complete data set.
struct ImageLayout {
  ImageSplit train, validation, test;  ///< no folder: not there
  std::vector<std::string> others;     ///< files below them that are no images
  std::vector<std::string> unused;     ///< folders that would do for a split if another did not

  /// The names of the folders in train/.
  std::vector<std::string> classes() const;

  std::vector<ImageSplit*> splits();  ///< that are there
};

/// What of the tree of `root` is read, and notes on what is not (image_folder.h says which). `val_validates`:
/// val/ beside test/ is the validation split.
ImageLayout image_layout(const FileTree& tree, const std::filesystem::path& root, bool val_validates,
                         std::vector<std::string>& notes);

/// The one split that the tree is, CLASS/*.jpg, or in a test/ or val/ that is all there is. An Error unless
/// it holds images, only of some of `classes`.
ImageSplit image_split_of(const FileTree& tree, const std::filesystem::path& root,
                          const std::vector<std::string>& classes, std::vector<std::string>& notes);

/// "pets" of "data/pets/", too: how messages call what lies there.
std::string image_folder_name(const std::filesystem::path& root);

/// How many of many things a message names, and "a, b, c and 7 more" of such.
constexpr size_t most_named = 10;
std::string listed(const std::vector<std::string>& names);

}  // namespace espalier
