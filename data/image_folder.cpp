// First the names, so that what is wrong with the folders is said before an image is decoded; then the
// images.
#include "espalier/data/image_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>

#include "espalier/core/interrupt.h"
#include "espalier/core/parallel.h"
#include "espalier/core/physical_memory.h"
#include "espalier/core/reason.h"
#include "espalier/core/table.h"
#include "espalier/core/utf8.h"
#include "espalier/data/file_tree.h"
#include "espalier/data/image_cache.h"
#include "espalier/data/image_check.h"

namespace espalier {
namespace {

using Names = std::vector<std::string>;

constexpr size_t most_named = 10;

/// "a, b, c and 7 more"
std::string listed(const Names& names) {
  const size_t count = std::min(names.size(), most_named);
  std::string list;
  for (size_t i = 0; i < count; ++i) list += (i ? ", " : "") + printable(names[i]);
  return names.size() == count ? list : fmt::format("{} and {} more", list, names.size() - count);
}

}  // namespace

bool is_image_name(const std::string& path) {
  std::string extension = std::filesystem::path(path).extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

namespace {

/// Of an archive's files images alone are held, and of those no more than their headers promise.
size_t keep_images(const std::string& path, std::span<const uint8_t> beginning) {
  if (!is_image_name(path)) return 0;
  const std::optional<size_t> most = most_image_bytes(beginning);
  return most ? *most + 1 : beginning.size();  // enough for decode_image to say what is wrong
}

struct Split {
  std::string folder;                  ///< "train/" or "a/train/"
  std::map<std::string, Names> files;  ///< by class: paths of its images
};

struct Layout {
  Split train, test;
  Names others;  ///< files below the two that are no images
  Names unused;  ///< folders that would do for a split if another did not
};

bool has(const FileTree& tree, const std::string& path) {
  return std::ranges::binary_search(tree.paths(), path);
}

/// Folders may stand in one folder of their own, as archives often have it, whatever lies beside that.
std::string prefix_of(const FileTree& tree, const std::string& place, Names& unused) {
  if (has(tree, "train/")) return "";
  Names prefixes;
  for (const std::string& path : tree.paths())
    if (path.find('/') + 1 == path.size() && has(tree, path + "train/")) prefixes.push_back(path);
  ESP_CHECK(!prefixes.empty(), place, ": has no folder train/ with a folder for each class",
            tree.paths().empty() ? ", it is empty" : ", its first entry is " + tree.paths().front());
  for (size_t i = 1; i < prefixes.size(); ++i) unused.push_back(prefixes[i] + "train/");
  return prefixes.front();
}

void add(Split& split, const std::string& path, const FileTree& tree, Names& others) {
  const std::string inner = path.substr(split.folder.size());
  const size_t slash = inner.find('/');
  if (inner.empty()) return;
  if (slash != inner.npos && inner.ends_with('/')) {
    split.files[inner.substr(0, slash)];
  } else if (!is_image_name(inner)) {
    others.push_back(path);
  } else {
    ESP_CHECK(slash != inner.npos, tree.place(path), ": lies in no class folder, expected ", split.folder,
              "CLASS/", inner);
    split.files[inner.substr(0, slash)].push_back(path);
  }
}

void check_classes(const Layout& layout, const FileTree& tree) {
  for (const Split* split : {&layout.train, &layout.test}) {
    ESP_CHECK(!split->files.empty(), tree.place(split->folder), ": holds no class folder");
    for (const auto& [name, files] : split->files)
      ESP_CHECK(is_utf8(name), tree.place(split->folder + name),
                ": is the folder of a class, but its name is not UTF-8: rename it");
    for (const auto& [name, files] : split->files)
      ESP_CHECK(!files.empty(), tree.place(split->folder + name),
                ": is the folder of a class, but holds no .jpg, .jpeg or .png");
  }
  for (const auto& [one, other] :
       {std::pair(&layout.train, &layout.test), std::pair(&layout.test, &layout.train)})
    for (const auto& [name, files] : one->files)
      ESP_CHECK(other->files.contains(name), tree.place(other->folder), ": has no class '", name, "', but ",
                one->folder, " has (", one->files.size(), " classes, and ", other->files.size(), " here)");
}

Layout layout_of(const FileTree& tree, const std::string& place) {
  Layout layout;
  const std::string prefix = prefix_of(tree, place, layout.unused);
  layout.train.folder = prefix + "train/";
  layout.test.folder = prefix + (has(tree, prefix + "test/") ? "test/" : "val/");
  if (layout.test.folder == prefix + "test/" && has(tree, prefix + "val/"))
    layout.unused.push_back(prefix + "val/");
  ESP_CHECK(has(tree, layout.test.folder), place, ": has a folder ", prefix, "train/, but neither ", prefix,
            "test/ nor ", prefix, "val/ beside it");
  for (const std::string& path : tree.paths())
    for (Split* split : {&layout.train, &layout.test})
      if (path.starts_with(split->folder)) add(*split, path, tree, layout.others);
  check_classes(layout, tree);
  return layout;
}

}  // namespace

void fit_image(const Image& image, const ImageFolderOptions& options, const std::string& place, uint8_t* to) {
  const int64_t pixels = options.height * options.width, c = options.channels;
  const bool grey = image.channels == 1 && c == 3;
  ESP_CHECK(image.channels == c || grey, place, ": has ", image.channels,
            image.channels == 1 ? " channel" : " channels", ", expected the model's ", c);
  resize(image, options.height, options.width, to);
  if (!grey) return;
  for (int64_t i = pixels - 1; i >= 0; --i) std::fill_n(to + 3 * i, 3, to[i]);
}

namespace {

/// What became of one image: "" or what is wrong.
struct Outcome {
  std::string problem;
  bool corrupt = false;
};

Outcome decode(const FileTree& tree, const std::string& path, const ImageFolderOptions& options,
               uint8_t* to) {
  const std::string place = tree.place(path);
  try {
    const std::vector<uint8_t> bytes = tree.read(path);
    Image image;
    try {
      image = decode_image(bytes, place);
    } catch (const Error& error) {
      return {error.what(), true};
    }
    fit_image(image, options, place, to);
    return {};
  } catch (const std::exception& error) {
    return {reason_of(error)};
  }
}

void check_memory(int64_t images, const ImageFolderOptions& options, const std::string& place) {
  const double bytes = static_cast<double>(images) * static_cast<double>(options.height) *
                       static_cast<double>(options.width) * static_cast<double>(options.channels);
  require_memory(
      bytes, join(place, ": ", images, " images of ", Shape{options.height, options.width, options.channels},
                  " are ", bytes_text(bytes), " (a smaller model.input takes less)"));
}

/// Moves the images that were decoded to the front, and says which were not.
Dataset without(Dataset data, const std::vector<Outcome>& outcomes, const Names& paths, Names& notes) {
  std::vector<int64_t> good;
  Names bad;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i].problem.empty())
      good.push_back(static_cast<int64_t>(i));
    else
      bad.push_back(paths[i]);
  }
  if (bad.empty()) return data;
  notes.push_back(fmt::format("{}: {} of {} images cannot be decoded and are left out: {}", data.name,
                              grouped(static_cast<int64_t>(bad.size())), grouped(data.size()), listed(bad)));
  return subset(data, good, data.name);
}

