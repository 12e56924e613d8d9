#include "espalier/run/run.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "espalier/config/json.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/isa.h"
#include "espalier/core/kernel_choice.h"
#include "espalier/core/parallel.h"
#include "espalier/formats/packed.h"
#include "espalier/nn/network.h"
#include "espalier/optim/ema.h"
#include "espalier/prune/collapse.h"
#include "espalier/prune/mask.h"
#include "espalier/prune/report.h"
#include "espalier/run/advice.h"
#include "espalier/run/build.h"
#include "espalier/run/distill.h"
#include "espalier/run/lengths.h"
#include "espalier/run/memory.h"
#include "espalier/run/progress.h"
#include "espalier/run/pruning.h"
#include "espalier/run/resume.h"
#include "espalier/run/run_choice.h"
#include "espalier/run/run_folder.h"
#include "espalier/run/training_macs.h"
#include "espalier/run/version.h"
#include "espalier/run/weights_origin.h"
#include "espalier/train/callbacks.h"
#include "espalier/train/metrics.h"
#include "espalier/train/reestimate.h"
#include "espalier/train/trainer.h"
#include "espalier/util/atomic_file.h"
#include "espalier/util/interrupt.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/shell_word.h"
#include "espalier/util/stopwatch.h"
#include "espalier/util/table.h"

namespace espalier {
namespace {

std::string threads_text(int64_t count) { return join(count, " ", plural(count, "thread")); }

ChosenRun choose_folder(const Config& config, const RunOptions& options) {
  if (options.output) return {*options.output};
  return options.resume ? choose_run(config) : ChosenRun{run_path(config.name)};
}

class Run {
 public:
  Run(const Config& config, ChosenRun chosen, const RunOptions& options, Console& console)
      : config_(config),
        console_(console),
        options_(options),
        chosen_(std::move(chosen)),
        folder_(chosen_.folder),
        goes_on_(options.resume && folder_.has_checkpoint()),
        model_(fresh_model()),
        data_(build_data(config, options.data, [&](const std::string& line) { console_.line(line); })),
        data_place_(data_place(config, options.data)),
        classes_(kept_class_names(config, data_.train)),
        train_(training_loader(config, data_.train)),
        test_(evaluation_loader(config, data_.test)) {
    if (data_.validation.size() > 0) validation_.emplace(evaluation_loader(config, data_.validation));
    if (goes_on_)
      check_saved_data();  // else what follows would find fault with the config
    else
      check_classes_of_weights(config, data_.train, data_place_);
    check_memory(config, &data_, goes_on_from());
    Mistakes mistakes;
    check_early_stop(config, data_, mistakes);
    check_stages(config, *model_, train_.batches(), !goes_on_, mistakes, first_stage());
    check_classes_of_teachers(config, first_stage(), data_.train, data_place_, mistakes);
    mistakes.report(config.file);
    check_batches(config, *model_, train_);
    open_folder();
    kernel_choice::set_autotune(options.autotune);
  }

  RunResult go() {
    const auto stages = static_cast<int64_t>(config_.stages.size());
    while (position_.stage < stages) {
      stop_if_interrupted();
      run_stage(config_.stages[static_cast<size_t>(position_.stage)]);
    }
    RunResult result{.name = config_.name,
                     .seed = config_.seed,
                     .device = device_name(compute_device()),
                     .precision = precision_name(),
                     .card = card_text(),
                     .peak_device_bytes = peak_card_bytes(),
                     .threads = threads(),
                     .version = version(),
                     .commit = commit(),
                     .stages = position_.results};
    if (done_before_) return result;
    write_file(folder_.for_writing(folder_.result()), to_json(result).dump(2) + "\n");
    if (const auto widths = cut_widths(*model_); !widths.empty())
      console_.lines([&](size_t width) { return "\n" + width_table(widths, width); });
    console_.lines(
        [&](size_t width) { return "\n" + result_table(result, config_.model.classes, width) + "\n"; });
    console_.line(folder_.path().string() + " holds the models, metrics and result.json");
    return result;
  }

