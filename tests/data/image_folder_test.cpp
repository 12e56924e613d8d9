// Image folders on disk and in archives, the cache, and everything that can be wrong with them.
#include "espalier/data/image_folder.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <numeric>

#include "data/image_files.h"
#include "data/tar_files.h"
#include "espalier/data/file.h"
#include "espalier/data/image_cache.h"
#include "espalier/formats/safetensors.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

/// The value of each image's first pixel in its first channel.
std::vector<int> firsts(const Dataset& data) {
  std::vector<int> values;
  const int64_t image = data.images.shape().row_elements();
  for (int64_t i = 0; i < data.size(); ++i)
    values.push_back(data.images.span<uint8_t>()[static_cast<size_t>(i * image)]);
  return values;
}

/// Two classes of images of 4 x 6, each of one grey value in three channels.
struct ImageFolder : testing::Test {
  ImageFolder() {
    put("train/dog/b.PNG", 21);
    put("train/dog/a.png", 20);
    put("train/cat/2.png", 11);
    put("train/cat/10.png", 10);
    put("train/cat/deeper/3.png", 12);
    put("test/dog/x.png", 40);
    put("test/cat/x.png", 30);
  }
  void put(const std::string& path, uint8_t value) { put(path, png(plain(4, 6, {value, value, value}))); }
  void put(const std::string& path, const Bytes& bytes) {
    fs::create_directories((root / path).parent_path());
    write(root / path, bytes);
  }
  DataSplits load() const { return load_image_folder(root, options); }
  std::string message() const {
    return message_of([&] { load(); });
  }
  std::string at(const std::string& path) const { return (root / path).string(); }
  /// Everything there is as an archive, in the folder `top`.
  Bytes archive(const std::string& top = "") const {
    Bytes bytes;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string path = top + entry.path().lexically_relative(root).string();
      std::ifstream file(entry.path(), std::ios::binary);
      if (entry.is_directory())
        bytes = bytes + tar_entry(path + "/", {}, '5');
      else
        bytes = bytes + tar_entry(path, Bytes(std::istreambuf_iterator<char>(file), {}));
    }
    return bytes + tar_end();
  }

  TemporaryFolder folder;
  fs::path root = folder / "pets";
  ImageFolderOptions options{.height = 4, .width = 6, .channels = 3};
};

TEST_F(ImageFolder, ClassesAreTheSortedFolders) {
  const DataSplits data = load();
  EXPECT_EQ(data.train.name, "pets train");
  EXPECT_EQ(data.train.class_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(data.train.images.shape(), Shape({5, 4, 6, 3}));
  EXPECT_EQ(data.train.labels, (std::vector<int32_t>{0, 0, 0, 1, 1}));
  EXPECT_EQ(firsts(data.train), (std::vector<int>{10, 11, 12, 20, 21}));
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{0, 1}));
  EXPECT_EQ(firsts(data.test), (std::vector<int>{30, 40}));
  EXPECT_EQ(data.test.class_names, data.train.class_names);
  EXPECT_TRUE(data.notes.empty());
}

TEST_F(ImageFolder, ValStandsForTest) {
  fs::rename(root / "test", root / "val");
  EXPECT_EQ(firsts(load().test), (std::vector<int>{30, 40}));
  fs::rename(root / "val", root / "validate");
  EXPECT_EQ(message(), root.string() +
                           ": has a folder train/, but neither test/ nor val/ beside it: move some images "
                           "of each class there, to test/CLASS/, to be tested on");
}

