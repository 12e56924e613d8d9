// The IDX reader and load_mnist: real files where they are, and broken ones made here.
#include "espalier/data/mnist.h"

#include <algorithm>
#include <numeric>

#include "data/packed_files.h"
#include "support/bad_input.h"
#include "support/places.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

constexpr uint32_t images_magic = 0x803, labels_magic = 0x801;
const std::string image_magics = "magic number 0x00000801 (labels), expected 0x00000803 (images)";
const std::string label_magics = "magic number 0x00000803 (images), expected 0x00000801 (labels)";

Bytes counting(size_t size) {
  Bytes bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{0});
  return bytes;
}

std::string images_message(const Bytes& bytes) {
  return message_of([&] { parse_idx_images(bytes, "file"); });
}
std::string labels_message(const Bytes& bytes) {
  return message_of([&] { parse_idx_labels(bytes, "file"); });
}

TEST(Idx, ImagesAndLabels) {
  const Tensor images = parse_idx_images(idx(images_magic, {2, 3, 5}, counting(30)), "file");
  EXPECT_EQ(images.shape(), Shape({2, 3, 5, 1}));
  EXPECT_TRUE(std::ranges::equal(images.span<uint8_t>(), counting(30)));
  EXPECT_EQ(parse_idx_labels(idx(labels_magic, {10}, counting(10)), "file"),
            (std::vector<int32_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

TEST(Idx, WrongMagicNumber) {
  EXPECT_EQ(images_message(idx(labels_magic, {30}, counting(30))), "file: " + image_magics);
  EXPECT_EQ(labels_message(idx(images_magic, {2, 3, 5}, counting(30))), "file: " + label_magics);
  EXPECT_EQ(images_message(idx(0xD03, {2, 3, 5}, counting(120))),
            "file: magic number 0x00000d03, expected 0x00000803 (images)");
  EXPECT_EQ(labels_message(counting(100)), "file: magic number 0x00010203, expected 0x00000801 (labels)");
}

TEST(Idx, CutShortAnywhere) {
  const Bytes images = idx(images_magic, {2, 3, 5}, counting(30)),
              labels = idx(labels_magic, {5}, counting(5));
  for (size_t size = 0; size < images.size(); ++size)
    EXPECT_TRUE(contains(images_message(Bytes(images.begin(), images.begin() + static_cast<long>(size))),
                         "cut short"));
  for (size_t size = 0; size < labels.size(); ++size)
    EXPECT_TRUE(contains(labels_message(Bytes(labels.begin(), labels.begin() + static_cast<long>(size))),
                         "cut short"));
  EXPECT_EQ(images_message(without_end(images, 1)),
            "file: cut short: 29 bytes after the header, 30 expected (2 x 3 x 5)");
  EXPECT_EQ(labels_message(without_end(labels, 8)), "file: cut short: 5 bytes, the header alone is 8");
  EXPECT_EQ(images_message({}), "file: cut short: 0 bytes, the header alone is 16");
}

TEST(Idx, TooLong) {
  EXPECT_EQ(images_message(idx(images_magic, {2, 3, 5}, counting(31))),
            "file: too long: 31 bytes after the header, 30 expected (2 x 3 x 5)");
  EXPECT_EQ(labels_message(idx(labels_magic, {5}, counting(6))),
            "file: too long: 6 bytes after the header, 5 expected (5)");
}

TEST(Idx, HeaderThatLies) {
  EXPECT_EQ(images_message(idx(images_magic, {60000, 28, 28}, counting(30))),
            "file: cut short: 30 bytes after the header, 47040000 expected (60000 x 28 x 28)");
  // products of 2^64 and more, which 64 bits would take for 0 and 30
  EXPECT_TRUE(contains(images_message(idx(images_magic, {1u << 31, 1u << 31, 4}, {})),
                       "18446744073709551616 expected"));
  EXPECT_TRUE(contains(images_message(idx(images_magic, {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}, counting(30))),
                       "79228162458924105385300197375 expected"));
  EXPECT_EQ(images_message(idx(images_magic, {2, 0, 5}, {})), "file: size 0 at byte 8, expected 1 or more");
  EXPECT_EQ(labels_message(idx(labels_magic, {0}, {})), "file: size 0 at byte 4, expected 1 or more");
}

TEST(Idx, LabelOutOfRange) {
  EXPECT_EQ(labels_message(idx(labels_magic, {4}, {0, 9, 10, 1})),
            "file: label 10 of image 2 at byte 10, expected 0 to 9");
}

/// A small MNIST folder: 3 images to train on, 2 to test, of 4 x 5.
struct Mnist : testing::Test {
  Mnist() {
    write(folder / "train-images-idx3-ubyte", idx(images_magic, {3, 4, 5}, counting(60)));
    write(folder / "train-labels-idx1-ubyte.gz", gzip(idx(labels_magic, {3}, {7, 0, 9})));
    write(folder / "t10k-images-idx3-ubyte.xz", xz(idx(images_magic, {2, 4, 5}, counting(40))));
    write(folder / "t10k-labels-idx1-ubyte", idx(labels_magic, {2}, {1, 2}));
  }
  std::string message() const {
    return message_of([&] { load_mnist(folder.path()); });
  }
  TemporaryFolder folder;
};

TEST_F(Mnist, LoadsPlainAndCompressed) {
  const DataSplits data = load_mnist(folder.path());
  EXPECT_EQ(data.train.size(), 3);
  EXPECT_EQ(data.train.images.shape(), Shape({3, 4, 5, 1}));
  EXPECT_TRUE(std::ranges::equal(data.train.images.span<uint8_t>(), counting(60)));
  EXPECT_EQ(data.train.labels, (std::vector<int32_t>{7, 0, 9}));
  EXPECT_EQ(data.validation.size(), 0);
  EXPECT_EQ(data.test.size(), 2);
  EXPECT_TRUE(std::ranges::equal(data.test.images.span<uint8_t>(), counting(40)));
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(data.test.classes(), 10);
  EXPECT_EQ(data.test.class_names[3], "3");
}

TEST_F(Mnist, MissingFilesAreNamed) {
  std::filesystem::remove(folder / "train-labels-idx1-ubyte.gz");
  EXPECT_TRUE(
      contains(message(), folder.path().string() + " lacks train-labels-idx1-ubyte (plain, .gz or .xz)"));
  EXPECT_TRUE(contains(message(), "`scripts/get-data mnist`"));
  EXPECT_TRUE(contains(message(), "--data or ESPALIER_DATA"));
  EXPECT_TRUE(
      contains(message_of([&] { load_mnist(folder / "no folder"); }),
               "no folder lacks train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
               "t10k-labels-idx1-ubyte (plain"));
}

TEST_F(Mnist, MislabelledPairs) {
  write(folder / "t10k-labels-idx1-ubyte", idx(labels_magic, {3}, {1, 2, 3}));
  EXPECT_TRUE(contains(message(), "t10k-labels-idx1-ubyte: 3 labels, but " +
                                      (folder / "t10k-images-idx3-ubyte.xz").string() + " holds 2 images"));
}

TEST_F(Mnist, FilesInEachOthersPlace) {
  std::filesystem::remove(folder / "train-labels-idx1-ubyte.gz");
  std::filesystem::copy_file(folder / "train-images-idx3-ubyte", folder / "train-labels-idx1-ubyte");
  EXPECT_TRUE(contains(message(), "train-labels-idx1-ubyte: " + label_magics));
}

TEST_F(Mnist, SplitsOfDifferentSize) {
  write(folder / "t10k-images-idx3-ubyte.xz", idx(images_magic, {2, 5, 4}, counting(40)));
  EXPECT_TRUE(contains(message(), "t10k-images-idx3-ubyte.xz: images of 5 x 4, but "));
  EXPECT_TRUE(contains(message(), "train-images-idx3-ubyte holds 4 x 5"));
}

TEST_F(Mnist, BrokenFilesAreNamed) {
  const Bytes packed = gzip(idx(labels_magic, {3}, {7, 0, 9}));
  write(folder / "train-labels-idx1-ubyte.gz", without_end(packed, 1));
  EXPECT_TRUE(
      contains(message(), (folder / "train-labels-idx1-ubyte.gz").string() + ": gzip data cut short"));
  write(folder / "train-labels-idx1-ubyte.gz", without_end(xz(idx(labels_magic, {3}, {7, 0, 9})), 1));
  EXPECT_TRUE(contains(message(), (folder / "train-labels-idx1-ubyte.gz").string() + ": xz data cut short"));
  write(folder / "train-labels-idx1-ubyte.gz", gzip(idx(labels_magic, {4}, {7, 0, 9})));
  EXPECT_TRUE(contains(message(), (folder / "train-labels-idx1-ubyte.gz").string() + ": cut short: 3 bytes"));
}

TEST_F(Mnist, NothingUnpacksToMoreThanItsHeaderSays) {
  const std::string images = (folder / "t10k-images-idx3-ubyte.xz").string(),
                    labels = (folder / "train-labels-idx1-ubyte.gz").string();
  write(images, xz(idx(images_magic, {2, 4, 5}, Bytes(50'000'000))));
  EXPECT_EQ(message(), images + ": unpacks to more than the 56 bytes that its header says");
  write(images, xz(idx(images_magic, {2, 4, 5}, counting(40))));
  write(labels, gzip(idx(labels_magic, {3}, Bytes(4))));
  EXPECT_EQ(message(), labels + ": unpacks to more than the 11 bytes that its header says");
}

TEST_F(Mnist, AFolderNamedAsAFileHidesNotTheFileBesideIt) {
  std::filesystem::create_directory(folder / "train-labels-idx1-ubyte");
  EXPECT_EQ(load_mnist(folder.path()).train.labels, (std::vector<int32_t>{7, 0, 9}));
}

TEST(RealMnist, IsRead) {
  const auto folder = std::filesystem::path(source_folder()) / "../shared/data/mnist";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no ../shared/data/mnist beside the project";
  const DataSplits data = load_mnist(folder);
  EXPECT_EQ(data.train.images.shape(), Shape({60000, 28, 28, 1}));
  EXPECT_EQ(data.test.images.shape(), Shape({10000, 28, 28, 1}));
  EXPECT_EQ(std::vector<int32_t>(data.train.labels.begin(), data.train.labels.begin() + 5),
            (std::vector<int32_t>{5, 0, 4, 1, 9}));
  EXPECT_EQ(std::vector<int32_t>(data.test.labels.begin(), data.test.labels.begin() + 5),
            (std::vector<int32_t>{7, 2, 1, 0, 4}));
  const auto pixels = data.train.images.span<uint8_t>();  // their published mean is 0.1307
  EXPECT_NEAR(std::accumulate(pixels.begin(), pixels.end(), 0.0) / static_cast<double>(pixels.size()) / 255,
              0.1307, 5e-5);
}

}  // namespace
}  // namespace espalier
