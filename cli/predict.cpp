// espalier predict
#include "espalier/train/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/core/error.h"
#include "espalier/core/interrupt.h"
#include "espalier/core/table.h"
#include "espalier/core/utf8.h"
#include "espalier/optim/ema.h"
#include "espalier/train/checkpoint.h"

namespace espalier::cli {
namespace {

constexpr size_t most_of_path = 32, line_width = 80;  // columns

bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }
size_t columns(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, begins_character));
}

/// A path as a line shows it: what is too long loses its beginning.
std::string shown(const std::string& path) {
  std::string text = printable(path, std::string::npos);
  if (columns(text) <= most_of_path) return text;
  for (size_t gone = columns(text) + 3 - most_of_path; gone > 0 || !begins_character(text.front());) {
    gone -= begins_character(text.front());
    text.erase(0, 1);
  }
  return "..." + text;
}

/// Prints a prediction, in a line that fits: the likeliest class, and of the others as many as there is room
/// for.
class Lines {
 public:
  Lines(const std::vector<std::string>& files, const std::vector<std::string>& names) : names_(names) {
    for (const std::string& file : files) widest_ = std::max(widest_, columns(shown(file)));
  }
  void operator()(const Prediction& prediction) const {
    std::string line = shown(prediction.path);
    line.append(widest_ - columns(line), ' ');
    for (const ClassProbability& one : prediction.classes) {
      const std::string entry =
          fmt::format("  {} {:.1f} %", printable(name(one.number)), 100 * one.probability);
      if (&one != &prediction.classes.front() && columns(line + entry) > line_width) break;
      line += entry;
    }
    print(line + "\n");
  }
  std::string name(int64_t number) const {
    const auto at = static_cast<size_t>(number);
    return at < names_.size() ? names_[at] : std::to_string(number);
  }

 private:
  const std::vector<std::string>& names_;
  size_t widest_ = 0;
};

void print_object(const Prediction& prediction, const Lines& lines) {
  auto classes = nlohmann::ordered_json::array();
  for (const ClassProbability& one : prediction.classes)
    classes.push_back(
        {{"class", one.number}, {"name", lines.name(one.number)}, {"probability", one.probability}});
  print_json({{"path", prediction.path}, {"predictions", classes}});
}

}  // namespace

void predict(const Given& given) {
  std::string file;
  std::vector<std::string> paths;
  int64_t top = 5;
  bool json = false;
  Arguments arguments("predict");
  arguments.positional("CHECKPOINT", file, "A run's checkpoint.safetensors or models/STAGE.safetensors")
      .positional("IMAGE|FOLDER", paths, "Images; of a folder, all that lie below it, sorted")
      .whole("--top", top, 1, 1'000'000, "Likeliest classes of an image (default: 5; a line shows what fits)")
      .threads()
      .flag("--json", json, "Print a JSON object an image, with all of --top");
  if (!arguments.parse(given)) return;

  const std::vector<std::string> files = image_files(paths);
  const auto [model, saved] = open_checkpoint(file);
  const AverageInPlace average(model->parameters());
  const Lines lines(files, saved.classes);
  size_t unread = 0;
  const auto show = [&](const Prediction& prediction) {
    if (!prediction.problem.empty()) {
      note(prediction.problem);
      ++unread;
    } else if (json) {
      print_object(prediction, lines);
    } else {
      lines(prediction);
    }
  };
  catch_interrupts();  // what is printed are whole lines
  const std::string done = espalier::predict(*model, saved.config, files, top, show);
  if (!done.empty()) note("predict: " + done);
  ESP_CHECK(unread == 0, "predict: ", grouped(static_cast<int64_t>(unread)), " of ",
            grouped(static_cast<int64_t>(files.size())), files.size() == 1 ? " image" : " images",
            " cannot be read");
}

}  // namespace espalier::cli