TEST_F(ImageFolder, ValBesideTestIsTheValidationSplit) {
  put("val/dog/x.png", 90);
  options.val_validates = true;
  for (const bool cached : {false, true}) {
    if (cached) options.cache = folder / "cache";
    load();
    const DataSplits data = load();
    EXPECT_EQ(firsts(data.validation), (std::vector<int>{90}));
    EXPECT_EQ(data.validation.labels, (std::vector<int32_t>{1}));
    EXPECT_EQ(firsts(data.test), (std::vector<int>{30, 40}));
    EXPECT_EQ(data.notes, (std::vector<std::string>{"pets: val/ has no images of: cat"}));
  }
  options.val_validates = false;
  EXPECT_EQ(load().validation.size(), 0);
  EXPECT_EQ(load().notes, (std::vector<std::string>{"pets: val/ left out: train/ and test/ are what is read, "
                                                    "for data.validation is set"}));
}

TEST_F(ImageFolder, AnyFolderMayHoldTheSplits) {
  fs::rename(root, folder / "inner");
  fs::create_directories(root / "a/nothing");
  fs::rename(folder / "inner", root / "m");
  put("LICENSE", Bytes{1});
  EXPECT_EQ(firsts(load().test), (std::vector<int>{30, 40}));
  EXPECT_TRUE(load().notes.empty());
  fs::create_directories(root / "z/train");
  EXPECT_EQ(load().notes,
            (std::vector<std::string>{"pets: z/train/ left out: m/train/ and m/test/ are what is read"}));
}

TEST_F(ImageFolder, ClassNamesAreUtf8) {
  for (const std::string split : {"train/", "test/"}) put(split + "caf\xC3\xA9/x.png", 1);
  EXPECT_EQ(load().train.class_names.front(), "caf\xC3\xA9");
  for (const std::string split : {"train/", "test/"}) put(split + "caf\xE9/x.png", 1);
  EXPECT_EQ(message(),
            at("train/caf\xE9") + ": is the folder of a class, but its name is not UTF-8: rename it");
}

TEST_F(ImageFolder, ArchivesAreReadAlike) {
  const DataSplits plain = load();
  for (const std::string top : {"", "./", "pets/"})
    for (const Bytes& bytes : {archive(top), xz(archive(top)), gzip(archive(top))}) {
      write(folder / "pets.tar", bytes);
      const DataSplits data = load_image_folder(folder / "pets.tar", options);
      EXPECT_EQ(data.train.name, "pets.tar train");
      EXPECT_EQ(firsts(data.train), firsts(plain.train));
      EXPECT_EQ(data.train.labels, plain.train.labels);
      EXPECT_EQ(firsts(data.test), firsts(plain.test));
    }
}

TEST_F(ImageFolder, OtherSizesAreResized) {
  put("train/cat/2.png", png(plain(40, 31, {100, 100, 100})));
  EXPECT_EQ(load().train.images.span<uint8_t>()[2 * 4 * 6 * 3 - 1], 100);
  options.height = 9;
  EXPECT_EQ(load().train.images.shape(), Shape({5, 9, 6, 3}));
}

TEST_F(ImageFolder, GreyBecomesRgb) {
  Image ramp{4, 6, 1, Bytes(24)};
  std::iota(ramp.pixels.begin(), ramp.pixels.end(), uint8_t{0});
  put("train/cat/2.png", png(ramp));
  const DataSplits data = load();
  const auto pixels = data.train.images.span<uint8_t>().subspan(72, 72);
  for (size_t i = 0; i < pixels.size(); ++i) EXPECT_EQ(pixels[i], i / 3);
}

TEST_F(ImageFolder, WhatIsDoneToImagesIsSaidOnce) {
  put("train/cat/2.png", png(plain(4, 6, {1, 2, 3, 4})));
  put("test/cat/x.png", png(plain(4, 6, {1, 0})));
  put("test/cat/\xC3\xA4 b.bmp", bmp(plain(4, 6, {1, 2, 3})));
  put("test/cat/y.WEBP", webp(plain(4, 6, {1, 2, 3})));
  const std::string of = "pets: of 9 images, ";
  EXPECT_EQ(load().notes,
            (std::vector<std::string>{of + "2 rid of alpha (\"alpha\": \"white\" would blend it over white), "
                                           "1 from grey to RGB"}));
  options.alpha = Alpha::white;
  EXPECT_EQ(load().notes,
            (std::vector<std::string>{of + "2 with alpha blended over white, 1 from grey to RGB"}));
  EXPECT_EQ(firsts(load().test)[0], 255);
  options.channels = 1;
  EXPECT_EQ(load().notes,
            (std::vector<std::string>{of + "2 with alpha blended over white, 8 from RGB to grey"}));
  EXPECT_EQ(load().train.images.shape(), Shape({5, 4, 6, 1}));
}

