#include "espalier/data/image_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/data/image.h"
#include "espalier/util/error.h"
#include "espalier/util/shell_word.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

using Names = std::vector<std::string>;

bool is_folder(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

bool has(const FileTree& tree, const std::string& path) {
  return std::ranges::binary_search(tree.paths(), path);
}

/// For users who only have images to test on; empty if these have none.
std::string test_hint(const FileTree& tree, const std::string& place) {
  for (const char* split : {"test", "val"})
    if (has(tree, split + std::string("/")) && is_folder(place))
      return join("; `espalier eval CHECKPOINT --images ",
                  shell_word((std::filesystem::path(place) / split).string()), "` reads only test images");
  return "";
}

/// For users who only have a folder for each class; empty if these have none.
std::string train_hint(const FileTree& tree) {
  for (const std::string& path : tree.paths()) {
    const size_t slash = path.find('/');
    if (slash == path.npos || slash + 1 == path.size() || !has_image_extension(path)) continue;
    const std::string first = path.substr(0, slash);
    if (first == "test" || first == "val" || path.find('/', slash + 1) != path.npos) return "";
    return "; move the folders of classes into train/, and some images of each to test/CLASS/, to be tested "
           "on";
  }
  return "";
}

/// Folders may stand in one folder of their own, as archives often have it, whatever lies beside that.
std::string prefix_of(const FileTree& tree, const std::string& place, Names& unused) {
  if (has(tree, "train/")) return "";
  Names prefixes;
  for (const std::string& path : tree.paths())
    if (path.find('/') + 1 == path.size() && has(tree, path + "train/")) prefixes.push_back(path);
  ESP_CHECK(
      !prefixes.empty(), place, ": has no folder train/ with a folder for each class",
      tree.paths().empty() ? ", it is empty" : ", its first entry is " + printable(tree.paths().front()),
      test_hint(tree, place), train_hint(tree));
  for (size_t i = 1; i < prefixes.size(); ++i) unused.push_back(prefixes[i] + "train/");
  return prefixes.front();
}

void add(ImageSplit& split, const std::string& path, const FileTree& tree, Names& others) {
  const std::string inner = path.substr(split.folder.size());
  const size_t slash = inner.find('/');
  if (inner.empty()) return;
  if (slash != inner.npos && inner.ends_with('/')) {
    split.files[inner.substr(0, slash)];
  } else if (!has_image_extension(inner)) {
    others.push_back(path);
  } else {
    ESP_CHECK(slash != inner.npos, tree.place(path), ": lies in no class folder, expected ", split.folder,
              "CLASS/", inner);
    split.files[inner.substr(0, slash)].push_back(path);
  }
}

/// Takes out classes without an image in any split, and notes them as it does those without in one.
void check_classes(ImageLayout& layout, const FileTree& tree, const std::string& name, Names& notes) {
  for (const ImageSplit* split : layout.splits()) {
    ESP_CHECK(!split->files.empty(), tree.place(split->folder), ": holds no class folder");
    for (const auto& [label, files] : split->files) {
      ESP_CHECK(is_utf8(label), tree.place(split->folder + label),
                ": is the folder of a class, but its name is not UTF-8: rename it");
      if (files.empty()) continue;
      const auto known = layout.train.files.find(label);
      ESP_CHECK(known != layout.train.files.end(), tree.place(layout.train.folder), ": has no class '",
                printable(label), "', but ", split->folder, " has (", split->files.size(), " classes, and ",
                layout.train.files.size(), " here)");
      ESP_CHECK(!known->second.empty(), tree.place(layout.train.folder + label),
                ": is the folder of a class, but holds no ", image_extensions, ", and ", split->folder, label,
                " does");
    }
  }
  Names empty;
  for (const auto& [label, files] : layout.train.files)
    if (files.empty()) empty.push_back(label);
  for (const std::string& label : empty) layout.train.files.erase(label);
  if (!empty.empty())
    notes.push_back(fmt::format("{}: class folders without images are left out: {}", name, listed(empty)));
  ESP_CHECK(!layout.train.files.empty(), tree.place(layout.train.folder),
            ": none of its class folders holds a ", image_extensions);
  for (ImageSplit* split : layout.splits()) {
    for (const std::string& label : empty) split->files.erase(label);
    Names lacking;
    for (const auto& [label, files] : layout.train.files)
      if (split->files[label].empty()) lacking.push_back(label);
    ESP_CHECK(lacking.size() < layout.train.files.size(), tree.place(split->folder), ": holds no ",
              image_extensions);
    if (!lacking.empty())
      notes.push_back(fmt::format("{}: {} has no images of: {}", name, split->folder, listed(lacking)));
  }
}

ImageLayout layout_of(const FileTree& tree, const std::string& place, bool val_validates) {
  ImageLayout layout;
  const std::string prefix = prefix_of(tree, place, layout.unused), val = prefix + "val/";
  layout.train.folder = prefix + "train/";
  layout.test.folder = has(tree, prefix + "test/") ? prefix + "test/" : val;
  ESP_CHECK(has(tree, layout.test.folder), place, ": has a folder ", prefix, "train/, but neither ", prefix,
            "test/ nor ", prefix, "val/ beside it: move some images of each class there, to ", prefix,
            "test/CLASS/, to be tested on");
  if (layout.test.folder != val && has(tree, val)) {
    if (val_validates)
      layout.validation.folder = val;
    else
      layout.unused.push_back(val);
  }
  for (const std::string& path : tree.paths())
    for (ImageSplit* split : layout.splits())
      if (path.starts_with(split->folder)) add(*split, path, tree, layout.others);
  return layout;
}

void note_others(const Names& others, const std::string& name, Names& notes) {
  if (!others.empty())
    notes.push_back(fmt::format(
        "{}: {} {} no {}: left out: {}", name, grouped(static_cast<int64_t>(others.size())),
        others.size() == 1 ? "file that is" : "files that are", image_extensions, listed(others)));
}

/// "test/" or "val/" where that is the one folder there is, and no class is called so: the rest of a data set
/// is missing. Else nothing: the folders are those of the classes.
std::string lone_split(const FileTree& tree, const Names& classes) {
  Names folders;
  for (const std::string& path : tree.paths()) {
    if (path.find('/') + 1 == path.size()) folders.push_back(path);
    if (path.find('/') == path.npos && has_image_extension(path)) return "";  // of no class
  }
  if (folders.size() != 1 || (folders[0] != "test/" && folders[0] != "val/")) return "";
  const std::string name = folders[0].substr(0, folders[0].size() - 1);
  return std::ranges::find(classes, name) == classes.end() ? folders[0] : "";
}

/// For users who name a complete data set where one split is meant.
std::string split_hint(const Names& unknown, const std::filesystem::path& root) {
  for (const char* split : {"test", "val", "train"})
    if (std::ranges::find(unknown, split) != unknown.end() && is_folder(root))
      return join("; to evaluate one split, name ", printable((root / split).string()));
  return "";
}

}  // namespace

