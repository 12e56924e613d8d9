// First the names, so that what is wrong with the folders is said before an image is decoded; then the
// images.
#include "espalier/data/image_folder.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
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

/// Of an archive's files images alone are held, and of those no more than their headers promise.
size_t keep_images(const std::string& path, std::span<const uint8_t> beginning) {
  if (!has_image_extension(path)) return 0;
  const std::optional<size_t> most = most_image_bytes(beginning);
  return most ? *most + 1 : beginning.size();  // enough for decode_image to say what is wrong
}

struct Split {
  std::string folder;                  ///< "train/" or "a/train/"
  std::map<std::string, Names> files;  ///< by class: paths of its images
};

struct Layout {
  Split train, validation, test;  ///< no folder: not there
  Names others;                   ///< files below them that are no images
  Names unused;                   ///< folders that would do for a split if another did not

  std::vector<Split*> splits() {
    std::vector<Split*> there;
    for (Split* split : {&train, &validation, &test})
      if (!split->folder.empty()) there.push_back(split);
    return there;
  }
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
  } else if (!has_image_extension(inner)) {
    others.push_back(path);
  } else {
    ESP_CHECK(slash != inner.npos, tree.place(path), ": lies in no class folder, expected ", split.folder,
              "CLASS/", inner);
    split.files[inner.substr(0, slash)].push_back(path);
  }
}