TEST_F(ImageFolder, WhatNoImageCanBecomeIsSaidOnce) {
  options.channels = 2;
  const std::string expected = "/model/input: found 2 channels, expected 1 (grey) or 3 (RGB) for images";
  EXPECT_EQ(message(), expected);
  EXPECT_EQ(message_of([&] { load_labelled_images(root / "test", {"cat", "dog"}, options); }), expected);
}

TEST_F(ImageFolder, SaysHowMuchBeforeItDecodes) {
  std::vector<std::string> said;
  options.say = [&](const std::string& line) { said.push_back(line); };
  put("test/cat/x.png", Bytes{1});
  EXPECT_FALSE(message().empty());
  EXPECT_EQ(said, (std::vector<std::string>{root.string() + ": 7 images of 4 x 6 x 3, 504 B of memory"}));
}

TEST_F(ImageFolder, ClassesAreKnownByNamesAlone) {
  put("train/dog/b.PNG", Bytes{1});  // nobody decodes it
  fs::create_directories(root / "train/none");
  const std::vector<std::string> classes{"cat", "dog"};
  EXPECT_EQ(image_folder_classes(root, options), classes);
  write(folder / "pets.tar", archive());
  EXPECT_EQ(image_folder_classes(folder / "pets.tar", options), classes);
  put("test/cow/x.png", 1);
  EXPECT_EQ(message_of([&] { image_folder_classes(root, options); }), message());
}

TEST_F(ImageFolder, OneClassIsNoted) {
  fs::remove_all(root / "train/dog");
  fs::remove_all(root / "test/dog");
  EXPECT_EQ(load().notes,
            (std::vector<std::string>{"pets: 'cat' is its only class: there is nothing to tell apart"}));
}

TEST_F(ImageFolder, LabelledImagesAreOfTheClassesThatAreKnown) {
  const auto test_only = [&](const std::vector<std::string>& classes) {
    return load_labelled_images(root / "train", classes, options);
  };
  put("train/readme.txt", Bytes{1});
  fs::create_directories(root / "train/empty");
  const DataSplits data = test_only({"ant", "cat", "dog"});
  EXPECT_EQ(data.test.labels, (std::vector<int32_t>{1, 1, 1, 2, 2}));
  EXPECT_EQ(data.test.classes(), 3);
  EXPECT_EQ(data.test.name, "train");
  EXPECT_EQ(message_of([&] { test_only({"dog"}); }),
            at("train") + ": holds folders of classes that the model does not know: cat (it knows dog)");
  EXPECT_EQ(message_of([&] { load_labelled_images(root, {"cat"}, options); }),
            root.string() +
                ": holds folders of classes that the model does not know: test, train (it knows "
                "cat); to evaluate one split, name " +
                at("test"));
}

TEST_F(ImageFolder, ImagesToTestAloneAreNoDataSet) {
  fs::remove_all(root / "train");
  EXPECT_EQ(message(), root.string() +
                           ": has no folder train/ with a folder for each class, its first entry is "
                           "test/; `espalier eval CHECKPOINT --images " +
                           at("test") + "` reads only test images");
}

