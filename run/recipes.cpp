#include "espalier/run/recipes.h"

#include <fmt/format.h>

#include <algorithm>

#include "espalier/run/config.h"
#include "espalier/run/lengths.h"
#include "espalier/util/error.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

/// NAME of all files NAME.json in `folder`, sorted; none where it cannot be read.
std::vector<std::string> configs_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().extension() == ".json") names.push_back(entry->path().stem().string());
  std::ranges::sort(names);
  return names;
}

}  // namespace

fs::path recipes_folder() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  return program.parent_path().parent_path() / "share/espalier/configs";
}

std::vector<Recipe> recipes() {
  const fs::path folder = recipes_folder();
  std::vector<Recipe> found;
  for (const std::string& name : configs_in(folder))
    if (name != "schema") found.push_back({name, folder / (name + ".json")});
  return found;
}

std::string summary(const Recipe& recipe) {
  try {
    const Config config = load_config(recipe.file);
    std::string text = fmt::format("{} on {}: ", config.model.type, config.data.type);
    for (const StageConfig& stage : config.stages)
      text += fmt::format("{}{} ({})", &stage == &config.stages.front() ? "" : ", ", stage.name,
                          stage.train ? length_of(stage) : stage_kind_name(stage.kind()));
    return text;
  } catch (const Error& error) {
    return error.what();
  }
}

namespace {

/// configs/x.json of configs/sweeps/../x.json, where both are of the same folder, whether x.json is there or
/// not.
fs::path without_detours(const fs::path& path) {
  std::error_code error;
  const fs::path plain = path.lexically_normal();
  const fs::path folder = plain.has_parent_path() ? plain.parent_path() : ".";
  const bool same = path.filename() == plain.filename() && fs::equivalent(path.parent_path(), folder, error);
  return same ? plain : path;
}

/// What `given` is near to, of the configs in its folder; and that its name by itself may be a recipe's.
[[noreturn]] void fail_missing(const fs::path& given) {
  const fs::path folder = given.parent_path();
  const std::string reason = printable(given.string()) + ": cannot open: No such file or directory";
  const std::string name = given.stem().string();
  for (const Recipe& recipe : recipes())
    if (recipe.name == name) fail_usage(reason, "; '", printable(name), "' alone is a recipe");
  std::vector<std::string> there;
  for (const std::string& config : configs_in(folder.empty() ? "." : folder))
    there.push_back((folder / (config + ".json")).string());
  fail_usage(reason, did_you_mean(given.string(), there));
}

}  // namespace

std::string find_config(const std::string& given, const fs::path& folder) {
  std::error_code error;
  const fs::path path = folder.empty() ? fs::path(given) : without_detours(folder / given);
  const auto status = fs::status(path, error);
  const bool is_there = fs::exists(status) && !fs::is_directory(status);
  if (is_there || given.empty()) return path.string();
  if (fs::path(given).has_parent_path() || path.extension() == ".json") {
    if (status.type() == fs::file_type::not_found) fail_missing(path);
    return path.string();
  }
  if (fs::exists(path.string() + ".json", error)) return path.string() + ".json";
  std::vector<std::string> names = configs_in(folder.empty() ? "." : folder);
  const std::vector<Recipe> known = recipes();
  for (const Recipe& recipe : known) {
    if (recipe.name == given) return recipe.file.string();
    names.push_back(recipe.name);
  }
  if (fs::exists(status)) return path.string();  // a folder, which is no config
  const std::string nearest = did_you_mean(given, names);
  fail_usage(printable(given), ": there is no such file, and no recipe of that name",
             known.empty()     ? "; there are none in " + printable(recipes_folder().string())
             : nearest.empty() ? "; `espalier help recipes` lists them"
                               : nearest);
}

}  // namespace espalier