  std::string how_to_go_on() const {
    const std::string command =
        "`espalier train --resume " + shell_word(folder_.path().string()) + options_.again + "`";
    if (!folder_.has_checkpoint())
      return "interrupted before the first checkpoint: " + command + " starts afresh";
    return "interrupted; " + folder_.checkpoint().string() + " is saved: " + command + " goes on from there";
  }

 private:
  std::unique_ptr<Module> fresh_model() {
    if (goes_on_) saved_ = saved_run(folder_, config_);  // another config's shapes would say less
    if (goes_on_ && saved_->info.position->stage < static_cast<int64_t>(config_.stages.size()))
      moved_ = check_device(*saved_->info.position, saved_->file.string());
    check_memory(config_, nullptr, goes_on_from());
    return build_model(config_, !goes_on_, &weights_notes_);
  }

  std::optional<std::filesystem::path> goes_on_from() const {
    if (!goes_on_) return std::nullopt;
    return saved_->file;
  }

  ImageCounts image_counts() const {
    return {data_.train.size(), data_.validation.size(), data_.test.size()};
  }

  /// The stage in which it begins, or goes on.
  size_t first_stage() const { return goes_on_ ? static_cast<size_t>(saved_->info.position->stage) : 0; }

  void check_saved_data() const {
    check_data(*saved_->info.position, config_, image_counts(), data_place_, saved_->file.string());
  }

  /// A folder that is only this process's.
  void take_folder() {
    check_free(folder_, config_, options_.resume);
    folder_.create();
    folder_.lock();
    if (options_.resume && folder_.has_checkpoint() != goes_on_)
      fail_usage(folder_.path().string(),
                 ": another process has run in this folder meanwhile; the same command again");
    check_free(folder_, config_, options_.resume);  // that process may have come and gone before the lock
  }

  void open_folder() {
    if (options_.output || options_.resume) {
      take_folder();
    } else {
      TakenFolder taken = take_next_folder(config_.name);
      folder_ = std::move(taken.folder);
      chosen_.why = taken.why;
    }
    const std::string place = folder_.path().string();
    folder_.remove_halves();
    std::vector<std::string> lengths;
    if (goes_on_) {
      lengths = restore();
    } else {
      folder_.clear();
      write_config();
      position_.begun = lengths_of(config_);
      position_.first = model_->history;
      position_.steps_before = 0;
    }
    console_.log_to(folder_.log());
    if (!chosen_.why.empty()) console_.line(chosen_.why);
    const bool at_end = position_.stage == static_cast<int64_t>(config_.stages.size());
    if (done_before_)
      console_.line(place + ": the run is done already, nothing is left to do");
    else if (resumed_)
      console_.line(at_end ? place + ": goes on after its last stage"
                           : fmt::format("{}: goes on with stage '{}', step {}", place, stage_now().name,
                                         position_.step + 1));
    else if (options_.resume)
      console_.line(place + ": has no checkpoint to go on from, so the run starts afresh");
    for (const std::string& line : lengths) console_.line(line);
    if (!done_before_) introduce();
    if (done_before_)
      for (const std::string& note : config_.notes) console_.line(note);
    restore_models(folder_, config_, position_, classes_, *model_, console_);
    check_rewinds(folder_, config_, position_);
    if (!done_before_) check_teachers_left(config_, static_cast<size_t>(position_.stage), folder_);
    open_metrics();
  }

  /// What a person should know before it begins.
  void introduce() {
    const bool on_card = compute_device() == Device::cuda;
    console_.line(fmt::format("{}: {} with {} images to train on and {} to test, {}{}, {}", config_.name,
                              config_.model.type, grouped(data_.train.size()), grouped(data_.test.size()),
                              on_card ? fmt::format("on a card in {}, ", precision_name()) : "",
                              threads_text(threads()), isa_name(isa())));
    if (on_card) console_.line("computes on " + card_text());
    for (const std::string& note : config_.notes) console_.line(note);
    for (const std::string& note : data_.notes) console_.line(note);
    for (const std::string& note : weights_notes_.lines) console_.line(note);
    for (const std::string& warning : weights_notes_.warnings) console_.warn(warning);
    for (const std::string& warning : warnings_of_teachers(config_, first_stage()))
      console_.warn("warning: " + warning);
    for (const std::string& warning : advice(config_, train_.batches())) console_.warn("warning: " + warning);
    for (const std::string& warning :
         foreseen_warnings(config_, *model_, static_cast<size_t>(position_.stage)))
      console_.warn("warning: " + warning);
    for (const std::string& note : notes_on_layers(config_, *model_)) console_.line(note);
    for (const std::string& note : batch_notes(config_, data_.train)) console_.line(note);
  }