TEST_F(ImageFolder, LabelledImagesMayLieInALoneTestOrVal) {
  fs::remove_all(root / "train");
  put("README.md", Bytes{1});
  std::string said;
  options.say = [&](const std::string& line) { said = line; };
  const std::vector<std::string> classes{"cat", "dog"};
  const auto load_all = [&](const std::vector<std::string>& known) {
    return load_labelled_images(root, known, options);
  };
  const std::string unknown = root.string() + ": holds folders of classes that the model does not know: ";
  for (const char* split : {"test", "val"}) {
    if (split == std::string("val")) fs::rename(root / "test", root / "val");
    const DataSplits data = load_all(classes);
    EXPECT_EQ(data.test.labels, (std::vector<int32_t>{0, 1}));
    EXPECT_EQ(firsts(data.test), (std::vector<int>{30, 40}));
    EXPECT_TRUE(said.starts_with(at(split) + "/: 2 images of 4 x 6 x 3")) << said;
    EXPECT_EQ(load_all({"cat", "dog", split}).test.labels, (std::vector<int32_t>{2, 2})) << "it is a class";
  }
  write(folder / "pets.tar", archive());
  EXPECT_EQ(firsts(load_labelled_images(folder / "pets.tar", classes, options).test),
            (std::vector<int>{30, 40}));
  put("stray.png", 1);
  EXPECT_EQ(message_of([&] { load_all(classes); }),
            at("stray.png") + ": lies in no class folder, expected CLASS/stray.png");
  fs::remove(root / "stray.png");
  put("test/cat/1.png", 1);
  EXPECT_TRUE(message_of([&] { load_all(classes); }).starts_with(unknown + "test, val"));
}

TEST_F(ImageFolder, CorruptImagesAreNamedAndMayBeSkipped) {
  put("train/cat/2.png", without_end(png(plain(4, 6, {1, 2, 3})), 20));
  put("train/dog/a.png", Bytes{});
  EXPECT_TRUE(message().starts_with(root.string() +
                                    ": 2 of 7 images cannot be read (data.skip_corrupt leaves them out): " +
                                    at("train/cat/2.png") + ": PNG cut short at byte "));
  EXPECT_TRUE(message().ends_with("; " + at("train/dog/a.png") +
                                  ": is empty, expected a JPEG, PNG, WebP or BMP image"));
  put("train/cat/2.png", 11);
  EXPECT_TRUE(message().ends_with("BMP image (data.skip_corrupt leaves it out)"));
  put("train/cat/2.png", Bytes{1});
  options.skip_corrupt = true;
  const DataSplits data = load();
  EXPECT_EQ(firsts(data.train), (std::vector<int>{10, 12, 21}));
  EXPECT_EQ(data.train.labels, (std::vector<int32_t>{0, 0, 1}));
  EXPECT_EQ(data.notes, (std::vector<std::string>{"pets train: 2 of 5 images cannot be decoded and are left "
                                                  "out: train/cat/2.png, train/dog/a.png"}));
  put("test/dog/x.png", Bytes{1});
  EXPECT_EQ(message(), at("test/dog") + ": none of the images of this class can be decoded");
}

TEST_F(ImageFolder, ManyNamesAreCutShort) {
  for (int i = 100; i < 113; ++i) put("train/cat/" + std::to_string(i) + ".jpg", Bytes{1});
  EXPECT_TRUE(contains(message(), ": 13 of 20 images cannot be read"));
  EXPECT_TRUE(message().ends_with("109.jpg: is no JPEG, PNG, WebP or BMP; and 3 more")) << message();
  options.skip_corrupt = true;
  EXPECT_TRUE(contains(load().notes.at(0), "13 of 18 images"));
  EXPECT_TRUE(load().notes.at(0).ends_with("train/cat/109.jpg and 3 more")) << load().notes.at(0);
}

TEST_F(ImageFolder, OtherFilesAreLeftOutWithANote) {
  put("train/cat/.hidden.png", Bytes{1});
  put("train/.git/config", Bytes{1});
  put("train/readme", Bytes{1});
  put("test/cat/notes.txt", Bytes{1});
  put("license", Bytes{1});
  const DataSplits data = load();
  EXPECT_EQ(data.train.size(), 5);
  EXPECT_EQ(data.train.classes(), 2);
  EXPECT_EQ(data.notes,
            (std::vector<std::string>{"pets: 2 files that are no .jpg, .jpeg, .png, .webp or .bmp: "
                                      "left out: test/cat/notes.txt, train/readme"}));
  put("train/stray.png", 1);
  EXPECT_EQ(message(), at("train/stray.png") + ": lies in no class folder, expected train/CLASS/stray.png");
}

