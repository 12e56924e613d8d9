// espalier predict
#include "espalier/run/predict.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "espalier/cli/arguments.h"
#include "espalier/cli/open_model.h"
#include "espalier/optim/ema.h"
#include "espalier/run/checkpoint.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/stopwatch.h"
#include "espalier/util/table.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

/// Columns that a line gives its path: the rest is for classes.
size_t room_for_path() {
  const size_t width = terminal_width();
  return width == any_width ? any_width : std::max<size_t>(width * 2 / 5, 8);
}

/// A path as a line shows it: what is too long loses its beginning, as names stand at the end.
std::string shown(const std::string& path, size_t max_columns) {
  std::string text = printable(path, std::string::npos);
  if (columns_of(text) <= max_columns) return text;
  constexpr std::string_view gone = "..";
  const auto begins_character = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  while (columns_of(text) + gone.size() > max_columns || !begins_character(text.front())) text.erase(0, 1);
  return std::string(gone) + text;
}

/// Prints a prediction, in a line that fits the terminal: the likeliest class, and of the others as many as
/// there is room for.
class Lines {
 public:
  Lines(const std::vector<std::string>& files, const std::vector<std::string>& names) : names_(names) {
    for (const std::string& file : files) widest_ = std::max(widest_, columns_of(shown(file, most_of_path_)));
  }
  void operator()(const Prediction& prediction) const {
    std::string path = shown(prediction.path, most_of_path_);
    path.append(widest_ - columns_of(path), ' ');
    std::vector<std::string> fields;
    for (const ClassProbability& one : prediction.classes)
      fields.push_back(fmt::format("{} {:.1f} %", printable(name(one.number)), 100 * one.probability));
    fields.front() = path + "  " + fields.front();
    print(fitted(fields, terminal_width()) + "\n");
  }
  std::string name(int64_t number) const {
    const auto at = static_cast<size_t>(number);
    return at < names_.size() ? names_[at] : std::to_string(number);
  }

 private:
  const std::vector<std::string>& names_;
  size_t most_of_path_ = room_for_path(), widest_ = 0;
};

void print_object(const Prediction& prediction, const Lines& lines) {
  if (!prediction.problem.empty())
    return print_json({{"path", prediction.path}, {"problem", prediction.problem}});
  auto classes = nlohmann::ordered_json::array();
  for (const ClassProbability& one : prediction.classes)
    classes.push_back(
        {{"class", one.number}, {"name", lines.name(one.number)}, {"probability", one.probability}});
  print_json({{"path", prediction.path}, {"predictions", classes}});
}

/// Where what is predicted goes to a file, how far it is: a line on a terminal, a few times a second.
class Progress {
 public:
  explicit Progress(size_t images) : images_(images) {}
  ~Progress() { clear(); }
  void next() {
    ++done_;
    if (!live_ || since_.seconds() < 0.2) return;
    since_ = Stopwatch();
    std::fputs(fmt::format("\rpredict  {} of {} images\x1b[K", grouped(static_cast<int64_t>(done_)),
                           grouped(static_cast<int64_t>(images_)))
                   .c_str(),
               stderr);
    shown_ = true;
  }
  void clear() {
    if (std::exchange(shown_, false)) std::fputs("\r\x1b[K", stderr);
  }

 private:
  const size_t images_;
  const bool live_ = isatty(STDERR_FILENO) == 1 && isatty(STDOUT_FILENO) != 1;
  size_t done_ = 0;
  bool shown_ = false;
  Stopwatch since_;
};

/// "path,rank,class,name,probability", a row for each class that is shown; names are quoted as RFC 4180 has
/// it.
void print_rows(const Prediction& prediction, const Lines& lines) {
  const auto quoted = [](std::string text) {
    for (size_t at = 0; (at = text.find('"', at)) != std::string::npos; at += 2) text.insert(at, 1, '"');
    return '"' + text + '"';
  };
  int64_t rank = 0;
  for (const ClassProbability& one : prediction.classes)
    print(fmt::format("{},{},{},{},{:.6g}\n", quoted(prediction.path), ++rank, one.number,
                      quoted(lines.name(one.number)), one.probability));
}

}  // namespace

void predict(const Given& given) {
  std::string file;
  std::vector<std::string> paths;
  std::optional<std::string> precision;
  int64_t top = 5;
  bool json = false, csv = false, skip_broken = false;
  Arguments arguments("predict");
  arguments
      .positional("CHECKPOINT", file,
                  "A run's checkpoint.safetensors or models/STAGE.safetensors, or an ONNX file")
      .positional("IMAGE|FOLDER", paths, "Images; of a folder, all that lie below it, sorted")
      .whole("--top", top, 1, 1'000'000,
             "Likeliest classes of an image (default: 5; a terminal shows what fits)")
      .device()
      .precision(precision)
      .threads()
      .flag("--json", json, "Print a JSON object an image, with all of --top, or the problem")
      .flag("--csv", csv, "Print a table of path, rank, class, name and probability, a row for each of --top")
      .flag("--skip-broken", skip_broken,
            "Images that cannot be read are named, and all is well; else they end in an error");
  if (!arguments.parse(given)) return;
  if (json && csv) fail_usage("predict: --json and --csv: expected one of them");

  const auto [model, saved] = open_named_checkpoint(file);
  if (!precision) compute_as_trained(saved.config);
  const std::vector<std::string> files = image_files(paths);
  const AverageInPlace average(model->parameters());
  const Lines lines(files, saved.classes);
  size_t unread = 0;
  Progress progress(files.size());
  if (csv) print("path,rank,class,name,probability\n");
  const auto show = [&](const Prediction& prediction) {
    const bool read = prediction.problem.empty();
    progress.next();
    if (json)
      print_object(prediction, lines);  // a script has an object for each image
    else if (csv)
      print_rows(prediction, lines);
    else if (read)
      lines(prediction);
    if (read) return;
    progress.clear();
    note(prediction.problem);
    ++unread;
  };
  catch_interrupts();  // what is printed are whole lines
  const std::string done = espalier::predict(*model, saved.config, files, top, show);
  progress.clear();
  if (!done.empty()) note("predict: " + done);
  ESP_CHECK(unread == 0 || skip_broken, "predict: ", grouped(static_cast<int64_t>(unread)), " of ",
            grouped(static_cast<int64_t>(files.size())), " ",
            plural(static_cast<int64_t>(files.size()), "image"), " cannot be read");
}

}  // namespace espalier::cli
