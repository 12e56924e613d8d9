#include "espalier/run/predict.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "espalier/core/parallel.h"
#include "espalier/core/reason.h"
#include "espalier/data/file.h"
#include "espalier/data/file_tree.h"
#include "espalier/data/image_conversions.h"
#include "espalier/nn/inference.h"
#include "espalier/run/build.h"
#include "espalier/util/interrupt.h"

namespace espalier {
namespace {

constexpr int64_t most_at_once = 64;  // more in a batch would only take more memory

std::vector<uint8_t> read_image(const std::string& path) {
  constexpr size_t most_bytes = size_t{1} << 30;
  return read_bytes(path, most_bytes);
}

/// The pixels of `files` as the model takes them, u8 [N,H,W,C], what is wrong with each: "" or why its pixels
/// are black, and after `done` what they were.
Tensor decode(std::span<const std::string> files, const ImageFolderOptions& options,
              std::vector<std::string>& problems, std::vector<Conversion>& done) {
  const auto count = static_cast<int64_t>(files.size());
  Tensor images = Tensor::empty({count, options.height, options.width, options.channels}, DType::u8);
  const int64_t image = images.shape().row_elements();
  problems.assign(files.size(), "");
  done.resize(done.size() + files.size());
  Conversion* const was = done.data() + done.size() - files.size();
  parallel_items(count, parts_for(count, 1), [&](int, int64_t i) {
    const std::string& file = files[static_cast<size_t>(i)];
    uint8_t* to = images.data<uint8_t>() + i * image;
    try {
      const Image decoded = decode_image(read_image(file), file);
      to_pixels(decoded, options.pixels(), to);
      was[i] = conversion_of(decoded);
    } catch (const std::exception& error) {
      problems[static_cast<size_t>(i)] = reason_of(error);
      std::fill_n(to, image, uint8_t{0});
    }
  });
  return images;
}

}  // namespace

std::vector<std::vector<ClassProbability>> likeliest(const Tensor& logits, int64_t top) {
  const int64_t rows = logits.shape()[0], classes = logits.shape()[1];
  const auto shown = static_cast<size_t>(std::min(top, classes));
  std::vector<std::vector<ClassProbability>> all(static_cast<size_t>(rows));
  std::vector<int64_t> order(static_cast<size_t>(classes));
  for (int64_t row = 0; row < rows; ++row) {
    const float* z = logits.f32() + row * classes;
    ESP_CHECK(std::all_of(z, z + classes, [](float value) { return std::isfinite(value); }),
              "the network's output is not finite");
    const double largest = *std::max_element(z, z + classes);
    const double sum = std::accumulate(
        z, z + classes, 0.0, [&](double total, float value) { return total + std::exp(value - largest); });
    std::iota(order.begin(), order.end(), int64_t{0});
    std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(shown), order.end(),
                      [&](int64_t a, int64_t b) { return z[a] != z[b] ? z[a] > z[b] : a < b; });
    for (size_t k = 0; k < shown; ++k)
      all[static_cast<size_t>(row)].push_back({order[k], std::exp(z[order[k]] - largest) / sum});
  }
  return all;
}

std::vector<std::string> image_files(const std::vector<std::string>& paths) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code none;
    if (!std::filesystem::is_directory(path, none)) {
      files.push_back(path);
      continue;
    }
    const size_t before = files.size();
    const FileTree tree(path);
    for (const std::string& inner : tree.paths())
      if (!inner.ends_with('/') && has_image_extension(inner)) files.push_back(tree.place(inner));
    ESP_CHECK(files.size() > before, path, ": is a folder without an image: no ", image_extensions, " in it");
  }
  return files;
}

std::string predict(Module& model, const Config& config, const std::vector<std::string>& files, int64_t top,
                    const std::function<void(const Prediction&)>& each) {
  const Inference inference(model);
  const auto at_once = static_cast<size_t>(std::min(config.data.batch, most_at_once));
  const ImageFolderOptions options = image_options(config);
  std::vector<std::string> problems;
  std::vector<Conversion> done;
  for (size_t first = 0; first < files.size(); first += at_once) {
    const auto some = std::span(files).subspan(first, std::min(at_once, files.size() - first));
    const Dataset images{
        "images", decode(some, options, problems, done), std::vector<int32_t>(some.size(), 0), {""}};
    Loader loader = evaluation_loader(config, images);
    Batch batch;
    loader.next(batch);
    stop_if_interrupted();
    const auto classes =
        likeliest(model.forward(Variable(batch.images)).value().to(DType::f32).to(Device::cpu), top);
    for (size_t i = 0; i < some.size(); ++i) {
      if (problems[i].empty())
        each({.path = some[i], .classes = classes[i]});
      else
        each({.path = some[i], .problem = problems[i]});
    }
  }
  return conversions_line(done, options.pixels(), false);
}

}  // namespace espalier