  /// Where rows have been lost, it goes on after those that are left, and the checkpoint counts from there.
  void open_metrics() {
    const std::string file = folder_.metrics().string();
    const int64_t counted = position_.metrics_bytes;
    position_.metrics_bytes = rows_left(folder_.metrics(), counted);
    const bool lost = position_.metrics_bytes < counted;
    if (lost && !std::filesystem::exists(folder_.metrics()))
      console_.warn(file + ": is missing, and begins anew without the rows it had");
    else if (lost)
      console_.warn(
          fmt::format("{}: has {} of the {} bytes that the checkpoint counts, and goes on after its "
                      "last complete row, at byte {}",
                      file, std::filesystem::file_size(folder_.metrics()), counted, position_.metrics_bytes));
    seconds_before_ = position_.run_seconds;
    watch_ = {};
    metrics_.emplace(folder_.metrics(), position_.metrics_bytes, [this] { return run_seconds(); });
    if (lost) save_position();
  }

  /// Since the first stage began, over all processes of the run.
  double run_seconds() const { return seconds_before_ + watch_.seconds(); }

  const StageConfig& stage_now() const { return config_.stages[static_cast<size_t>(position_.stage)]; }

  void write_config() {
    const std::string text = config_json(config_).dump(2) + "\n";
    if (std::filesystem::exists(folder_.config()) && read_file(folder_.config()) == text) return;
    write_file(folder_.for_writing(folder_.config()), text);
  }

  /// What the folder holds becomes this run's state; returns lines on stages whose lengths are other than
  /// they were.
  std::vector<std::string> restore() {
    saved_ = saved_run(folder_, config_);
    check_saved_data();
    check_position(*saved_->info.position, saved_->info.config, train_.batches(), saved_->file.string());
    const auto lengths = check_lengths(folder_, saved_->info, config_, train_.batches());
    const std::string file = saved_->file.string();
    check_classes(file, saved_->info.classes, config_, data_.train, data_place_);
    load_checkpoint(saved_->file, *model_);
    position_ = *saved_->info.position;
    if (has_features(position_.stage)) stage_tensors_ = read_stage_tensors(saved_->file);
    if (position_.begun.empty()) position_.begun = lengths_of(saved_->info.config);
    if (!position_.first && !config_.model.weights) position_.first.emplace();  // nothing cut, but not said
    if (!position_.steps_before) position_.steps_before = planned_steps_before(position_.stage);
    resumed_ = true;
    done_before_ = position_.stage == static_cast<int64_t>(config_.stages.size()) && lengths.empty() &&
                   std::filesystem::exists(folder_.result());
    if (!done_before_ && (position_.threads != threads() || position_.isa != isa_name(isa())))
      console_.warn(fmt::format(
          "{}: was written with {} and {}, goes on with {} and {}: results may differ in "
          "their last bits",
          file, threads_text(position_.threads), position_.isa, threads_text(threads()), isa_name(isa())));
    if (!moved_.empty()) console_.warn(moved_);
    restore_kernels(folder_, console_);
    write_config();
    if (!lengths.empty()) make_longer();
    return lengths;
  }

  bool has_features(int64_t stage) const {
    if (stage >= static_cast<int64_t>(config_.stages.size())) return false;
    const auto& train = config_.stages[static_cast<size_t>(stage)].train;
    return train && train->distill && !train->distill->features.empty();
  }

  /// Of the stages before, unless early_stop ended one.
  int64_t planned_steps_before(int64_t stage) const {
    int64_t steps = 0;
    for (int64_t i = 0; i < stage; ++i)
      if (const auto& train = config_.stages[static_cast<size_t>(i)].train)
        steps += stage_steps(*train, train_.batches());
    return steps;
  }

