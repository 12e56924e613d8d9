// Data sets by name and options.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"
#include "espalier/util/extra_options.h"
#include "espalier/util/registry.h"

namespace espalier {

/// What a config's `data` says of where images come from; each data set uses the fields that concern it.
struct DatasetOptions {
  std::string type = {};                            ///< a row of datasets()
  std::optional<std::string> root = {}, path = {};  ///< the folder of all data sets, and this one's in it
  std::string labels = "fine";                      ///< fine, coarse
  bool remap = false;                               ///< labels that are present become 0..k-1
  bool skip_corrupt = false;                        ///< leaves out images that cannot be decoded
  std::string alpha = "drop";                       ///< drop, white: what becomes of transparency
  bool cache = true;                                ///< keeps decoded images for the next run
  int64_t train_images = 8000, test_images = 2000;
  ExtraOptions extra = {};  ///< those that the row declares
};

/// Hears a line while something takes its time.
using Say = std::function<void(const std::string&)>;

/// The same, and what is asked for beside it.
struct DatasetRequest : DatasetOptions {
  std::filesystem::path place = {};  ///< folder or file to read: root and path put together
  Shape image = {28, 28, 1};         ///< that the network takes, [H,W,C]
  int64_t classes = 0;               ///< of the network; 0: as many as there are
  bool val_validates = false;  ///< a validation split of its own is one; else it is left out with a note
  Say say = {};                ///< may be empty
};

/// What a name of a data set stands for.
struct DatasetInfo {
  std::string name;
  std::string help;  ///< for `espalier help data`: what it is and which files it takes
  /// Which of root, path, labels, remap, skip_corrupt, alpha, cache, train_images and test_images concern it.
  /// One that reads files has root and path.
  std::vector<std::string> options = {};
  std::vector<ExtraOption> extra = {};
  std::string folder = {};      ///< below the root, where no path is given; empty: one has to be
  bool reads_archives = false;  ///< its path may be a .tar, .tar.gz or .tar.xz
  bool is_drawn =
      false;  ///< load() draws images of DatasetRequest's `image` and `classes`, whatever these are
  bool has_validation = false;    ///< it may have a validation split of its own
  bool comes_by_class = false;    ///< images of a class lie one after another
  bool keeps_class_names = true;  ///< checkpoints do; false: its classes' names say nothing, as digits
  std::string no_mirror = {};     ///< why the mirror images of its own files are of no use; empty: they are
  /// How many classes it has, as far as that is known without its files; 0, or empty: these decide.
  std::function<int64_t(const DatasetRequest&)> classes = {};
  /// Where files name the classes: the names, without reading an image. Empty: load() says them.
  std::function<std::vector<std::string>(const DatasetRequest&)> class_names = {};
  /// Error for what is missing or broken, with the file's name.
  std::function<DataSplits(const DatasetRequest&)> load;

  bool has(const std::string& option) const { return std::ranges::count(options, option) > 0; }
  bool reads_files() const { return has("path"); }
};
Registry<DatasetInfo>& datasets();

/// Its classes, as DatasetInfo has them; 0: its files decide.
int64_t known_classes(const DatasetRequest& request);
/// Its classes, counted in its files where these decide.
int64_t count_classes(const DatasetRequest& request);
/// The data set of `request.type`: load_dataset({{.type = "mnist"}, "data/mnist"}). UsageError for a type
/// that does not exist or extra options that it does not have; Error for what is missing or broken.
DataSplits load_dataset(const DatasetRequest& request);

}  // namespace espalier
