// The CIFAR reader: small files made here, and the real part of CIFAR-100 where it is.
#include "espalier/data/cifar.h"

#include <sys/stat.h>

#include <algorithm>

#include "data/tar_files.h"
#include "support/bad_input.h"
#include "support/places.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

constexpr int64_t plane = 32 * 32;

/// A record whose planes are `red`, `red` + 1 and `red` + 2, its first pixel `first` in all three.
Bytes record(const Bytes& labels, uint8_t red, uint8_t first) {
  Bytes bytes = labels;
  for (int c = 0; c < 3; ++c) {
    bytes.push_back(first);
    bytes.insert(bytes.end(), plane - 1, static_cast<uint8_t>(red + c));
  }
  return bytes;
}

std::string message(const Bytes& bytes, Cifar kind) {
  return message_of([&] { parse_cifar(bytes, kind, "file"); });
}

TEST(ParseCifar, PlanesBecomePixels) {
  const Dataset data = parse_cifar(record({3}, 10, 200) + record({9}, 20, 100), Cifar::ten, "file");
  EXPECT_EQ(data.images.shape(), Shape({2, 32, 32, 3}));
  const auto pixels = data.images.span<uint8_t>();
  EXPECT_EQ(Bytes(pixels.begin(), pixels.begin() + 6), (Bytes{200, 200, 200, 10, 11, 12}));
  EXPECT_EQ(Bytes(pixels.end() - 3, pixels.end()), (Bytes{20, 21, 22}));
  EXPECT_EQ(pixels[3 * plane], 100);
  EXPECT_EQ(data.labels, (std::vector<int32_t>{3, 9}));
  EXPECT_EQ(data.class_names[3], "cat");
}

TEST(ParseCifar, HundredHasTwoLabels) {
  const Bytes bytes = record({14, 11}, 10, 0) + record({2, 82}, 10, 0);
  const Dataset fine = parse_cifar(bytes, Cifar::hundred_fine, "file"),
                coarse = parse_cifar(bytes, Cifar::hundred_coarse, "file");
  EXPECT_EQ(fine.labels, (std::vector<int32_t>{11, 82}));
  EXPECT_EQ(coarse.labels, (std::vector<int32_t>{14, 2}));
  EXPECT_EQ(coarse.images.span<uint8_t>()[4], 11);
  EXPECT_EQ(fine.classes(), 100);
  EXPECT_EQ(coarse.classes(), 20);
  EXPECT_EQ(fine.class_names[82], "sunflower");
  EXPECT_EQ(coarse.class_names[14], "people");
}

TEST(CifarClassNames, AreSortedAndDifferent) {
  for (Cifar kind : {Cifar::ten, Cifar::hundred_fine, Cifar::hundred_coarse})
    EXPECT_TRUE(std::ranges::is_sorted(cifar_class_names(kind), std::less_equal<>()));
}

TEST(ParseCifar, NoWholeNumberOfRecords) {
  const Bytes two = record({3}, 10, 0) + record({4}, 10, 0);
  EXPECT_EQ(message(without_end(two, 1), Cifar::ten),
            "file: cut short or not cifar10: the record at byte 3073 has 3072 bytes, expected 3073");
  EXPECT_EQ(message(two + Bytes{1}, Cifar::ten),
            "file: cut short or not cifar10: the record at byte 6146 has 1 bytes, expected 3073");
  EXPECT_EQ(message(two, Cifar::hundred_fine),
            "file: cut short or not cifar100: the record at byte 3074 has 3072 bytes, expected 3074");
  EXPECT_EQ(message({}, Cifar::ten), "file: is empty, expected records of 3073 bytes");
}

TEST(ParseCifar, LabelsOutOfRange) {
  EXPECT_EQ(message(record({9}, 10, 0) + record({10}, 10, 0), Cifar::ten),
            "file: label 10 of image 1 at byte 3073, expected 0 to 9");
  for (Cifar kind : {Cifar::hundred_fine, Cifar::hundred_coarse}) {
    EXPECT_EQ(message(record({20, 0}, 10, 0), kind),
              "file: coarse label 20 of image 0 at byte 0, expected 0 to 19");
    EXPECT_EQ(message(record({19, 99}, 10, 0) + record({0, 100}, 10, 0), kind),
              "file: fine label 100 of image 1 at byte 3075, expected 0 to 99");
  }
}

/// A small CIFAR-10 folder: labels 0..4 and 9 in six images to train on, 7 and 0 in two to test.
struct CifarFolder : testing::Test {
  CifarFolder() {
    for (uint8_t batch = 1; batch <= 5; ++batch)
      write(file(batch), record({static_cast<uint8_t>(batch - 1)}, static_cast<uint8_t>(batch * 10), 0));
    write(file(2), record({1}, 20, 0) + record({9}, 25, 0));
    write(folder / "test_batch.bin.gz", gzip(record({7}, 100, 0) + record({0}, 110, 0)));
  }
  std::filesystem::path file(int batch) const {
    return folder / ("data_batch_" + std::to_string(batch) + ".bin");
  }
  std::string message() const {
    return message_of([&] { load_cifar(folder.path(), Cifar::ten); });
  }
  TemporaryFolder folder;
};