  /// Takes the folder to the new lengths of stages. Where that is broken off, --resume FOLDER does it again.
  void make_longer() {
    std::filesystem::remove(folder_.result());
    const bool from_last_step = saved_->file == folder_.last_step();
    if (from_last_step && Judgement::in(position_).best_epoch > 0)
      keep_as(folder_.last_step_best(), folder_.for_writing(folder_.best_model(stage_now().name)));
    save_position();
    if (from_last_step) folder_.remove_last_step();
  }

  void save() {
    position_.run_seconds = run_seconds();
    position_.seconds = stage_seconds_ + stage_watch_.seconds();
    position_.metrics_bytes = metrics_->sync();
    position_.threads = threads();
    position_.isa = isa_name(isa());
    position_.device = device_name(compute_device());
    position_.precision = precision_name();
    position_.data = image_counts();
    if (!kernel_choice::all().empty())
      write_file(folder_.for_writing(folder_.kernels()), nlohmann::json(kernel_choice::all()).dump(2) + "\n");
    save_position();
  }

  void save_position() {
    save_checkpoint(folder_.for_writing(folder_.checkpoint()), *model_, config_, position_, classes_,
                    maps_ ? stage_tensors(*maps_) : stage_tensors_);
  }

  void run_stage(const StageConfig& stage) {
    stage_watch_ = {};
    stage_seconds_ = position_.seconds;
    StageResult result{.name = stage.name, .kind = stage_kind_name(stage.kind()), .best = {}};
    const auto original = PruneCallback::original_in(position_);  // of a stage that goes on
    const auto cuts_before = original ? original->history : model_->history;
    if (stage.train) train(stage, *stage.train, result);
    if (stage.prune) prune_now(stage, *stage.prune, result);
    if (stage.evaluate) reestimate(stage, stage.evaluate->reestimate_norm);
    if (!stage.evaluate) result.seconds = stage_seconds_ + stage_watch_.seconds();
    measure(stage, cuts_before, result);
    if (stage.evaluate) result.seconds = stage_seconds_ + stage_watch_.seconds();  // measuring is all it does

    const int64_t next = position_.stage + 1;
    auto results = std::move(position_.results);
    results.push_back(std::move(result));
    clear_optimizer_state(model_->parameters());  // the next stage's begins anew
    RunPosition after;
    after.stage = next;
    after.steps_before = steps_so_far();
    after.begun = std::move(position_.begun);
    after.first = std::move(position_.first);
    after.results = std::move(results);
    position_ = std::move(after);
    stage_watch_ = {};
    stage_seconds_ = 0;
    save();
  }

  void train(const StageConfig& stage, const TrainConfig& config, StageResult& result) {
    const auto parameters = model_->parameters();
    const Frozen frozen(*model_, frozen_layers(config, *model_));
    if (!config.freeze.empty()) report_learning(stage);
    const auto own_loss = build_loss(config);
    const auto distillation = open_teacher(config, *own_loss);
    const auto optimizer = open_optimizer(
        config, parameters, distillation ? distillation->parameters() : std::vector<Parameter*>());
    const StageLength length = stage_length(config, train_.batches());
    TrainState state{.stage = stage.name,
                     .config = config,
                     .model = *model_,
                     .optimizer = *optimizer,
                     .position = position_,
                     .epoch_steps = length.epoch_steps,
                     .total_steps = length.steps,
                     .loss_function = distillation ? distillation->loss() : *own_loss,
                     .macs = Network(*model_, config_.model.input).totals.macs,
                     .random = pass_key(config_)};
    if (config.prune) state.pruning = prune_schedule(config, length);
    if (folder_.has_checkpoint())
      state.saved = fmt::format("{} (step {})", folder_.checkpoint().string(), position_.step);
    ProgressCallback progress(console_);
    MetricsCallback metrics(*metrics_);
    const auto keep_last_step = [&] {
      if (last_training(config_) == position_.stage && position_.step == state.total_steps)
        folder_.keep_last_step(stage.name);
    };
    if (!std::filesystem::exists(folder_.last_step())) keep_last_step();  // where it goes on from there
    SaveCallback saver(
        [&] {
          save();
          keep_last_step();
        },
        folder_.checkpoint().string());
    EvaluateCallback evaluator(test_, validation_ ? &*validation_ : nullptr, [&] {
      save_weights(folder_.for_writing(folder_.best_model(stage.name)), *model_, config_, classes_);
    });
    auto [shaping, callbacks] =
        stage_callbacks(config_, config, *model_, data_.train, state.pruning, console_, evaluator);
    std::optional<DistillCallback> distilling;
    if (distillation)
      callbacks.push_back(
          &distilling.emplace(*config.distill, *distillation, config_.model.input, test_, console_));
    // A checkpoint holds what the step's pruner did and counts the step's row of metrics.
    callbacks.insert(callbacks.end(), {&metrics, &saver, &progress});
    Trainer(state, callbacks).run(train_);

    if (config.regrow && !config.prune)  // else masks keep less and less
      console_.line(fmt::format("{}  where zeros cost nothing, it takes {:.1f} % of dense training's MACs",
                                stage.name,
                                100 * training_macs_share(config, *model_, config_.model.input, length)));
    if (config.prune) reestimate(stage, config.prune->reestimate_norm);
    reestimate(stage, config.reestimate_norm);
    if (position_.train_seconds > 0)
      result.images_per_second = static_cast<double>(position_.trained_images) / position_.train_seconds;
    if (validation_) result.best = best_of(stage, evaluator.judgement());
    if (distilling) result.teacher = distilling->result();
    maps_ = nullptr;
  }