TEST_F(ImageFolder, ClassesWithoutImages) {
  fs::create_directories(root / "train/cow");
  EXPECT_EQ(load().train.class_names, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(load().notes, (std::vector<std::string>{"pets: class folders without images are left out: cow"}));
  fs::remove(root / "train/cow");
  fs::remove(root / "test/dog/x.png");
  EXPECT_EQ(load().notes, (std::vector<std::string>{"pets: test/ has no images of: dog"}));
  fs::remove(root / "test/cat/x.png");
  EXPECT_EQ(message(), at("test/") + ": holds no .jpg, .jpeg, .png, .webp or .bmp");
}

TEST_F(ImageFolder, ClassesThatDisagree) {
  put("test/cow/x.png", 1);
  EXPECT_EQ(message(), at("train/") + ": has no class 'cow', but test/ has (3 classes, and 2 here)");
  fs::create_directories(root / "train/cow");
  EXPECT_EQ(message(), at("train/cow") +
                           ": is the folder of a class, but holds no .jpg, .jpeg, .png, .webp or "
                           ".bmp, and test/cow does");
}

TEST_F(ImageFolder, NothingThere) {
  fs::remove_all(root / "train/cat");
  fs::remove_all(root / "train/dog");
  EXPECT_EQ(message(), at("train/") + ": holds no class folder");
  fs::rename(root / "train", root / "Train");
  fs::remove_all(root / "test");
  EXPECT_EQ(message(),
            root.string() + ": has no folder train/ with a folder for each class, its first entry is Train/");
  fs::remove_all(root / "Train");
  put("cow/1.png", 1);
  EXPECT_EQ(message(), root.string() +
                           ": has no folder train/ with a folder for each class, its first entry is "
                           "cow/; move the folders of classes into train/, and some images of each "
                           "to test/CLASS/, to be tested on");
  fs::remove_all(root);
  EXPECT_EQ(
      message(),
      root.string() +
          ": there is no such folder or archive, expected train/CLASS/*.jpg (or .png, .webp, .bmp) and test/ "
          "(or val/) alike: put your own images or a published set (Imagenette, ImageNet) there, or say "
          "where "
          "they are by data.path and --data or ESPALIER_DATA; `espalier help data` says more");
  fs::create_directory(root);
  EXPECT_EQ(message(), root.string() + ": has no folder train/ with a folder for each class, it is empty");
}

TEST_F(ImageFolder, APipeIsNamed) {
  ASSERT_EQ(::mkfifo((root / "train/cat/x.png").c_str(), 0600), 0);
  EXPECT_EQ(message(), at("train/cat/x.png") + ": is a pipe or a device, a regular file is expected");
  options.cache = folder / "cache";
  EXPECT_EQ(message(), at("train/cat/x.png") + ": is a pipe or a device, a regular file is expected");
  root = folder / "pipe";
  ASSERT_EQ(::mkfifo(root.c_str(), 0600), 0);
  EXPECT_EQ(message(), root.string() + ": is a pipe or a device, a regular file is expected");
}

TEST_F(ImageFolder, LoopsOfLinksAreNamed) {
  fs::create_directory_symlink("..", root / "train/cat/up");
  EXPECT_EQ(message(),
            at("train/cat/up") + ": is a link to a folder that it lies in: a loop, which has no end");
  options.cache = folder / "cache";
  EXPECT_EQ(message(),
            at("train/cat/up") + ": is a link to a folder that it lies in: a loop, which has no end");
  options.cache.reset();
  fs::remove(root / "train/cat/up");
  fs::create_directory_symlink("../../test", root / "train/cat/over");
  fs::create_directory_symlink("../../train", root / "test/cat/over");
  EXPECT_TRUE(contains(message(), "over/cat/over: is a link to a folder that it lies in"));
  fs::remove(root / "train/cat/over");
  fs::remove(root / "test/cat/over");
  fs::create_symlink("self.png", root / "train/cat/self.png");
  EXPECT_EQ(message(), at("train/cat/self.png") + ": cannot be looked at: Too many levels of symbolic links");
}

TEST_F(ImageFolder, LinksToOtherFoldersAreFollowed) {
  fs::rename(root / "train/cat", folder / "cats");
  fs::create_directory_symlink(folder / "cats", root / "train/cat");
  EXPECT_EQ(firsts(load().train), (std::vector<int>{10, 11, 12, 20, 21}));
}

TEST_F(ImageFolder, WhatFillsUpAnArchiveIsNotHeld) {
  const size_t much = 60'000'000;
  Bytes padded = png(plain(4, 6, {1, 2, 3}));
  const Bytes end = Bytes(padded.end() - 12, padded.end()), content = Bytes{'t', 'E', 'X', 't'} + Bytes(much);
  const uLong crc = crc32_z(0, content.data(), content.size());
  const auto number = [](size_t value) {
    return Bytes{static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
                 static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
  };
  padded = without_end(padded, 12) + number(much) + content + number(crc) + end;
  const Bytes entries = without_end(archive(), tar_end().size());
  for (const auto& [bytes, problem] :
       {std::pair(Bytes(much), ": is no JPEG, PNG, WebP or BMP"),
        {padded, ": is longer than the 16777292 bytes that an image with such a header may have"}}) {
    write(folder / "pets.tar",
          entries + tar_entry("train/cat/9.png", bytes) + tar_entry("x.bin", Bytes(much)) + tar_end());
    root = folder / "pets.tar";
    EXPECT_EQ(message(),
              root.string() + ": train/cat/9.png" + problem + " (data.skip_corrupt leaves it out)");
    options.skip_corrupt = true;
    EXPECT_EQ(firsts(load().train), (std::vector<int>{10, 11, 12, 20, 21}));
    options.skip_corrupt = false;
  }
}

TEST_F(ImageFolder, MoreThanMemoryHolds) {
  options.height = options.width = 100'000'000;
  EXPECT_TRUE(contains(message(), root.string() + ": 7 images of 100000000 x 100000000 x 3 are "));
  EXPECT_TRUE(contains(message(), " (a smaller model.input takes less); "));
}

struct ImageCache : ImageFolder {
  ImageCache() { options.cache = folder / "cache"; }
  size_t files() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(*options.cache), {}));
  }
  fs::path file() const { return fs::directory_iterator(*options.cache)->path(); }
  std::string identity() const { return read_safetensors(file()).metadata.at("espalier.images"); }
  /// Writes other pixels into the cache; what is loaded shows whether it was read.
  void mark() const {
    DataSplits data = read_image_cache(file(), identity()).value();
    std::ranges::fill(data.train.images.span<uint8_t>(), uint8_t{99});
    write_image_cache(file(), identity(), data);
  }
  std::string note() const {
    const DataSplits data = load();
    EXPECT_EQ(firsts(data.train)[0], 10);
    EXPECT_EQ(data.notes.size(), 1u);
    return data.notes.empty() ? "" : data.notes[0];
  }
  bool reads_cache() { return firsts(load().train)[0] == 99; }
};