TEST_F(CifarFolder, JoinsTheBatchesInTheirOrder) {
  const DataSplits data = load_cifar(folder.path(), Cifar::ten);
  EXPECT_EQ(data.train.name, "cifar10 train");
  EXPECT_EQ(data.train.labels, (std::vector<int32_t>{0, 1, 9, 2, 3, 4}));
  EXPECT_EQ(data.train.images.shape(), Shape({6, 32, 32, 3}));
  Bytes reds;
  for (size_t i = 0; i < 6; ++i) reds.push_back(data.train.images.span<uint8_t>()[(i + 1) * 3 * plane - 3]);
  EXPECT_EQ(reds, (Bytes{10, 20, 25, 30, 40, 50}));
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{7, 0}));
  EXPECT_EQ(data.test.classes(), 10);
  EXPECT_EQ(data.notes, (std::vector<std::string>{"cifar10 train: 6 images, the published set has 50,000",
                                                  "cifar10 test: 2 images, the published set has 10,000"}));
}

TEST_F(CifarFolder, RemapNumbersTheLabelsOfBothSplits) {
  const DataSplits data = load_cifar(folder.path(), Cifar::ten, true);
  EXPECT_EQ(data.train.labels, (std::vector<int32_t>{0, 1, 6, 2, 3, 4}));
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{5, 0}));
  EXPECT_EQ(data.train.class_names,
            (std::vector<std::string>{"airplane", "automobile", "bird", "cat", "deer", "horse", "truck"}));
  EXPECT_EQ(data.test.class_names, data.train.class_names);
}

TEST_F(CifarFolder, MissingAndBrokenFilesAreNamed) {
  write(file(4), record({10}, 1, 1));
  EXPECT_EQ(message(), file(4).string() + ": label 10 of image 0 at byte 0, expected 0 to 9");
  write(folder / "test_batch.bin.gz", without_end(gzip(record({7}, 100, 0)), 1));
  write(file(4), record({1}, 1, 1));
  EXPECT_TRUE(contains(message(), (folder / "test_batch.bin.gz").string() + ": gzip data cut short"));
  std::filesystem::remove(file(4));
  std::filesystem::remove(file(5));
  EXPECT_EQ(message(), "cifar10: " + folder.path().string() +
                           " lacks data_batch_4.bin, data_batch_5.bin (plain, .gz or .xz); get them by "
                           "`scripts/get-data cifar10`, or say where they are by --data or ESPALIER_DATA");
}

TEST_F(CifarFolder, ArchivesAreReadAlike) {
  Bytes bytes = tar_entry("cifar-10-batches-bin/test_batch.bin", record({7}, 100, 0));
  for (uint8_t batch = 1; batch <= 5; ++batch)
    bytes = bytes + tar_entry("cifar-10-batches-bin/data_batch_" + std::to_string(batch) + ".bin",
                              record({batch}, 10, 0));
  write(folder / "cifar.tar.gz", gzip(bytes + tar_end()));
  const DataSplits data = load_cifar(folder / "cifar.tar.gz", Cifar::ten);
  EXPECT_EQ(data.train.labels, (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{7}));
  write(folder / "cifar.tar",
        bytes + tar_entry("x/train.bin", {1}) + tar_entry("x/test.bin", {1}) + tar_end());
  const auto hundred = [&] { load_cifar(folder / "cifar.tar", Cifar::hundred_fine); };
  EXPECT_EQ(message_of(hundred), (folder / "cifar.tar").string() +
                                     ": x/train.bin: cut short or not cifar100: the record at byte 0 has 1 "
                                     "bytes, expected 3074");
  write(folder / "cifar.tar", tar_entry("x/train.bin", {1}) + tar_end());
  EXPECT_TRUE(contains(message_of(hundred), "cifar.tar lacks test.bin (plain"));
}

TEST_F(CifarFolder, APipeIsNamed) {
  ASSERT_EQ(::mkfifo((folder / "pipe.tar").c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { load_cifar(folder / "pipe.tar", Cifar::ten); }),
            (folder / "pipe.tar").string() + ": is a pipe or a device, a regular file is expected");
}

TEST_F(CifarFolder, ALoopOfLinksIsNamed) {
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_TRUE(contains(message_of([&] { load_cifar(folder / "loop", Cifar::ten); }),
                       "cannot be looked for: Too many levels of symbolic links"));
}

TEST(RealCifar, SixClassesOfAHundred) {
  const auto folder = std::filesystem::path(source_folder()) / "../shared/data/cifar100-6class";
  if (!std::filesystem::exists(folder))
    GTEST_SKIP() << "no ../shared/data/cifar100-6class beside the project";
  const DataSplits data = load_cifar(folder, Cifar::hundred_fine, true);
  EXPECT_EQ(data.train.images.shape(), Shape({3000, 32, 32, 3}));
  EXPECT_EQ(data.train.class_names,
            (std::vector<std::string>{"beaver", "boy", "forest", "oak_tree", "snail", "sunflower"}));
  for (int32_t label = 0; label < 6; ++label) {
    EXPECT_EQ(std::ranges::count(data.train.labels, label), 500);
    EXPECT_EQ(std::ranges::count(data.test.labels, label), 100);
  }
}

}  // namespace
}  // namespace espalier