  /// Null for a stage that has none. Its maps are from here on in what is saved.
  std::unique_ptr<Distillation> open_teacher(const TrainConfig& config, const Loss& own_loss) {
    if (!config.distill) return nullptr;
    auto distillation = std::make_unique<Distillation>(
        config_, static_cast<size_t>(position_.stage), *model_,
        open_checkpoint(teacher_file(*config.distill, folder_)).model, own_loss, train_.batch());
    maps_ = distillation->maps();
    if (maps_ && position_.step > 0)
      load_stage_tensors(stage_tensors_, *maps_, folder_.checkpoint().string());
    stage_tensors_.clear();
    return distillation;
  }

  /// A fresh one, or the one that the checkpoint was written with.
  std::unique_ptr<Optimizer> open_optimizer(const TrainConfig& config,
                                            const std::vector<Parameter*>& parameters,
                                            const std::vector<Parameter*>& beside) {
    const bool goes_on = position_.step > 0;
    if (!goes_on) clear_optimizer_state(parameters);
    auto optimizer = build_optimizer(config.optimizer, *model_, beside);
    if (goes_on) {
      try {
        optimizer->resume(position_.optimizer_steps);
        check_average(parameters, config.ema > 0);
      } catch (const Error& error) {
        fail(folder_.checkpoint().string(), ": ", error.what());
      }
    }
    return optimizer;
  }

  std::optional<BestResult> best_of(const StageConfig& stage, const Judgement& judgement) {
    if (judgement.best_epoch == 0) return std::nullopt;
    const auto best = open_checkpoint(folder_.best_model(stage.name)).model;
    const auto loss = build_loss(*stage.train);
    const Evaluation e = evaluate(*best, test_, {.loss = *loss});
    const NetworkTotals totals = Network(*best, config_.model.input).totals;
    return BestResult{judgement.best_epoch, judgement.best_accuracy, e.accuracy, e.top5, e.loss,
                      totals.nonzeros,      totals.sparsity()};
  }

  void prune_now(const StageConfig& stage, const PruneConfig& config, StageResult& measured) {
    PruneEvent event(config, *model_, Network(*model_, config_.model.input).totals.macs);
    const Pruning pruning(config_, config, *model_, data_.train);
    const OriginalNetwork original = pruning.original();
    const Stopwatch watch;
    PruneResult result = pruning.act(original);
    if (cuts_channels(config))
      report_cut(stage, pruning, original, watch.seconds(), std::move(result), measured);
    else
      report_masks(stage, pruning, result);
    event.end(*model_, Network(*model_, config_.model.input).totals.macs);
    metrics_->write(prune_row({.stage = stage.name, .total_step = steps_so_far()}, event));
    if (config.rewind) {
      rewind_weights(folder_.model(*config.rewind), *model_);
      console_.line(
          fmt::format("{}  what stays goes back to the weights of stage '{}'", stage.name, *config.rewind));
    }
    if (config.reinitialize) {
      take_fresh_weights(*make_model(config_.model, stage_key(config_, static_cast<size_t>(position_.stage))),
                         *model_);
      console_.line(fmt::format("{}  what stays begins with new weights", stage.name));
    }
    if (config.remove) remove_masks(*model_);
    reestimate(stage, config.reestimate_norm);
  }