Dataset read_split(const Split& split, const FileTree& tree, const ImageFolderOptions& options,
                   const std::string& name, Names& notes) {
  Dataset data{name, {}, {}, {}};
  Names paths;
  for (const auto& [label, files] : split.files) {
    paths.insert(paths.end(), files.begin(), files.end());
    data.labels.insert(data.labels.end(), files.size(), static_cast<int32_t>(data.class_names.size()));
    data.class_names.push_back(label);
  }
  check_memory(data.size(), options, tree.place(split.folder));
  data.images = Tensor::empty({data.size(), options.height, options.width, options.channels}, DType::u8);
  const int64_t image = data.images.shape().row_elements();
  std::vector<Outcome> outcomes(paths.size());
  auto* to = data.images.data<uint8_t>();
  parallel_items(data.size(), parts_for(data.size(), 1), [&](int, int64_t i) {
    const auto at = static_cast<size_t>(i);
    if (!interrupt_signal()) outcomes[at] = decode(tree, paths[at], options, to + i * image);
  });
  stop_if_interrupted();
  for (const Outcome& outcome : outcomes)
    ESP_CHECK(outcome.problem.empty() || (outcome.corrupt && options.skip_corrupt), outcome.problem);
  data = without(std::move(data), outcomes, paths, notes);
  for (int32_t label = 0; label < data.classes(); ++label)
    ESP_CHECK(std::ranges::find(data.labels, label) != data.labels.end(),
              tree.place(split.folder + data.class_names[static_cast<size_t>(label)]),
              ": none of the images of this class can be decoded");
  return data;
}

