// A safetensors file: images and labels of each split, everything else as JSON in its metadata.
#include "espalier/data/image_cache.h"

#include <algorithm>
#include <array>
#include <utility>

#include "espalier/config/json.h"
#include "espalier/formats/safetensors.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;
const std::string identity_key = "espalier.images", about_key = "espalier.about";

/// The split, or an exception of any kind where the file does not hold it.
Dataset split_of(const TensorFile& file, const std::string& split, const Json& about) {
  const Tensor *images = file.find(split + ".images"), *labels = file.find(split + ".labels");
  ESP_CHECK(images && labels && images->dtype() == DType::u8 && labels->dtype() == DType::i32 &&
                images->shape().axes() == 4 && labels->shape() == Shape({images->shape()[0]}),
            "no such split");
  const auto values = labels->span<int32_t>();
  Dataset data{about.at(split).get<std::string>(),
               *images,
               {values.begin(), values.end()},
               about.at("classes").get<std::vector<std::string>>()};
  ESP_CHECK(std::ranges::all_of(data.labels, [&](int32_t y) { return y >= 0 && y < data.classes(); }),
            "a label without a class");
  return data;
}

/// What take(file, about) makes of the file, or of its header, as `read` has it.
template <class Take>
auto take_from(const std::filesystem::path& path, TensorFile (*read)(const std::filesystem::path&),
               const std::string& identity, const Take& take)
    -> std::optional<decltype(take(TensorFile(), Json()))> {
  std::error_code error;
  if (std::filesystem::status(path, error).type() == std::filesystem::file_type::not_found)
    return std::nullopt;
  const TensorFile file = read(path);
  const auto metadata = [&](const std::string& key) {
    const auto found = file.metadata.find(key);
    ESP_CHECK(found != file.metadata.end(), path.string(), ": holds no images");
    return found->second;
  };
  ESP_CHECK(metadata(identity_key) == identity, path.string(),
            ": is of files that have changed since, or of another version");
  try {
    return take(file, parse_json(metadata(about_key), path.string()));
  } catch (const std::exception&) {
    fail(path.string(), ": does not hold the images that it names");
  }
}

}  // namespace

std::optional<ImageCacheInfo> read_image_cache_info(const std::filesystem::path& path,
                                                    const std::string& identity) {
  return take_from(path, read_safetensors_header, identity, [](const TensorFile& file, const Json& about) {
    ImageCacheInfo info{.images = 0, .classes = about.at("classes").get<std::vector<std::string>>()};
    for (const auto& [name, tensor] : file.tensors)
      if (name.ends_with(".images")) info.images += tensor.shape()[0];
    return info;
  });
}

std::optional<DataSplits> read_image_cache(const std::filesystem::path& path, const std::string& identity) {
  return take_from(path, read_safetensors, identity, [](const TensorFile& file, const Json& about) {
    return DataSplits{
        .train = split_of(file, "train", about),
        .validation = about.contains("validation") ? split_of(file, "validation", about) : Dataset{},
        .test = split_of(file, "test", about),
        .notes = about.at("notes").get<std::vector<std::string>>()};
  });
}

void write_image_cache(const std::filesystem::path& path, const std::string& identity,
                       const DataSplits& data) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  ESP_CHECK(!error, path.parent_path().string(), ": cannot be made: ", error.message());
  remove_abandoned(path);
  Json about = {{"classes", data.train.class_names}, {"notes", data.notes}};
  TensorFile file;
  const auto add = [&](const std::string& name, const Dataset& split) {
    about[name] = split.name;
    file.tensors.emplace_back(name + ".images", split.images);
    file.tensors.emplace_back(name + ".labels", Tensor::from({split.size()}, split.labels));
  };
  add("train", data.train);
  if (data.validation.size() > 0) add("validation", data.validation);
  add("test", data.test);
  file.metadata = {{identity_key, identity}, {about_key, about.dump()}};
  write_safetensors(path, file, Checksums::kept);
}

}  // namespace espalier