TEST_F(ImageCache, SecondStartReadsIt) {
  put("train/readme", Bytes{1});
  const DataSplits first = load();
  EXPECT_EQ(files(), 1u);
  const DataSplits second = load();
  EXPECT_EQ(first.notes.size(), 1u);
  EXPECT_EQ(second.notes, first.notes);
  EXPECT_EQ(second.train.name, first.train.name);
  EXPECT_EQ(second.train.class_names, first.train.class_names);
  EXPECT_EQ(second.train.labels, first.train.labels);
  EXPECT_TRUE(std::ranges::equal(second.train.images.span<uint8_t>(), first.train.images.span<uint8_t>()));
  EXPECT_EQ(firsts(second.test), firsts(first.test));
  mark();
  EXPECT_TRUE(reads_cache());
}

TEST_F(ImageCache, HowMuchItIsIsSaidFirst) {
  std::vector<std::string> said;
  options.say = [&](const std::string& line) { said.push_back(line); };
  const std::string expected = root.string() + ": 7 images of 4 x 6 x 3, 504 B of memory";
  load();
  EXPECT_EQ(said, (std::vector<std::string>{expected}));
  load();
  EXPECT_EQ(said, (std::vector<std::string>{expected, expected}));
  Bytes bytes = read_bytes(file(), 1 << 20);
  bytes.back() ^= 1;  // noticed after the header, and then it is said already
  write(file(), bytes);
  EXPECT_TRUE(contains(note(), "the images are decoded anew: "));
  EXPECT_EQ(said, (std::vector<std::string>{expected, expected, expected}));
}

