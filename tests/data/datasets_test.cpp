#include "espalier/data/datasets.h"

#include <gtest/gtest.h>

#include "espalier/util/spelling.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

using Names = std::vector<std::string>;

/// Images of one pixel, whose brightness is their class, as a program has them in memory.
Dataset shades(const std::string& name, int64_t images, int64_t classes) {
  Dataset data{name, Tensor::zeros({images, 1, 1, 1}, DType::u8), {}, {}};
  for (int64_t i = 0; i < images; ++i) {
    data.labels.push_back(static_cast<int32_t>(i % classes));
    data.images.data<uint8_t>()[i] = static_cast<uint8_t>(i % classes);
  }
  for (int64_t c = 0; c < classes; ++c) data.class_names.push_back(join("shade ", c));
  return data;
}

/// A data set that a program adds, once in this process.
const DatasetInfo& registered() {
  static const bool once = [] {
    datasets().add(
        {.name = "shades",
         .help = "images of one pixel",
         .extra = {{.name = "shades", .help = "classes", .value = int64_t{3}, .from = 2, .to = 256}},
         .load = [](const DatasetRequest& wanted) {
           const int64_t classes = wanted.extra.whole("shades");
           return DataSplits{shades("shades train", 8, classes), {}, shades("shades test", 4, classes)};
         }});
    return true;
  }();
  EXPECT_TRUE(once);
  return datasets().named("shades");
}

TEST(Datasets, RowsSayWhatConcernsThem) {
  const Names fields{"root",  "path",  "labels",       "remap",      "skip_corrupt",
                     "alpha", "cache", "train_images", "test_images"};
  for (const DatasetInfo& info : datasets()) {
    SCOPED_TRACE(info.name);
    EXPECT_FALSE(info.help.empty());
    EXPECT_TRUE(info.load);
    for (const std::string& option : info.options) EXPECT_EQ(std::ranges::count(fields, option), 1) << option;
    EXPECT_EQ(info.has("root"), info.has("path"));
    EXPECT_FALSE(info.is_drawn && info.reads_files());
    EXPECT_TRUE(info.reads_files() || info.folder.empty());
  }
}

TEST(Datasets, ClassesAreKnownUnlessFilesDecide) {
  const auto known = [](const DatasetOptions& options) {
    return known_classes({options, "", {28, 28, 1}, 7});
  };
  EXPECT_EQ(known({.type = "mnist"}), 10);
  EXPECT_EQ(known({.type = "cifar10"}), 10);
  EXPECT_EQ(known({.type = "cifar100"}), 100);
  EXPECT_EQ(known({.type = "cifar100", .labels = "coarse"}), 20);
  EXPECT_EQ(known({.type = "cifar100", .remap = true}), 0);
  EXPECT_EQ(known({.type = "image_folder"}), 0);
  EXPECT_EQ(known({.type = "synthetic"}), 7) << "as many as are asked for";
}

TEST(Datasets, OneThatAProgramAddsIsReadByItsName) {
  registered();
  const DatasetRequest three{{.type = "shades"}}, five{{.type = "shades", .extra = {{"shades", int64_t{5}}}}};
  EXPECT_EQ(load_dataset(three).train.classes(), 3) << "the default";
  EXPECT_EQ(load_dataset(five).test.class_names.back(), "shade 4");
  EXPECT_EQ(known_classes(five), 0);
  EXPECT_EQ(count_classes(five), 5) << "it is read for them";
}

TEST(Datasets, WhatDoesNotExistIsRefused) {
  registered();
  const auto refusal = [](const DatasetOptions& options) {
    return message_of([&] { load_dataset({options}); });
  };
  EXPECT_EQ(refusal({.type = "shadse"}), "data set: no type 'shadse', did you mean 'shades'?");
  EXPECT_EQ(refusal({.type = "shades", .extra = {{"shade", int64_t{5}}}}),
            "data set shades: no option 'shade', did you mean 'shades'?");
  EXPECT_EQ(refusal({.type = "shades", .extra = {{"shades", int64_t{1}}}}),
            "data set shades: shades: found 1, expected from 2 to 256");
  EXPECT_EQ(refusal({.type = "synthetic", .extra = {{"shades", int64_t{3}}}}),
            "data set synthetic: no option 'shades'");
}

TEST(Datasets, ANameIsTakenOnce) {
  registered();
  for (const char* name : {"mnist", "shades"})
    EXPECT_EQ(message_of([&] { datasets().add({.name = name, .help = "", .load = {}}); }),
              join("data set: '", name, "' is there already"));
  EXPECT_EQ(message_of([] { datasets().add({.name = "my shades", .help = "", .load = {}}); }),
            "data set: found the name 'my shades', expected letters, digits, '_', '-' and '.', at least one");
}

}  // namespace
}  // namespace espalier
