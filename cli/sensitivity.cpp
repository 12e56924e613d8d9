// espalier sensitivity
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "espalier/cli/arguments.h"
#include "espalier/cli/numbers.h"
#include "espalier/cli/open_model.h"
#include "espalier/cli/output_file.h"
#include "espalier/optim/ema.h"
#include "espalier/prune/criterion.h"
#include "espalier/run/build.h"
#include "espalier/run/checkpoint.h"
#include "espalier/run/console.h"
#include "espalier/run/sensitivity.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/error.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/spelling.h"
#include "espalier/util/table.h"
#include "espalier/util/terminal.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

/// "0.5,0.8" in ascending order, each once.
std::vector<double> shares_in(const std::string& text) {
  std::vector<double> shares;
  for (const std::string& part : parts_of(text, ',')) {
    const auto share = number_in<double>(part);
    if (!share || !(*share > 0 && *share < 1))
      fail_usage("sensitivity: --shares: found '", printable(part),
                 "', expected shares above 0 and below 1, such as 0.5,0.9");
    shares.push_back(*share);
  }
  std::ranges::sort(shares);
  const auto doubled = std::ranges::unique(shares);
  shares.erase(doubled.begin(), doubled.end());
  return shares;
}

/// A file that is written at the end, if one was asked for; that it cannot be is said before anything is
/// measured.
class Output {
 public:
  Output(const std::string& option, const std::optional<std::string>& path,
         const std::vector<std::string>& inputs) {
    if (!path) return;
    check_output("sensitivity: " + option, *path, inputs);
    file_.emplace(*path);
  }
  void write(const nlohmann::ordered_json& json) {
    file_->write(json.dump(2) + "\n");
    file_->commit();
  }
  explicit operator bool() const { return file_.has_value(); }

 private:
  std::optional<AtomicFile> file_;
};

std::string images_text(const Dataset& judged, const Dataset& all, bool held_out) {
  return fmt::format("{} of {} images of {}{}", grouped(judged.size()), grouped(all.size()), all.name,
                     held_out ? ", held out of training"
                              : ": its data.validation is 0, so that none were held out of training");
}

}  // namespace

void sensitivity(const Given& given) {
  std::string file;
  std::vector<std::string> overrides;
  std::optional<std::string> root, precision, shares, criterion, unit, json, table;
  std::optional<double> max_loss;
  int64_t images = 1000;
  SensitivityOptions options;
  Arguments arguments("sensitivity");
  arguments.positional("CHECKPOINT", file, "A run's checkpoint.safetensors or models/STAGE.safetensors")
      .text("--shares", "SHARE,...", shares, "Shares of a layer that go (default: 0.5,0.8,0.9,0.95)")
      .text("--criterion", "NAME", criterion, "What ranks them: `espalier help criteria` (default: l1)")
      .text("--unit", "weight|filter|column|kernel|channel", unit, "What goes (default: weight)")
      .whole("--images", images, 1, 1'000'000'000,
             "Images to judge by, evenly spread over those held out, or else the test set (default: 1000)")
      .path("--json", "FILE", json, "Write all numbers there, as JSON")
      .path("--table", "FILE", table,
            "Write the largest share of each layer within --max-loss there, as fields of a pruner")
      .amount("--max-loss", max_loss, "The largest loss that --table lets the pruning of one layer come to")
      .overrides(overrides)
      .data_root(root)
      .device()
      .precision(precision)
      .threads();
  if (!arguments.parse(given)) return;
  if (table.has_value() != max_loss.has_value())
    fail_usage("sensitivity: ", table ? "--table" : "--max-loss", ": needs ",
               table ? "--max-loss, the largest loss that is let pass" : "--table FILE to write to");
  if (shares) options.shares = shares_in(*shares);
  options.unit = unit.value_or(options.unit);
  options.criterion = criterion.value_or(options.criterion);
  position_of_name("sensitivity: --unit", options.unit, units_with_shares());
  position_of_name("sensitivity: --criterion", options.criterion,
                   criteria().names_where([](const Criterion& one) { return one.needs != Needs::movement; }));
  if (json && json == table) fail_usage("sensitivity: --json and --table: two files are expected");
  catch_interrupts();  // nothing is left half written
  Output json_file("--json", json, {file}), table_file("--table", table, {file});
  const auto [model, saved] = open_named_checkpoint(file, overrides);
  const Config& config = saved.config;
  if (!precision) compute_as_trained(config);
  const DataSplits data = build_data(config, root, [](const std::string& line) { print(line + "\n"); });
  check_classes(file, saved.classes, config, data.test, data_place(config, root));
  const bool held_out = data.validation.size() > 0;
  const Dataset& all = held_out ? data.validation : data.test;
  const Dataset judged = evenly_chosen(all, images);
  const AverageInPlace average(model->parameters());

  Console console(false);
  options.progress = [&](const SensitivityProgress& now) {
    if (now.done == 0 && max_loss && *max_loss < now.loss)
      fail_usage("sensitivity: --max-loss: found ", *max_loss, ", but the loss of nothing pruned is ",
                 fmt::format("{:.4f}", now.loss));
    console.live({fmt::format("{}/{}", now.done, now.total), now.layer,
                  fmt::format("accuracy {:.2f} %", now.accuracy)});
  };
  Sensitivity measured;
  try {
    measured = measure_sensitivity(config, *model, data.train, judged, options);
  } catch (const Interrupted&) {
    console.warn("interrupted: nothing is written");
    throw;
  }
  for (const auto* notes : {&config.notes, &data.notes})
    for (const std::string& note : *notes) console.line(note);
  console.line(fmt::format("accuracy {:.2f} %  loss {:.4f}  ({})", measured.accuracy, measured.loss,
                           images_text(judged, all, held_out)));
  const std::string what = fmt::format("by the share of a layer's {}s that {} takes, all others as they are",
                                       options.unit, options.criterion);
  console.lines([&](size_t width) {
    return wrapped("\naccuracy lost, in points, " + what + ":", width) + accuracy_table(measured, width) +
           wrapped("\nloss, " + what + ":", width) + loss_table(measured, width);
  });
  if (json_file) {
    nlohmann::ordered_json whole = {{"checkpoint", file},
                                    {"data", all.name},
                                    {"images", judged.size()},
                                    {"criterion", options.criterion}};
    whole.update(to_json(measured));
    json_file.write(whole);
  }
  if (table_file) table_file.write(prune_fields(measured, *max_loss));
}

}  // namespace espalier::cli
