// Every label byte is checked, also those of the other kind: one that is out of range means that this is
// another file than expected.
#include "espalier/data/cifar.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>

#include "espalier/core/parallel.h"
#include "espalier/data/archive.h"
#include "espalier/data/datasets.h"
#include "espalier/data/file.h"
#include "espalier/util/table.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

constexpr int64_t side = 32, channels = 3, plane = side * side, pixels = channels * plane;
constexpr size_t max_bytes = size_t{1} << 30;  // five times CIFAR-100

struct LabelByte {
  const char* name;
  int classes;
};

struct Split {
  std::vector<const char*> files;
  int64_t images;  ///< as published
};

struct Form {
  const char* name;
  std::vector<LabelByte> labels;  ///< of a record, in their order
  Split train, test;

  int64_t record() const { return static_cast<int64_t>(labels.size()) + pixels; }
};

const Form& form_of(Cifar kind) {
  static const Form ten{
      "cifar10",
      {{"label", 10}},
      {{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"},
       50'000},
      {{"test_batch.bin"}, 10'000}};
  static const Form hundred{"cifar100",
                            {{"coarse label", 20}, {"fine label", 100}},
                            {{"train.bin"}, 50'000},
                            {{"test.bin"}, 10'000}};
  return kind == Cifar::ten ? ten : hundred;
}

/// Which byte of a record is the label.
int64_t label_byte(Cifar kind) { return kind == Cifar::hundred_fine ? 1 : 0; }

/// `images` records' planes to pixels of three bytes.
void interleave(const uint8_t* records, int64_t images, int64_t record, uint8_t* to) {
  parallel_for(images, 256, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t* from = records + (i + 1) * record - pixels;
      uint8_t* image = to + i * pixels;
      for (int64_t p = 0; p < plane; ++p)
        for (int64_t c = 0; c < channels; ++c) image[p * channels + c] = from[c * plane + p];
    }
  });
}

Dataset joined(std::vector<Dataset> parts, const std::string& name) {
  int64_t images = 0;
  for (const Dataset& part : parts) images += part.size();
  Dataset result{name, Tensor::empty({images, side, side, channels}, DType::u8), {}, parts[0].class_names};
  auto* to = result.images.data<uint8_t>();
  for (const Dataset& part : parts) {
    to = std::ranges::copy(part.images.span<uint8_t>(), to).out;
    result.labels.insert(result.labels.end(), part.labels.begin(), part.labels.end());
  }
  return result;
}

/// The published files: in a folder, each plain, .gz or .xz, or in an archive, in whatever folder of it.
class Source {
 public:
  Source(const std::filesystem::path& path, const Form& form) : path_(path) {
    std::error_code error;  // a folder that cannot be read is reported later
    const std::filesystem::file_status status = std::filesystem::status(path, error);
    if (!std::filesystem::exists(status) || std::filesystem::is_directory(status)) return;
    std::set<std::string> wanted;
    for (const Split* split : {&form.train, &form.test})
      wanted.insert(split->files.begin(), split->files.end());
    archive_ = read_archive(path, [&](const std::string& file, std::span<const uint8_t>) {
      return wanted.erase(std::filesystem::path(file).filename()) ? max_bytes + 1 : 0;  // the first of a name
    });
  }
  bool has(const std::string& file) const {
    return archive_ ? find(file) != nullptr : find_plain_or_compressed(path_ / file).has_value();
  }
  Dataset read(const std::string& file, Cifar kind) const {
    if (const Archive::File* found = archive_ ? find(file) : nullptr) {
      const std::string place = path_.string() + ": " + printable(found->path);
      ESP_CHECK(found->bytes.size() <= max_bytes, place, ": is longer than the ", max_bytes,
                " bytes that such a file may have");
      return parse_cifar(found->bytes, kind, place);
    }
    const auto path = find_plain_or_compressed(path_ / file).value();
    return parse_cifar(read_unpacked(path, max_bytes), kind, path.string());
  }

 private:
  const Archive::File* find(const std::string& name) const {
    for (const Archive::File& file : archive_->files)
      if (std::filesystem::path(file.path).filename() == name) return &file;
    return nullptr;
  }

  std::filesystem::path path_;
  std::optional<Archive> archive_;
};

Dataset load_split(const Source& source, Cifar kind, const Split& split, const char* which,
                   std::vector<std::string>& notes) {
  std::vector<Dataset> parts;
  for (const char* file : split.files) parts.push_back(source.read(file, kind));
  Dataset result = joined(std::move(parts), join(form_of(kind).name, " ", which));
  if (result.size() != split.images)
    notes.push_back(fmt::format("{}: {} images, the published set has {}", result.name,
                                grouped(result.size()), grouped(split.images)));
  return result;
}

void number_anew(DataSplits& data) {
  std::vector<int32_t> numbers(data.train.class_names.size(), -1);
  for (const Dataset* split : {&data.train, &data.test})
    for (int32_t label : split->labels) numbers[static_cast<size_t>(label)] = 0;
  std::vector<std::string> names;
  for (size_t label = 0; label < numbers.size(); ++label) {
    if (numbers[label] < 0) continue;
    numbers[label] = static_cast<int32_t>(names.size());
    names.push_back(data.train.class_names[label]);
  }
  for (Dataset* split : {&data.train, &data.test}) {
    for (int32_t& label : split->labels) label = numbers[static_cast<size_t>(label)];
    split->class_names = names;
  }
}

}  // namespace

const std::vector<std::string>& cifar_class_names(Cifar kind) {
  // clang-format off
  static const std::vector<std::string> ten = {
      "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};
  static const std::vector<std::string> fine = {
      "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
      "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
      "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
      "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard",
      "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
      "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree",
      "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket",
      "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
      "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
      "tractor",
      "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm"};
  static const std::vector<std::string> coarse = {
      "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
      "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
      "large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
      "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees", "vehicles_1",
      "vehicles_2"};
  // clang-format on
  return kind == Cifar::ten ? ten : kind == Cifar::hundred_fine ? fine : coarse;
}

Dataset parse_cifar(std::span<const uint8_t> bytes, Cifar kind, const std::string& file) {
  const Form& form = form_of(kind);
  const int64_t size = static_cast<int64_t>(bytes.size()), record = form.record(), images = size / record;
  ESP_CHECK(size > 0, file, ": is empty, expected records of ", record, " bytes");
  ESP_CHECK(size % record == 0, file, ": cut short or not ", form.name, ": the record at byte ",
            images * record, " has ", size % record, " bytes, expected ", record);

  Dataset result{file, Tensor::empty({images, side, side, channels}, DType::u8), {}, cifar_class_names(kind)};
  result.labels.reserve(static_cast<size_t>(images));
  for (int64_t i = 0; i < images; ++i) {
    const uint8_t* labels = bytes.data() + i * record;
    for (size_t j = 0; j < form.labels.size(); ++j)
      ESP_CHECK(labels[j] < form.labels[j].classes, file, ": ", form.labels[j].name, " ", int{labels[j]},
                " of image ", i, " at byte ", i * record + static_cast<int64_t>(j), ", expected 0 to ",
                form.labels[j].classes - 1);
    result.labels.push_back(labels[label_byte(kind)]);
  }
  interleave(bytes.data(), images, record, result.images.data<uint8_t>());
  return result;
}

DataSplits load_cifar(const std::filesystem::path& path, Cifar kind, bool remap) {
  const Form& form = form_of(kind);
  const Source source(path, form);
  std::vector<std::string> missing;
  for (const Split* split : {&form.train, &form.test})
    for (const char* file : split->files)
      if (!source.has(file)) missing.push_back(file);
  ESP_CHECK(missing.empty(), form.name, ": ", path.string(), " lacks ",
            fmt::format("{}", fmt::join(missing, ", ")),
            " (plain, .gz or .xz); get them by `scripts/get-data ", form.name,
            "`, or say where they are by --data or ESPALIER_DATA");
  DataSplits data;
  data.train = load_split(source, kind, form.train, "train", data.notes);
  data.test = load_split(source, kind, form.test, "test", data.notes);
  if (remap) number_anew(data);
  return data;
}

namespace {

Cifar kind_of(const DatasetOptions& options) {
  if (options.type == form_of(Cifar::ten).name) return Cifar::ten;
  return options.labels == "coarse" ? Cifar::hundred_coarse : Cifar::hundred_fine;
}

int64_t cifar_classes(const DatasetRequest& wanted) {
  return wanted.remap ? 0 : static_cast<int64_t>(cifar_class_names(kind_of(wanted)).size());
}

DataSplits load_wanted(const DatasetRequest& wanted) {
  return load_cifar(wanted.place, kind_of(wanted), wanted.remap);
}

}  // namespace

DatasetInfo cifar10() {
  return {.name = "cifar10",
          .help =
              "60,000 photographs, 32x32x3, 10 classes. Folder `cifar-10-batches-bin` with data_batch_1.bin "
              ".. data_batch_5.bin and test_batch.bin, each plain, .gz or .xz.",
          .options = {"root", "path", "remap"},
          .folder = "cifar-10-batches-bin",
          .reads_archives = true,
          .classes = cifar_classes,
          .load = load_wanted};
}

DatasetInfo cifar100() {
  return {.name = "cifar100",
          .help =
              "60,000 photographs, 32x32x3, 100 classes, or 20 by \"labels\": \"coarse\". Folder `cifar-100-binary` with "
              "train.bin and test.bin. Files of either set may hold a part of the images; \"remap\": true "
              "numbers the classes that are left 0..k-1.",
          .options = {"root", "path", "labels", "remap"},
          .folder = "cifar-100-binary",
          .reads_archives = true,
          .classes = cifar_classes,
          .load = load_wanted};
}

}  // namespace espalier
