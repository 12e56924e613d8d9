// How recipes are found by name is tested with the program that they lie beside:
// tests/cli/config_files_test.py.
#include "espalier/run/recipes.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

TEST(Recipes, WhatIsRelativeLiesInTheFolder) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "sweeps");
  for (const char* name : {"a.json", "sweeps/b.json"}) std::ofstream(folder / name) << "{}";
  const fs::path sweeps = folder / "sweeps";
  EXPECT_EQ(find_config("../a.json", sweeps), (folder / "a.json").string());
  EXPECT_EQ(find_config("b.json", sweeps), (sweeps / "b.json").string());
  EXPECT_EQ(find_config("b", sweeps), (sweeps / "b.json").string());
  EXPECT_EQ(find_config((folder / "a.json").string(), sweeps), (folder / "a.json").string());
  EXPECT_EQ(message_of([&] { find_config("bb.json", sweeps); }),
            (sweeps / "bb.json").string() + ": cannot open: No such file or directory, did you mean '" +
                (sweeps / "b.json").string() + "'?");
}

// Where sweeps/ is a link, its .. is the folder of what it links to.
TEST(Recipes, LinksAreFollowedAsTheSystemDoes) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "elsewhere/sweeps");
  fs::create_directory_symlink(folder / "elsewhere/sweeps", folder / "sweeps");
  for (const char* name : {"a.json", "elsewhere/a.json"}) std::ofstream(folder / name) << "{}";
  EXPECT_TRUE(fs::equivalent(find_config("../a.json", folder / "sweeps"), folder / "elsewhere/a.json"));
}

}  // namespace
}  // namespace espalier