/// Takes out classes without an image in any split, and notes them as it does those without in one.
void check_classes(Layout& layout, const FileTree& tree, const std::string& name, Names& notes) {
  for (const Split* split : layout.splits()) {
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
  for (Split* split : layout.splits()) {
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

Layout layout_of(const FileTree& tree, const std::string& place, bool val_validates) {
  Layout layout;
  const std::string prefix = prefix_of(tree, place, layout.unused), val = prefix + "val/";
  layout.train.folder = prefix + "train/";
  layout.test.folder = has(tree, prefix + "test/") ? prefix + "test/" : val;
  ESP_CHECK(has(tree, layout.test.folder), place, ": has a folder ", prefix, "train/, but neither ", prefix,
            "test/ nor ", prefix, "val/ beside it");
  if (layout.test.folder != val && has(tree, val)) {
    if (val_validates)
      layout.validation.folder = val;
    else
      layout.unused.push_back(val);
  }
  for (const std::string& path : tree.paths())
    for (Split* split : layout.splits())
      if (path.starts_with(split->folder)) add(*split, path, tree, layout.others);
  return layout;
}

/// What became of one image: "" or what is wrong, and what had to be done to it.
struct Outcome {
  std::string problem;
  bool corrupt = false;
  bool grey = false, rgb = false, alpha = false, deep = false, inks = false, turned = false;
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
      return {.problem = error.what(), .corrupt = true};
    }
    to_pixels(image, options.pixels(), to);
    return {.problem = {},
            .grey = image.channels <= 2,
            .rgb = image.channels >= 3,
            .alpha = image.channels % 2 == 0,
            .deep = image.had_16_bits,
            .inks = image.was_cmyk,
            .turned = image.was_turned};
  } catch (const std::exception& error) {
    return {.problem = reason_of(error)};
  }
}

/// The images of all splits, as they are read.
struct Reading {
  int64_t images = 0;
  std::vector<Outcome> outcomes = {};  ///< so far
  Names notes = {};
};

/// Errors name all images that cannot be used, of whatever split, and as many as a person reads.
void check_outcomes(const Reading& reading, const ImageFolderOptions& options, const std::string& name) {
  Names problems;
  bool corrupt = true;
  for (const Outcome& outcome : reading.outcomes)
    if (!outcome.problem.empty() && !(outcome.corrupt && options.skip_corrupt)) {
      problems.push_back(outcome.problem);
      corrupt = corrupt && outcome.corrupt;
    }
  if (problems.empty()) return;
  if (problems.size() == 1) fail(problems.front());
  std::string text = fmt::format("{}: {} of {} images cannot be read{}:", name,
                                 grouped(static_cast<int64_t>(problems.size())), grouped(reading.images),
                                 corrupt ? " (data.skip_corrupt leaves them out)" : "");
  for (size_t i = 0; i < std::min(problems.size(), most_named); ++i) text += (i ? "; " : " ") + problems[i];
  if (problems.size() > most_named) text += fmt::format("; and {} more", problems.size() - most_named);
  fail(text);
}

/// What had to be done to images so that the model takes them, in one line, once.
void note_conversions(Reading& reading, const ImageFolderOptions& options, const std::string& name) {
  const auto count = [&](bool Outcome::*what) { return std::ranges::count(reading.outcomes, true, what); };
  const bool colour = options.channels == 3;
  Names made;
  const auto say = [&](int64_t images, const std::string& what) {
    if (images > 0) made.push_back(fmt::format("{} {}", grouped(images), what));
  };
  say(count(&Outcome::deep), "of 16 bits cut to 8");
  say(count(&Outcome::inks), "from CMYK to RGB");
  say(count(&Outcome::turned), "turned upright by their EXIF orientation");
  if (options.alpha == Alpha::drop)
    say(count(&Outcome::alpha), "without their alpha (\"alpha\": \"white\" would blend them over white)");
  else
    say(count(&Outcome::alpha), "with alpha blended over white");
  say(colour ? count(&Outcome::grey) : count(&Outcome::rgb),
      colour ? "from grey to RGB" : "from RGB to grey");
  if (made.empty()) return;
  reading.notes.push_back(
      fmt::format("{}: of {} images {}", name, grouped(reading.images), fmt::join(made, ", ")));
}

/// Says what is about to be read, or refuses it.
void check_memory(int64_t images, const ImageFolderOptions& options, const std::string& place) {
  const double bytes = static_cast<double>(images) * static_cast<double>(options.height) *
                       static_cast<double>(options.width) * static_cast<double>(options.channels);
  const std::string what = fmt::format("{}: {} images of {} x {} x {}", place, grouped(images),
                                       options.height, options.width, options.channels);
  require_memory(bytes, fmt::format("{} are {} (a smaller model.input takes less)", what, bytes_text(bytes)));
  if (options.say) options.say(fmt::format("{}, {} of memory", what, bytes_text(bytes)));
}

/// Moves the images that were decoded to the front, and says which were not.
Dataset without(Dataset data, std::span<const Outcome> outcomes, const Names& paths, Names& notes) {
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

int64_t images_of(const Split& split) {
  int64_t images = 0;
  for (const auto& [label, files] : split.files) images += static_cast<int64_t>(files.size());
  return images;
}

/// Labels are places in `classes`. Images that cannot be decoded are left out, and in `reading`.
Dataset read_split(const Split& split, const FileTree& tree, const Names& classes,
                   const ImageFolderOptions& options, const std::string& name, Reading& reading) {
  Dataset data{name, {}, {}, classes};
  Names paths;
  for (const auto& [label, files] : split.files) {
    const auto number = std::ranges::find(classes, label) - classes.begin();
    paths.insert(paths.end(), files.begin(), files.end());
    data.labels.insert(data.labels.end(), files.size(), static_cast<int32_t>(number));
  }
  data.images = Tensor::empty({data.size(), options.height, options.width, options.channels}, DType::u8);
  const int64_t image = data.images.shape().row_elements();
  std::vector<Outcome> outcomes(paths.size());
  auto* to = data.images.data<uint8_t>();
  parallel_items(data.size(), parts_for(data.size(), 1), [&](int, int64_t i) {
    const auto at = static_cast<size_t>(i);
    if (!interrupt_signal()) outcomes[at] = decode(tree, paths[at], options, to + i * image);
  });
  stop_if_interrupted();
  reading.outcomes.insert(reading.outcomes.end(), outcomes.begin(), outcomes.end());
  if (options.skip_corrupt) data = without(std::move(data), outcomes, paths, reading.notes);
  for (const auto& [label, files] : split.files) {
    const auto number = static_cast<int32_t>(std::ranges::find(classes, label) - classes.begin());
    ESP_CHECK(files.empty() || std::ranges::find(data.labels, number) != data.labels.end(),
              tree.place(split.folder + label), ": none of the images of this class can be decoded");
  }
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
  fail(root.string(),
       ": there is no such folder or archive, expected train/CLASS/*.jpg (or .png, .webp, .bmp) and test/ "
       "(or val/) "
       "alike: put your own images or a published set (Imagenette, ImageNet) there, or say where they are by "
       "data.path and --data or ESPALIER_DATA; `espalier help data` says more");
}

void note_others(const Names& others, const std::string& name, Names& notes) {
  if (!others.empty())
    notes.push_back(fmt::format(
        "{}: {} {} no {}: left out: {}", name, grouped(static_cast<int64_t>(others.size())),
        others.size() == 1 ? "file that is" : "files that are", image_extensions, listed(others)));
}

DataSplits read_all(const std::filesystem::path& root, const ImageFolderOptions& options) {
  const FileTree tree(root, keep_images);
  Layout layout = layout_of(tree, root.string(), options.val_validates);
  const std::string name = name_of(root);
  Reading reading;
  if (!layout.unused.empty())
    reading.notes.push_back(fmt::format(
        "{}: {} left out: {} and {} are what is read{}", name, listed(layout.unused), layout.train.folder,
        layout.test.folder, layout.unused.back().ends_with("val/") ? ", for data.validation is set" : ""));
  check_classes(layout, tree, name, reading.notes);
  note_others(layout.others, name, reading.notes);
  Names classes;
  for (const auto& [label, files] : layout.train.files) classes.push_back(label);
  for (const Split* split : layout.splits()) reading.images += images_of(*split);
  check_memory(reading.images, options, root.string());
  const auto read = [&](const Split& split, const std::string& which) {
    return read_split(split, tree, classes, options, name + " " + which, reading);
  };
  DataSplits data;
  data.train = read(layout.train, "train");
  if (!layout.validation.folder.empty()) data.validation = read(layout.validation, "validation");
  data.test = read(layout.test, "test");
  check_outcomes(reading, options, root.string());
  note_conversions(reading, options, name);
  data.notes = std::move(reading.notes);
  return data;
}

}  // namespace

DataSplits load_image_folder(const std::filesystem::path& root, const ImageFolderOptions& options) {
  check_there(root);
  if (!options.cache) return read_all(root, options);
  const std::string form = fmt::format(
      "{}x{}x{}{}{}{}", options.height, options.width, options.channels, options.skip_corrupt ? "-skip" : "",
      options.alpha == Alpha::white ? "-white" : "", options.val_validates ? "-val" : "");
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

DataSplits load_labelled_images(const std::filesystem::path& root, const Names& classes,
                                const ImageFolderOptions& options) {
  std::error_code error;
  ESP_CHECK(std::filesystem::status(root, error).type() != std::filesystem::file_type::not_found,
            root.string(), ": there is no such folder or archive, expected CLASS/*.jpg in it");
  const FileTree tree(root, keep_images);
  const std::string name = name_of(root);
  Split split;
  Names others, unknown;
  for (const std::string& path : tree.paths()) add(split, path, tree, others);
  for (const auto& [label, files] : split.files)
    if (!files.empty() && std::ranges::find(classes, label) == classes.end()) unknown.push_back(label);
  ESP_CHECK(unknown.empty(), root.string(),
            ": holds folders of classes that the model does not know: ", listed(unknown), " (it knows ",
            listed(classes), ")");
  Reading reading{.images = images_of(split)};
  ESP_CHECK(reading.images > 0, root.string(), ": holds no ", image_extensions,
            " in folders of the model's classes: ", listed(classes));
  note_others(others, name, reading.notes);
  check_memory(reading.images, options, root.string());
  std::erase_if(split.files, [](const auto& of_class) { return of_class.second.empty(); });
  DataSplits data;
  data.test = read_split(split, tree, classes, options, name, reading);
  check_outcomes(reading, options, root.string());
  note_conversions(reading, options, name);
  data.notes = std::move(reading.notes);
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