  /// Training steps of the run.
  int64_t steps_so_far() const { return position_.steps_before.value_or(0) + position_.step; }

  void report_masks(const StageConfig& stage, const Pruning& pruning, const PruneResult& result) {
    const PruneConfig& config = pruning.config();
    const PruneResult::Layer pruned = result.total();
    const std::string in_all = fmt::format("{} of {}", grouped(pruned.pruned), grouped(pruned.units)),
                      units = pruning.units();
    console_.line(
        pruned.already == 0
            ? fmt::format("{}  {} {} pruned by {}", stage.name, in_all, units, config.criterion.type)
            : fmt::format("{}  {} more {} pruned by {}, {} in all", stage.name,
                          grouped(pruned.pruned - pruned.already), units, config.criterion.type, in_all));
    for (const std::string& line : pruning.warnings(result)) warn(stage, line);
    for (const std::string& line : held_lines(result, units)) console_.line(line);
    report_sparsity(stage.name, *model_, config_.model.input, console_);
  }

  void report_cut(const StageConfig& stage, const Pruning& pruning, const OriginalNetwork& original,
                  double seconds, PruneResult result, StageResult& measured) {
    const PruneConfig& config = pruning.config();
    console_.line(config.remove_dead
                      ? fmt::format("{}  dead channels cut in {}", stage.name, duration_text(seconds))
                      : fmt::format("{}  channels cut by {} in {}", stage.name, config.criterion.type,
                                    duration_text(seconds)));
    for (const std::string& line : pruning.warnings(result)) warn(stage, line);
    pruning.measure(result, original);
    if (const auto before = speedup_before(original.history)) {  // else measure_latency is to find it
      measured.latency_ms = result.latency_ms;
      measured.latency_speedup = *before * result.latency_speedup();
    }
    console_.lines([&](size_t width) { return channel_table(result, width); });
    if (const std::string hint = width_hint(config, *model_); !hint.empty()) console_.line(hint);
  }

  void warn(const StageConfig& stage, const std::string& line) {
    console_.warn(fmt::format("warning: stage '{}': {}", stage.name, line));
  }

  void reestimate(const StageConfig& stage, int64_t batches) {
    if (batches == 0) return;
    reestimate_norm(*model_, train_, batches);
    console_.line(fmt::format("{}  batch norm statistics of {} batches", stage.name, grouped(batches)));
  }

  void report_learning(const StageConfig& stage) {
    int64_t all = 0, frozen = 0;
    for (const Parameter* parameter : model_->parameters()) {
      if (parameter->learned()) all += parameter->value().elements();
      if (parameter->frozen()) frozen += parameter->value().elements();
    }
    console_.line(fmt::format("{}  {} of {} parameters learn, the others are frozen", stage.name,
                              grouped(all - frozen), grouped(all)));
  }

  /// `cuts_before`: of the network as it was before the stage; nothing: is not known.
  void measure(const StageConfig& stage, const std::optional<std::vector<AxisCut>>& cuts_before,
               StageResult& result) {
    const auto own_loss = stage.train ? build_loss(*stage.train) : nullptr;
    const Evaluation evaluation =
        evaluate(*model_, test_,
                 {.flip = stage.evaluate && stage.evaluate->flip, .loss = own_loss ? *own_loss : *loss_});
    warn_of_starvation(console_);
    if (!std::isfinite(evaluation.loss))
      fail("stage '", stage.name, "': the loss on the test set is not finite after it; ",
           folder_.has_checkpoint() ? "the last good checkpoint is " + folder_.checkpoint().string()
                                    : "no checkpoint has been written yet");
    const NetworkTotals totals = Network(*model_, config_.model.input).totals;
    const auto file = folder_.model(stage.name);
    const TensorFile weights = weights_file(*model_, config_, classes_, file.string());
    write_safetensors(folder_.for_writing(file), weights, Checksums::kept);
    result.accuracy = evaluation.accuracy;
    result.top5 = evaluation.top5;
    result.loss = evaluation.loss;
    result.parameters = totals.parameters;
    result.nonzeros = totals.nonzeros;
    result.sparsity = totals.sparsity();
    result.macs = totals.macs;
    result.bytes = static_cast<int64_t>(std::filesystem::file_size(file));
    result.packed_bytes = static_cast<int64_t>(PackedFile(weights, PackedValues::f32, file.string()).bytes());
    if (result.latency_ms == 0) measure_latency(cuts_before, result);
    if (stage.kind() == StageKind::train) return;
    console_.line(fmt::format("{}  test {:.2f} %  loss {:.4f}", stage.name, result.accuracy, result.loss));
    metrics_->write(evaluation_row({.stage = stage.name, .total_step = steps_so_far()}, evaluation,
                                   result.sparsity, result.macs));
  }

