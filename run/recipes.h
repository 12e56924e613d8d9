// Recipes: the published configs, which are installed with the program and go by their names.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace espalier {

struct Recipe {
  std::string name;
  std::filesystem::path file;
};

/// ../share/espalier/configs, seen from the program, which is the source tree's configs/ in a build folder.
std::filesystem::path recipes_folder();
/// All of them, by name: the files NAME.json there.
std::vector<Recipe> recipes();

/// "resnet20 on cifar10: dense (18 epochs), pruned (prune)", or why the file is none.
std::string summary(const Recipe& recipe);

/// The config that `given` means: the file of that name; else, for a name that is no path, NAME.json here;
/// else the recipe. UsageError with the nearest where there is none. `folder`: what is relative lies there,
/// not in the working directory.
std::string find_config(const std::string& given, const std::filesystem::path& folder = {});

}  // namespace espalier
