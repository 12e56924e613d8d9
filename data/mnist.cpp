// Nothing in a header is believed before the bytes after it have been counted.
#include "espalier/data/mnist.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "espalier/data/bytes.h"
#include "espalier/data/datasets.h"
#include "espalier/data/file.h"

namespace espalier {
namespace {

struct Kind {
  const char* meaning;
  uint32_t magic;
  int axes;
};
constexpr Kind images_kind{" (images)", 0x00000803, 3}, labels_kind{" (labels)", 0x00000801, 1};
constexpr size_t max_bytes = size_t{512} << 20;  // ten times MNIST: EMNIST's and QMNIST's digits fit

size_t header_bytes(const Kind& kind) { return 4 + 4 * static_cast<size_t>(kind.axes); }

/// Bytes of the file by its header; without a limit where the header is of another kind, as parse_idx says.
Length length_of(const Kind& kind) {
  return {header_bytes(kind), [&kind](std::span<const uint8_t> header) {
            if (big_endian(header, 0, 4) != kind.magic) return max_bytes;
            size_t values = 1;
            for (size_t at = 4; at < header.size(); at += 4)
              values = std::min<size_t>(max_bytes, values * big_endian(header, at, 4));
            return header.size() + values;
          }};
}

struct Idx {
  std::array<int64_t, 3> sizes;  ///< [axes]
  std::span<const uint8_t> values;
};

Idx parse_idx(std::span<const uint8_t> bytes, const std::string& file, const Kind& kind) {
  const size_t header = header_bytes(kind);
  ESP_CHECK(bytes.size() >= 4, file, ": cut short: ", bytes.size(), " bytes, the header alone is ", header);
  const uint32_t magic = big_endian(bytes, 0, 4);
  const Kind& other = &kind == &images_kind ? labels_kind : images_kind;
  ESP_CHECK(magic == kind.magic, file, ": magic number ",
            fmt::format("{:#010x}{}, expected {:#010x}", magic, magic == other.magic ? other.meaning : "",
                        kind.magic),
            kind.meaning);
  ESP_CHECK(bytes.size() >= header, file, ": cut short: ", bytes.size(), " bytes, the header alone is ",
            header);

  Idx idx{{}, bytes.subspan(header)};
  unsigned __int128 expected = 1;  // three sizes of 32 bits each
  for (int axis = 0; axis < kind.axes; ++axis) {
    idx.sizes[axis] = big_endian(bytes, 4 + 4 * static_cast<size_t>(axis), 4);
    ESP_CHECK(idx.sizes[axis] > 0, file, ": size 0 at byte ", 4 + 4 * axis, ", expected 1 or more");
    expected *= static_cast<uint64_t>(idx.sizes[axis]);
  }
  if (expected != idx.values.size())
    fail(file, ": ", expected > idx.values.size() ? "cut short" : "too long", ": ", idx.values.size(),
         " bytes after the header, ",
         fmt::format("{} expected ({})", expected,
                     fmt::join(idx.sizes.begin(), idx.sizes.begin() + kind.axes, " x ")));
  return idx;
}

Dataset load_split(const std::filesystem::path& images, const std::filesystem::path& labels,
                   const char* name) {
  Dataset result{name,
                 read_idx_images(images),
                 read_idx_labels(labels),
                 {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}};
  ESP_CHECK(result.images.shape()[0] == result.size(), labels.string(), ": ", result.size(), " labels, but ",
            images.string(), " holds ", result.images.shape()[0], " images");
  return result;
}

}  // namespace

Tensor parse_idx_images(std::span<const uint8_t> bytes, const std::string& file) {
  const Idx idx = parse_idx(bytes, file, images_kind);
  return Tensor::from({idx.sizes[0], idx.sizes[1], idx.sizes[2], 1}, idx.values);
}

std::vector<int32_t> parse_idx_labels(std::span<const uint8_t> bytes, const std::string& file) {
  const Idx idx = parse_idx(bytes, file, labels_kind);
  for (size_t i = 0; i < idx.values.size(); ++i)
    ESP_CHECK(idx.values[i] <= 9, file, ": label ", int{idx.values[i]}, " of image ", i, " at byte ", 8 + i,
              ", expected 0 to 9");
  return {idx.values.begin(), idx.values.end()};
}

Tensor read_idx_images(const std::filesystem::path& path) {
  return parse_idx_images(read_unpacked(path, max_bytes, length_of(images_kind)), path.string());
}
std::vector<int32_t> read_idx_labels(const std::filesystem::path& path) {
  return parse_idx_labels(read_unpacked(path, max_bytes, length_of(labels_kind)), path.string());
}

DataSplits load_mnist(const std::filesystem::path& folder) {
  constexpr std::array names = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
  std::array<std::filesystem::path, names.size()> paths;
  std::string missing;
  for (size_t i = 0; i < names.size(); ++i) {
    if (const auto found = find_plain_or_compressed(folder / names[i]))
      paths[i] = *found;
    else
      missing += (missing.empty() ? "" : ", ") + std::string(names[i]);
  }
  ESP_CHECK(missing.empty(), "mnist: ", folder.string(), " lacks ", missing,
            " (plain, .gz or .xz); get them by `scripts/get-data mnist`, or say where they are by --data or "
            "ESPALIER_DATA");
  DataSplits data{
      load_split(paths[0], paths[1], "mnist train"), {}, load_split(paths[2], paths[3], "mnist test")};
  ESP_CHECK(data.train.images.shape().with(0, 0) == data.test.images.shape().with(0, 0), paths[2].string(),
            ": images of ", data.test.height(), " x ", data.test.width(), ", but ", paths[0].string(),
            " holds ", data.train.height(), " x ", data.train.width());
  return data;
}

DatasetInfo mnist() {
  return {.name = "mnist",
          .help =
              "70,000 handwritten digits, 28x28x1, 10 classes. Folder `mnist` with these files, each plain, "
              ".gz or .xz:\n"
              "  train-images-idx3-ubyte  train-labels-idx1-ubyte\n"
              "  t10k-images-idx3-ubyte   t10k-labels-idx1-ubyte\n"
              "Any data set in such files will do (Fashion-MNIST, KMNIST): \"path\" names its folder.",
          .options = {"root", "path"},
          .folder = "mnist",
          .keeps_class_names = false,
          .no_mirror = "a digit's mirror image is no digit",
          .classes = [](const DatasetRequest&) { return 10; },
          .load = [](const DatasetRequest& wanted) { return load_mnist(wanted.place); }};
}

}  // namespace espalier
