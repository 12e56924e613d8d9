// First the names (image_layout.h), so that what is wrong with the folders is said before an image is
// decoded; then the images.
#include "espalier/data/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "espalier/core/parallel.h"
#include "espalier/core/physical_memory.h"
#include "espalier/core/reason.h"
#include "espalier/data/file_tree.h"
#include "espalier/data/image_cache.h"
#include "espalier/data/image_check.h"
#include "espalier/data/image_conversions.h"
#include "espalier/data/image_layout.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

using Names = std::vector<std::string>;

/// Of an archive's files only images are held, and of those no more than their headers promise.
size_t keep_images(const std::string& path, std::span<const uint8_t> beginning) {
  if (!has_image_extension(path)) return 0;
  const std::optional<size_t> max_bytes = most_image_bytes(beginning);
  return max_bytes ? *max_bytes + 1 : beginning.size();  // enough for decode_image to say what is wrong
}

/// What became of one image: "" or what is wrong, and what had to be done to it.
struct Outcome {
  std::string problem;
  bool corrupt = false;
  Conversion done = {};
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
    return {.problem = {}, .done = conversion_of(image)};
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
  const std::string remedy =
      corrupt ? fmt::format(" (data.skip_corrupt leaves {} out)", problems.size() == 1 ? "it" : "them") : "";
  if (problems.size() == 1) fail(problems.front(), remedy);
  std::string text =
      fmt::format("{}: {} of {} images cannot be read{}:", name,
                  grouped(static_cast<int64_t>(problems.size())), grouped(reading.images), remedy);
  for (size_t i = 0; i < std::min(problems.size(), most_named); ++i) text += (i ? "; " : " ") + problems[i];
  if (problems.size() > most_named) text += fmt::format("; and {} more", problems.size() - most_named);
  fail(text);
}

/// What had to be done to images so that the model takes them, in one line, once.
void note_conversions(Reading& reading, const ImageFolderOptions& options, const std::string& name) {
  std::vector<Conversion> done;
  for (const Outcome& outcome : reading.outcomes) done.push_back(outcome.done);
  if (const std::string line = conversions_line(done, options.pixels(), true); !line.empty())
    reading.notes.push_back(name + ": " + line);
}