  /// The speed-up of the network as it was before this stage, from which `cuts` had been taken by then;
  /// nothing: a version that did not measure it has run the stage before.
  std::optional<double> speedup_before(const std::optional<std::vector<AxisCut>>& cuts) const {
    if (!cuts || !position_.first) return std::nullopt;
    if (*cuts == *position_.first) return 1;
    return position_.results.empty() ? std::nullopt : position_.results.back().latency_speedup;
  }

  void measure_latency(const std::optional<std::vector<AxisCut>>& cuts_before, StageResult& result) {
    const Shape& input = config_.model.input;
    if (model_->history == cuts_before) result.latency_speedup = speedup_before(cuts_before);  // as fast
    if (!position_.first || result.latency_speedup) {
      result.latency_ms = latency_ms(*model_, input);
      return;
    }
    const PairedTimes times = latencies_ms(*network_of_shapes(config_, *position_.first), *model_, input);
    result.latency_ms = times.second;
    result.latency_speedup = times.speedup();
  }

  const Config config_;
  Console& console_;
  const RunOptions& options_;
  ChosenRun chosen_;
  RunFolder folder_;
  bool goes_on_;                   ///< from a checkpoint
  std::optional<SavedRun> saved_;  ///< what that says of itself
  std::string moved_;              ///< what is to be said of a device that is another now
  WeightsNotes weights_notes_;
  std::unique_ptr<Module> model_;
  DataSplits data_;
  std::string data_place_;
  std::vector<std::string> classes_;                        ///< to be kept with what is saved
  const std::unique_ptr<Loss> loss_ = build_loss(config_);  ///< of stages that do not train
  Loader train_, test_;
  std::optional<Loader> validation_;
  std::optional<MetricsFile> metrics_;
  RunPosition position_;
  FeatureMaps* maps_ = nullptr;  ///< of the stage that runs, if it has some;
  NamedTensors stage_tensors_;   ///< those of the checkpoint, until that stage begins
  bool resumed_ = false, done_before_ = false;
  Stopwatch watch_, stage_watch_;
  double seconds_before_ = 0, stage_seconds_ = 0;  // of earlier processes
};

}  // namespace

std::optional<Config> begun_run(const RunOptions& options, const std::string& name,
                                const std::string& weights) {
  if (!options.resume) return std::nullopt;
  std::vector<RunFolder> runs;
  if (options.output)
    runs.emplace_back(*options.output);
  else
    runs = runs_called(name);
  for (const RunFolder& run : runs) {
    if (!run.has_checkpoint()) continue;
    Config begun = read_checkpoint_info(run.checkpoint()).config;
    if (begun.model.weights == weights) return begun;
  }
  return std::nullopt;
}

RunResult run(const Config& config, const RunOptions& options, Console& console) {
  Config own = config;
  std::optional<Run> run;
  try {
    use_precision(own);
    take_classes(own, options.data);
    ChosenRun chosen = choose_folder(own, options);
    if (options.resume) own = with_lengths_of_run(std::move(own), RunFolder(chosen.folder));
    run.emplace(own, std::move(chosen), options, console);
    return run->go();
  } catch (const Interrupted&) {
    console.warn(run ? run->how_to_go_on() : "interrupted before it began: the same command begins again");
    throw;
  } catch (const Error& error) {
    console.note(error.what());
    throw;
  }
}

}  // namespace espalier