/// "pets" of "data/pets/", too.
std::string name_of(const std::filesystem::path& root) {
  return printable((root.has_filename() ? root : root.parent_path()).filename().string());
}

/// What to do where there is nothing; whatever else keeps it from being read is said by who reads it.
void check_there(const std::filesystem::path& root) {
  std::error_code error;
  if (std::filesystem::status(root, error).type() != std::filesystem::file_type::not_found) return;
  fail(
      root.string(),
      ": there is no such folder or archive, expected train/CLASS/*.jpg, *.jpeg or *.png and test/ (or val/) "
      "alike: put your own images or a published set (Imagenette, ImageNet) there, or say where they are by "
      "data.path and --data or ESPALIER_DATA; `espalier help data` says more");
}

DataSplits read_all(const std::filesystem::path& root, const ImageFolderOptions& options) {
  const FileTree tree(root, keep_images);
  const Layout layout = layout_of(tree, root.string());
  const std::string name = name_of(root);
  DataSplits data;
  if (!layout.unused.empty())
    data.notes.push_back(fmt::format("{}: {} left out: {} and {} are what is read", name,
                                     listed(layout.unused), layout.train.folder, layout.test.folder));
  if (!layout.others.empty())
    data.notes.push_back(fmt::format("{}: {} files that are no .jpg, .jpeg or .png are left out: {}", name,
                                     grouped(static_cast<int64_t>(layout.others.size())),
                                     listed(layout.others)));
  data.train = read_split(layout.train, tree, options, name + " train", data.notes);
  data.test = read_split(layout.test, tree, options, name + " test", data.notes);
  return data;
}

}  // namespace

DataSplits load_image_folder(const std::filesystem::path& root, const ImageFolderOptions& options) {
  check_there(root);
  if (!options.cache) return read_all(root, options);
  const std::string form = fmt::format("{}x{}x{}{}", options.height, options.width, options.channels,
                                       options.skip_corrupt ? "-skip" : "");
  const std::string identity = fmt::format("{} v{} {}", form, image_version, fingerprint(root));
  const auto file = *options.cache / fmt::format("{}-{}-{:016x}.safetensors", name_of(root), form,
                                                 hash(std::filesystem::absolute(root).string()));
  std::string unused;  // why there is a file, but not what it holds
  try {
    if (auto data = read_image_cache(file, identity)) return *std::move(data);
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    unused = reason_of(error);
  }
  DataSplits data = read_all(root, options);
  std::string unkept;
  try {
    write_image_cache(file, identity, data);
  } catch (const std::exception& error) {
    unkept = reason_of(error);
  }
  if (!unkept.empty())
    data.notes.push_back("the decoded images are not kept for the next run: " + unkept);
  else if (!unused.empty())
    data.notes.push_back("the images are decoded anew: " + unused);
  return data;
}

std::optional<std::filesystem::path> user_cache_folder() {
  const auto set = [](const char* variable) -> std::optional<std::filesystem::path> {
    const char* value = std::getenv(variable);
    if (!value || !*value) return std::nullopt;
    return value;
  };
  if (const auto cache = set("XDG_CACHE_HOME")) return *cache / "espalier";
  if (const auto home = set("HOME")) return *home / ".cache" / "espalier";
  return std::nullopt;
}

}  // namespace espalier