/// Says what will be read, or refuses it.
void announce(int64_t images, const ImageFolderOptions& options, const std::string& place) {
  const double bytes = static_cast<double>(images) * static_cast<double>(options.height) *
                       static_cast<double>(options.width) * static_cast<double>(options.channels);
  const std::string what =
      fmt::format("{}: {} {} of {} x {} x {}", place, grouped(images), plural(images, "image"),
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

/// Labels are places in `classes`. Images that cannot be decoded are left out, and in `reading`.
Dataset read_split(const ImageSplit& split, const FileTree& tree, const Names& classes,
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

/// What to do if there is nothing; the reader says what else keeps it from being read.
void check_there(const std::filesystem::path& root) {
  std::error_code error;
  if (std::filesystem::status(root, error).type() != std::filesystem::file_type::not_found) return;
  fail(root.string(),
       ": there is no such folder or archive, expected train/CLASS/*.jpg (or .png, .webp, .bmp) and test/ "
       "(or val/) alike: put your own images or a published set (Imagenette, ImageNet) there, or say where "
       "they are by data.path and --data or ESPALIER_DATA; `espalier help data` says more");
}

DataSplits read_all(const std::filesystem::path& root, const ImageFolderOptions& options) {
  const FileTree tree(root, keep_images);
  const std::string name = image_folder_name(root);
  Reading reading;
  ImageLayout layout = image_layout(tree, root, options.val_validates, reading.notes);
  const Names classes = layout.classes();
  for (const ImageSplit* split : layout.splits()) reading.images += split->images();
  announce(reading.images, options, root.string());
  const auto read = [&](const ImageSplit& split, const std::string& which) {
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

/// Where the decoded images are kept, and what says that they are these.
struct CachePlace {
  std::filesystem::path file;
  std::string identity;
};

CachePlace cache_place(const std::filesystem::path& root, const ImageFolderOptions& options) {
  const std::string form = fmt::format(
      "{}x{}x{}{}{}{}", options.height, options.width, options.channels, options.skip_corrupt ? "-skip" : "",
      options.alpha == Alpha::white ? "-white" : "", options.val_validates ? "-val" : "");
  return {.file = options.cache.value() / fmt::format("{}-{}-{:016x}.safetensors", image_folder_name(root),
                                                      form, hash(std::filesystem::absolute(root).string())),
          .identity = fmt::format("{} v{} {}", form, image_version, fingerprint(root))};
}

/// What a cache holds, an Error as well if it holds images of another size.
std::optional<DataSplits> read_kept(const CachePlace& place, const ImageFolderOptions& options) {
  auto data = read_image_cache(place.file, place.identity);
  if (!data) return data;
  const Shape expected{options.height, options.width, options.channels};
  for (const Dataset* split : {&data->train, &data->validation, &data->test}) {
    if (split->size() == 0) continue;
    const Shape found{split->height(), split->width(), split->channels()};
    ESP_CHECK(found == expected, place.file.string(), ": holds images of ", found, ", expected ", expected);
  }
  return data;
}

/// What read() finds in a cache; nothing where that is of no use, and then `why`.
template <class Read>
auto attempt_cache(const Read& read, std::string& why) -> decltype(read()) {
  try {
    return read();
  } catch (const Interrupted&) {
    throw;
  } catch (const std::exception& error) {
    why = reason_of(error);
    return std::nullopt;
  }
}

}  // namespace

Names image_folder_classes(const std::filesystem::path& root, const ImageFolderOptions& options) {
  check_there(root);
  std::error_code error;
  if (options.cache && !std::filesystem::is_directory(root, error)) {  // an archive is slow to list
    const CachePlace kept = cache_place(root, options);
    std::string unused;
    if (auto info = attempt_cache([&] { return read_image_cache_info(kept.file, kept.identity); }, unused))
      return std::move(info->classes);
  }
  const FileTree tree(root, [](const std::string&, std::span<const uint8_t>) { return size_t{0}; });
  Names notes;  // load_image_folder's are the same
  return image_layout(tree, root, options.val_validates, notes).classes();
}

DataSplits load_image_folder(const std::filesystem::path& root, const ImageFolderOptions& options) {
  check_there(root);
  check_channels(options.pixels());
  if (!options.cache) return read_all(root, options);
  const CachePlace kept = cache_place(root, options);
  ImageFolderOptions rest = options;
  std::string unused;  // why there is a file, but not what it holds
  if (const auto info =
          attempt_cache([&] { return read_image_cache_info(kept.file, kept.identity); }, unused)) {
    announce(info->images, options, root.string());
    rest.say = {};  // it is said
    if (auto data = attempt_cache([&] { return read_kept(kept, options); }, unused)) return *std::move(data);
  }
  DataSplits data = read_all(root, rest);
  std::string unkept;
  try {
    write_image_cache(kept.file, kept.identity, data);
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
  check_channels(options.pixels());
  const FileTree tree(root, keep_images);
  const std::string name = image_folder_name(root);
  Names notes;
  const ImageSplit split = image_split_of(tree, root, classes, notes);
  Reading reading{.images = split.images(), .notes = std::move(notes)};
  announce(reading.images, options, split.folder.empty() ? root.string() : tree.place(split.folder));
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

ImageFolderOptions image_folder_options(const DatasetRequest& wanted) {
  return {.height = wanted.image[0],
          .width = wanted.image[1],
          .channels = wanted.image[2],
          .alpha = alpha_named(wanted.alpha),
          .skip_corrupt = wanted.skip_corrupt,
          .val_validates = wanted.val_validates,
          .cache = wanted.cache ? user_cache_folder() : std::nullopt,
          .say = wanted.say};
}

DatasetInfo image_folder() {
  return {.name = "image_folder",
          .help =
              "Your own: train/CLASS/*.jpg, .jpeg, .png, .webp or .bmp, and test/ alike, in the folder that "
              "\"path\" names. The model has as many classes as train/ has folders with images, unless it "
              "says a number itself. val/ stands for test/, or beside it is the validation split, unless "
              "\"validation\" says which share of train/ is held out, or 0. Images are turned as their EXIF "
              "orientation says, "
              "become grey or RGB as the model's input is, are scaled to its size, their aspect kept, and "
              "cut to their middle. Transparency is dropped; \"alpha\": \"white\" blends it over white. "
              "`espalier eval CHECKPOINT --images FOLDER` reads FOLDER/CLASS/*.jpg, test set or not. What "
              "is decoded is kept for the next start, in $XDG_CACHE_HOME/espalier or ~/.cache/espalier; "
              "\"cache\": false keeps none. \"skip_corrupt\": true leaves out images that cannot be "
              "decoded, and names them.\n"
              "A published set in this form: Imagenette, ten classes of ImageNet (340 MB),\n"
              "https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz\n"
              "unpacked or as it is; ImageNet itself is at https://image-net.org, for those who register "
              "there.",
          .options = {"root", "path", "skip_corrupt", "alpha", "cache"},
          .reads_archives = true,
          .has_validation = true,
          .comes_by_class = true,
          .class_names =
              [](const DatasetRequest& wanted) {
                return image_folder_classes(wanted.place, image_folder_options(wanted));
              },
          .load =
              [](const DatasetRequest& wanted) {
                return load_image_folder(wanted.place, image_folder_options(wanted));
              }};
}

}  // namespace espalier