TEST_F(ImageCache, KnowsTheClassesOfAnArchive) {
  write(folder / "pets.tar", archive());
  root = folder / "pets.tar";
  load();
  DataSplits data = read_image_cache(file(), identity()).value();
  data.train.class_names = {"kept", "there"};
  write_image_cache(file(), identity(), data);
  EXPECT_EQ(image_folder_classes(root, options), data.train.class_names);
  fs::resize_file(file(), 100);
  EXPECT_EQ(image_folder_classes(root, options), (std::vector<std::string>{"cat", "dog"}));
}

TEST_F(ImageCache, IsRebuiltWhenAFileChanges) {
  load();
  mark();
  fs::last_write_time(root / "test/cat/x.png", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_FALSE(reads_cache());
  mark();
  put("train/cat/11.png", 10);
  EXPECT_FALSE(reads_cache());
  mark();
  fs::remove(root / "train/cat/11.png");
  EXPECT_FALSE(reads_cache());
  EXPECT_EQ(files(), 1u);
}

TEST_F(ImageCache, IsRebuiltWhenAnArchiveChanges) {
  write(folder / "pets.tar", archive());
  root = folder / "pets.tar";
  load();
  mark();
  EXPECT_TRUE(reads_cache());
  fs::last_write_time(root, fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_FALSE(reads_cache());
}

TEST_F(ImageCache, EachSizeHasItsOwn) {
  load();
  mark();
  options.height = 5;
  EXPECT_FALSE(reads_cache());
  options.height = 4;
  EXPECT_TRUE(reads_cache());
  EXPECT_EQ(files(), 2u);
}

TEST_F(ImageCache, BrokenOnesAreRebuiltWithANote) {
  load();
  for (const auto size : {fs::file_size(file()) - 1, std::uintmax_t{100}, std::uintmax_t{0}}) {
    fs::resize_file(file(), size);
    EXPECT_TRUE(contains(note(), "the images are decoded anew: " + file().string() + ": "));
    mark();
    EXPECT_TRUE(reads_cache());
  }
  DataSplits data = read_image_cache(file(), identity()).value();
  data.train.labels[0] = 2;  // of no class
  write_image_cache(file(), identity(), data);
  EXPECT_EQ(note(),
            "the images are decoded anew: " + file().string() + ": does not hold the images that it names");
  EXPECT_TRUE(load().notes.empty());
}

TEST_F(ImageCache, OneOfImagesOfAnotherSizeIsRebuiltWithANote) {
  load();
  for (Dataset DataSplits::*split : {&DataSplits::train, &DataSplits::test}) {
    DataSplits data = read_image_cache(file(), identity()).value();
    Tensor& images = (data.*split).images;
    images = Tensor::zeros({images.shape()[0], 4, 16, 3}, DType::u8);
    write_image_cache(file(), identity(), data);
    EXPECT_EQ(note(), "the images are decoded anew: " + file().string() +
                          ": holds images of [4, 16, 3], expected [4, 6, 3]");
    EXPECT_EQ(load().test.width(), 6);
  }
}

TEST_F(ImageCache, EveryFlippedByteIsNoticed) {
  load();
  Bytes good;
  {
    std::ifstream stream(file(), std::ios::binary);
    good.assign(std::istreambuf_iterator<char>(stream), {});
  }
  for (size_t i = 0; i < good.size();
       i += i + 600 < good.size() ? 41 : 1) {  // labels and pixels are at the end
    Bytes bad = good;
    bad[i] ^= 1;
    write(file(), bad);
    try {
      const DataSplits data = load();
      ASSERT_EQ(data.notes.size(), 1u) << "byte " << i << " of " << good.size();
      ASSERT_TRUE(contains(data.notes[0], "the images are decoded anew: " + file().string() + ": "));
      ASSERT_EQ(firsts(data.train), (std::vector<int>{10, 11, 12, 20, 21}));
    } catch (const Error& error) {
      FAIL() << "byte " << i << ": " << error.what();
    }
  }
}

TEST_F(ImageCache, OneOfOtherFilesIsRebuiltWithANote) {
  load();
  fs::last_write_time(root / "test/cat/x.png", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_EQ(note(), "the images are decoded anew: " + file().string() +
                        ": is of files that have changed since, or of another version");
  write_safetensors(file(), {.tensors = {}, .metadata = {}});
  EXPECT_EQ(note(), "the images are decoded anew: " + file().string() + ": holds no images");
}

TEST_F(ImageCache, APipeInItsPlaceIsANote) {
  load();
  const fs::path pipe = file();
  fs::remove(pipe);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(note(), "the decoded images are not kept for the next run: " + pipe.string() +
                        ": cannot write: is a pipe or a device, which cannot be replaced as a whole");
}

TEST_F(ImageCache, OneThatCannotBeWrittenIsANote) {
  write(folder / "file", {1});
  options.cache = folder / "file";
  const DataSplits data = load();
  EXPECT_EQ(data.train.size(), 5);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_TRUE(contains(data.notes[0], "the decoded images are not kept for the next run: " +
                                          (folder / "file").string() + ": cannot be made: "));
}

TEST_F(ImageCache, OneThatCannotBeLookedForIsANote) {
  options.cache = folder / std::string(300, 'x');  // as with a folder that may not be entered, stat() fails
  const DataSplits data = load();
  EXPECT_EQ(data.train.size(), 5);
  ASSERT_EQ(data.notes.size(), 1u);
  EXPECT_TRUE(contains(data.notes[0], "the decoded images are not kept for the next run: "));
}

TEST_F(ImageCache, KeepsTheVersionOfTheDecoder) {
  load();
  std::ifstream stream(file(), std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  EXPECT_TRUE(contains(text, "4x6x3 v" + std::to_string(image_version) + " " + root.string()));
}

TEST_F(ImageCache, WhatAKilledProcessLeftGoes) {
  load();
  const fs::path whole = file();
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(gone, nullptr, 0), gone);
  write(whole.string() + ".tmp-" + std::to_string(gone) + "-0", {1});
  write(whole.string() + ".tmp-" + std::to_string(::getppid()) + "-0", {1});
  fs::remove(whole);
  load();
  EXPECT_EQ(files(), 2u);  // the other may still be written
}

TEST(UserCacheFolder, IsTheFirstThatIsSet) {
  ::setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(user_cache_folder(), fs::path("/xdg/espalier"));
  ::unsetenv("XDG_CACHE_HOME");
  ::setenv("HOME", "/home/x", 1);
  EXPECT_EQ(user_cache_folder(), fs::path("/home/x/.cache/espalier"));
  ::unsetenv("HOME");
  EXPECT_EQ(user_cache_folder(), std::nullopt);
}

}  // namespace
}  // namespace espalier