int64_t ImageSplit::images() const {
  int64_t images = 0;
  for (const auto& [label, paths] : files) images += static_cast<int64_t>(paths.size());
  return images;
}

Names ImageLayout::classes() const {
  Names names;
  for (const auto& [name, files] : train.files) names.push_back(name);
  return names;
}

std::vector<ImageSplit*> ImageLayout::splits() {
  std::vector<ImageSplit*> there;
  for (ImageSplit* split : {&train, &validation, &test})
    if (!split->folder.empty()) there.push_back(split);
  return there;
}

ImageLayout image_layout(const FileTree& tree, const std::filesystem::path& root, bool val_validates,
                         Names& notes) {
  ImageLayout layout = layout_of(tree, root.string(), val_validates);
  const std::string name = image_folder_name(root);
  if (!layout.unused.empty())
    notes.push_back(fmt::format(
        "{}: {} left out: {} and {} are what is read{}", name, listed(layout.unused), layout.train.folder,
        layout.test.folder, layout.unused.back().ends_with("val/") ? ", for data.validation is set" : ""));
  check_classes(layout, tree, name, notes);
  note_others(layout.others, name, notes);
  if (const Names classes = layout.classes(); classes.size() == 1)
    notes.push_back(fmt::format("{}: '{}' is its only class: there is nothing to tell apart", name,
                                printable(classes.front())));
  return layout;
}

ImageSplit image_split_of(const FileTree& tree, const std::filesystem::path& root, const Names& classes,
                          Names& notes) {
  ImageSplit split{.folder = lone_split(tree, classes), .files = {}};
  Names others, unknown;
  for (const std::string& path : tree.paths())
    if (path.starts_with(split.folder)) add(split, path, tree, others);
  for (const auto& [label, files] : split.files)
    if (!files.empty() && std::ranges::find(classes, label) == classes.end()) unknown.push_back(label);
  ESP_CHECK(unknown.empty(), root.string(),
            ": holds folders of classes that the model does not know: ", listed(unknown), " (it knows ",
            listed(classes), ")", split_hint(unknown, root));
  ESP_CHECK(split.images() > 0, root.string(), ": holds no ", image_extensions,
            " in folders of the model's classes: ", listed(classes));
  note_others(others, image_folder_name(root), notes);
  std::erase_if(split.files, [](const auto& of_class) { return of_class.second.empty(); });
  return split;
}

std::string image_folder_name(const std::filesystem::path& root) {
  return printable((root.has_filename() ? root : root.parent_path()).filename().string());
}

std::string listed(const Names& names) {
  const size_t count = std::min(names.size(), most_named);
  std::string list;
  for (size_t i = 0; i < count; ++i) list += (i ? ", " : "") + printable(names[i]);
  return names.size() == count ? list : fmt::format("{} and {} more", list, names.size() - count);
}

}  // namespace espalier
