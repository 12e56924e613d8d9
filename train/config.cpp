// The declarations: each field of the config once. Relations between fields stand behind the fields of their
// object.
#include "espalier/train/config.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "espalier/formats/input_file.h"
#include "espalier/prune/channel_score.h"
#include "espalier/prune/criterion.h"
#include "espalier/prune/regularize.h"
#include "espalier/prune/schedule.h"
#include "espalier/prune/select.h"
#include "espalier/prune/unit.h"
#include "espalier/train/json_text.h"
#include "espalier/train/overrides.h"
#include "espalier/train/schema.h"

namespace espalier {
namespace {

using namespace schema;

const Range share = {.from = 0, .to = 1};
const Range share_below_1 = {.from = 0, .below = 1};
const Range not_negative = {.from = 0};
const Range positive = {.above = 0};

// --- model ---

Type<Shape> image_shape() {
  const auto sizes = list_of(whole(1, 65536), {3, 3});
  return {sizes,
          [=](const Json& json, const Place& at) {
            return Shape(std::span<const int64_t>(sizes.read(json, at)));
          },
          [](const Shape& shape) {
            return Json(std::vector<int64_t>(shape.sizes().begin(), shape.sizes().end()));
          }};
}

void catalogue_defaults(ModelConfig& model) {
  const ModelInfo* info = find_model(model.type);
  if (!info) return;
  model.input = info->input;
  model.classes = info->classes;
}

Type<ModelConfig> model_type() {
  return object<ModelConfig>(
      {field("type", &ModelConfig::type, one_of(model_names()), "see `espalier help models`").required(),
       field("input", &ModelConfig::input, image_shape(), "height, width and channels of an image"),
       field("classes", &ModelConfig::classes, whole(1, 1'000'000), "outputs of the last layer"),
       field("hidden", &ModelConfig::hidden, list_of(whole(1, 1'000'000), {0, 100}),
             "widths of the hidden layers")
           .only_for(model_names("hidden")),
       field("width", &ModelConfig::width, number({.from = 0.01, .to = 100}), "factor on every hidden width"),
       field("activation", &ModelConfig::activation, one_of({"relu", "gelu"}), "between layers"),
       field("pool", &ModelConfig::pool, one_of({"max", "average"}), "how images are made smaller")
           .only_for(model_names("pool")),
       field("batch_norm", &ModelConfig::batch_norm, boolean(), "a norm behind each convolution")
           .only_for(model_names("batch_norm")),
       field("stem", &ModelConfig::stem, one_of({"small", "imagenet"}),
             "how it begins: a 3x3 convolution, or a 7x7 by stride 2 and pooling; without it, small where a "
             "side has under 64 pixels")
           .only_for(model_names("stem")),
       field("weights", &ModelConfig::weights, text(),
             "a safetensors file to start from, relative to the working directory")},
      {.defaults = catalogue_defaults});
}

// --- data ---

Type<NormalizeConfig> normalize_type() {
  const Length channels = {.from = 1, .to = 65536};
  return object<NormalizeConfig>(
      {field("mean", &NormalizeConfig::mean, list_of(number({}), channels), "subtracted, a value per channel")
           .required(),
       field("std", &NormalizeConfig::std, list_of(number(positive), channels),
             "divided by, a value per channel")
           .required()},
      {.check = [](const NormalizeConfig& n, const Place& at) {
        if (n.std.size() != n.mean.size()) {
          (at / "std")
              .fail("found ", n.std.size(), " values, expected as many as in 'mean': ", n.mean.size());
        }
      }});
}

/// Two numbers, the second not below the first.
Type<std::vector<double>> interval(const Range& range) {
  const auto two = list_of(number(range), {2, 2});
  return {two,
          [=](const Json& json, const Place& at) {
            const std::vector<double> ends = two.read(json, at);
            if (ends[1] < ends[0])
              (at / 1).fail("found ", ends[1], ", expected at least the number before it: ", ends[0]);
            return ends;
          },
          two.write};
}

Type<Augmentation> augmentation_type() {
  return object<Augmentation>(
      {field("type", &Augmentation::type,
             one_of({"crop", "flip", "cutout", "random_resized_crop", "color_jitter", "mixup"}),
             "what is done to a training image")
           .required(),
       field("pad", &Augmentation::pad, whole(1, 65536), "pixels added on each side before a part is taken")
           .required()
           .only_for({"crop"}),
       field("fill", &Augmentation::fill, one_of({"zero", "reflect"}),
             "what the added pixels are: black, whatever data.normalize, or the image reflected")
           .only_for({"crop"}),
       field("probability", &Augmentation::probability, number(share), "share of images that are mirrored")
           .only_for({"flip"}),
       field("size", &Augmentation::size, whole(1, 65536),
             "pixels a side of the square that becomes the mean")
           .required()
           .only_for({"cutout"}),
       field("scale", &Augmentation::scale, interval({.above = 0, .to = 1}),
             "least and largest share of the area")
           .only_for({"random_resized_crop"}),
       field("ratio", &Augmentation::ratio, interval({.from = 0.01, .to = 100}),
             "least and largest width / height")
           .only_for({"random_resized_crop"}),
       field("brightness", &Augmentation::brightness, number(not_negative),
             "a: the factor is drawn from max(0, 1 - a) to 1 + a")
           .only_for({"color_jitter"}),
       field("contrast", &Augmentation::contrast, number(not_negative), "the same")
           .only_for({"color_jitter"}),
       field("saturation", &Augmentation::saturation, number(not_negative), "the same; 3 channels alone")
           .only_for({"color_jitter"}),
       field("alpha", &Augmentation::alpha, number({.from = 0.01, .to = 100}),
             "shares of the two images are drawn from Beta(alpha, alpha)")
           .required()
           .only_for({"mixup"})});
}

Type<DataConfig> data_type() {
  const Names in_files = {"mnist", "cifar10", "cifar100", "image_folder"};
  return object<DataConfig>(
      {field("type", &DataConfig::type, one_of({"mnist", "cifar10", "cifar100", "image_folder", "synthetic"}),
             "the data set; `espalier help data` says how to get it")
           .required(),
       field("root", &DataConfig::root, text(),
             "folder of data sets; without it, that of --data, of ESPALIER_DATA, or data")
           .only_for(in_files),
       field("path", &DataConfig::path, text(),
             "folder or archive (.tar, .tar.gz, .tar.xz; not for mnist), relative to the root; without it, "
             "mnist, cifar-10-batches-bin or cifar-100-binary; image_folder needs one")
           .only_for(in_files),
       field("labels", &DataConfig::labels, one_of({"fine", "coarse"}), "100 classes, or 20 groups of them")
           .only_for({"cifar100"}),
       field("remap", &DataConfig::remap, boolean(),
             "number the labels that are present 0..k-1, for files that hold a part of the classes")
           .only_for({"cifar10", "cifar100"}),
       field("skip_corrupt", &DataConfig::skip_corrupt, boolean(),
             "leave out images that cannot be decoded, and say how many and which")
           .only_for({"image_folder"}),
       field("cache", &DataConfig::cache, boolean(),
             "keep the decoded images for the next run, in $XDG_CACHE_HOME/espalier or ~/.cache/espalier")
           .only_for({"image_folder"}),
       field("train_images", &DataConfig::train_images, whole(1), "how many are drawn to train on")
           .only_for({"synthetic"}),
       field("test_images", &DataConfig::test_images, whole(1), "and to test").only_for({"synthetic"}),
       field("batch", &DataConfig::batch, whole(1), "images in a step"),
       field("shuffle", &DataConfig::shuffle, boolean(), "a new order each epoch, drawn from the seed"),
       field("augment", &DataConfig::augment, list_of(augmentation_type(), {0, 100}),
             "what is done to training images, in this order, before they are normalised"),
       field("normalize", &DataConfig::normalize, normalize_type(),
             "on pixels in 0..1; without it, pixels stay in 0..1"),
       field("validation", &DataConfig::validation, number(share_below_1),
             "share of the training images that is held out")},
      {.check = [](const DataConfig& d, const Place& at) {
        if (d.type == "image_folder" && !d.path)
          (at / "path").fail("missing, expected the folder or archive that image_folder reads");
      }});
}

// --- stages: prune ---

const char* const reestimate_help =
    "training batches that batch norms' running statistics are taken from anew before it is measured, as "
    "weights that were averaged or pruned need; 0: none";

Type<PruneScheduleConfig> prune_schedule_type() {
  const Names gradual = {"linear", "cubic"};
  return object<PruneScheduleConfig>(
      {field("type", &PruneScheduleConfig::type, one_of(schedule_names(), {"exponential"}),
             "how sparsity grows")
           .required(),
       field("begin", &PruneScheduleConfig::begin, whole(0), "the step it first acts behind, from 0"),
       field("end", &PruneScheduleConfig::end, whole(1),
             "the step it last acts behind; without it, the stage's last")
           .only_for(gradual),
       field("every", &PruneScheduleConfig::every, whole(1), "steps between").only_for(gradual)},
      {.check = [](const PruneScheduleConfig& s, const Place& at) {
        if (s.end && *s.end <= s.begin)
          (at / "end").fail("found ", *s.end, ", expected more than begin: ", s.begin);
      }});
}

template <class S>
void check_ratios(const S& limits, const Place& at) {
  if (limits.max_ratio < limits.min_ratio)
    (at / "max_ratio").fail("found ", limits.max_ratio, ", expected at least min_ratio: ", limits.min_ratio);
}

Type<ChannelOverrideConfig> channel_override_type() {
  return object<ChannelOverrideConfig>(
      {field("layers", &ChannelOverrideConfig::layers, list_of(text(), {.from = 1}),
             "beginnings of the names of layers that make the channels")
           .required(),
       field("min_channels", &ChannelOverrideConfig::min_channels, whole(1), "as in prune"),
       field("min_ratio", &ChannelOverrideConfig::min_ratio, number(share), "as in prune"),
       field("max_ratio", &ChannelOverrideConfig::max_ratio, number(share), "as in prune")},
      {.check = check_ratios<ChannelOverrideConfig>});
}

Type<PruneConfig> prune_type() {
  const Names masked = {"weight", "row"}, channel = {"channel"};
  const Range count = {.above = 0};
  return object<PruneConfig>(
      {field("unit", &PruneConfig::unit, one_of(unit_names(), {"2:4", "block", "kernel", "column", "layer"}),
             "what lives or dies together: a weight; a row, which is a filter of a convolution or a row of a "
             "linear layer; a channel, with all that makes and reads it, which is cut"),
       field("criterion", &PruneConfig::criterion,
             one_of(criterion_names(),
                    {"gradient", "snip", "grasp", "synflow", "movement", "wanda", "sparsegpt", "woodfisher"}),
             "score of a unit; the lowest go (`espalier help criteria`)"),
       field("scope", &PruneConfig::scope, one_of(scope_names(), {"uniform", "erk"}),
             "which units are ranked against each other; isomorphic, for channels: those of groups whose "
             "layers are alike"),
       field("sparsity", &PruneConfig::sparsity, number(share), "share of the units that goes")
           .only_for(masked),
       field("threshold", &PruneConfig::threshold, number(not_negative), "what scores below it goes")
           .only_for(masked),
       field("quantile", &PruneConfig::quantile, number(share),
             "what scores below this quantile of the scores goes")
           .only_for(masked),
       field("ratio", &PruneConfig::ratio, number(share), "share of the channels that goes")
           .only_for(channel),
       field("speedup", &PruneConfig::speedup, number({.from = 1}), "least MACs before / MACs after")
           .only_for(channel),
       field("macs", &PruneConfig::macs, number(count), "most multiply-accumulates of one image")
           .only_for(channel),
       field("parameters", &PruneConfig::parameters, number(count), "most parameters").only_for(channel),
       field("bytes", &PruneConfig::bytes, number(count), "most bytes of parameters and statistics")
           .only_for(channel),
       field("latency_ms", &PruneConfig::latency_ms, number(count),
             "most milliseconds for one image, measured on this machine")
           .only_for(channel),
       field("include", &PruneConfig::include, list_of(text()),
             "beginnings of layer names: fc is fc1 and fc2; empty: all"),
       field("exclude", &PruneConfig::exclude, list_of(text()),
             "beginnings of the names of layers to leave out; of channels, those that make them"),
       field("batches", &PruneConfig::batches, whole(1),
             "training batches that the criteria taylor and obd look at (obd: single images)")
           .only_for(channel),
       field("reduction", &PruneConfig::reduction, one_of(reduction_names()),
             "how the scores of what goes with a channel become one")
           .only_for(channel),
       field("normalizer", &PruneConfig::normalizer, one_of(normalizer_names()),
             "what a group's scores are divided by; without it, the criterion's own")
           .only_for(channel),
       field("min_channels", &PruneConfig::min_channels, whole(1),
             "channels that always stay of a group; without it, 8 or a tenth, whichever is more")
           .only_for(channel),
       field("min_ratio", &PruneConfig::min_ratio, number(share), "share of a group that goes in any case")
           .only_for(channel),
       field("max_ratio", &PruneConfig::max_ratio, number(share), "share of a group that may go at most")
           .only_for(channel),
       field("overrides", &PruneConfig::overrides, list_of(channel_override_type()),
             "these limits for some layers; of several, the last counts")
           .only_for(channel),
       field("round_to", &PruneConfig::round_to, whole(1, 1024),
             "a group that loses channels keeps a multiple of this, rounded down, so that the target is "
             "still reached")
           .only_for(channel),
       field("iterations", &PruneConfig::iterations, whole(1, 10'000),
             "cuts in which the target is reached; scores are taken anew before each")
           .only_for(channel),
       field("verify", &PruneConfig::verify, boolean(),
             "compare the cut network with the masked one on a batch, and count MACs and parameters again")
           .only_for(channel),
       field("reestimate_norm", &PruneConfig::reestimate_norm, whole(0), reestimate_help).only_for(channel),
       field("schedule", &PruneConfig::schedule, prune_schedule_type(),
             "when it acts, in steps; inside `train` alone"),
       field("remove", &PruneConfig::remove, boolean(),
             "at the stage's end, let go of the masks: zeros stay, and later training may change them")
           .only_for(masked)},
      {.variant = "unit",
       .exactly_one = {{"sparsity", "threshold", "quantile", "ratio", "speedup", "macs", "parameters",
                        "bytes", "latency_ms"}},
       .check = [](const PruneConfig& p, const Place& at) {
         if (p.unit == "channel") return check_ratios(p, at);
         if (p.scope == "isomorphic")
           (at / "scope").fail("found \"isomorphic\", which is for unit channel, and the unit is ", p.unit);
         if (criterion_named(p.criterion).of_channels_alone())
           (at / "criterion")
               .fail("found \"", p.criterion, "\", which is for unit channel, and the unit is ", p.unit);
         if (p.schedule && p.schedule->type != "one_shot" && !p.sparsity) {
           (at / "schedule" / "type")
               .fail("found \"", p.schedule->type,
                     "\", which needs 'sparsity'; 'threshold' and 'quantile' go with one_shot alone");
         }
       }});
}

// --- stages: train ---

Type<RegularizeConfig> regularize_type() {
  const Names growing = {"greg1", "greg2"}, steady = {"l1", "bn_scale", "group_lasso", "group_norm"},
              by_channel = {"bn_scale", "group_lasso", "group_norm", "greg1", "greg2"};
  return object<RegularizeConfig>(
      {field(
           "type", &RegularizeConfig::type, one_of(penalty_names()),
           "the penalty: group_norm (DepGraph), group_lasso, bn_scale (slimming), greg1, greg2 (growing L2) "
           "on coupled channels; l1 on weights")
           .required(),
       field("weight", &RegularizeConfig::weight, number(positive), "its factor").only_for(steady),
       field("ratio", &RegularizeConfig::ratio, number(share),
             "share of each group's channels that is pushed out")
           .only_for(growing),
       field("growth", &RegularizeConfig::growth, number(positive), "what the coefficient grows by")
           .only_for(growing),
       field("every", &RegularizeConfig::every, whole(1), "steps between").only_for(growing),
       field("most", &RegularizeConfig::most, number(positive), "the largest coefficient").only_for(growing),
       field("include", &RegularizeConfig::include, list_of(text()),
             "beginnings of the names of layers that make the channels; empty: all")
           .only_for(by_channel),
       field("exclude", &RegularizeConfig::exclude, list_of(text()), "the same, of layers to leave out")
           .only_for(by_channel)});
}

Field<OptimizerConfig> betas() {
  const auto type = list_of(number(share_below_1), {2, 2});
  return Field<OptimizerConfig>(
             "betas", "decay of the means of the gradient and of its square", type,
             [=](const Json& json, const Place& at, OptimizerConfig& o) {
               const std::vector<double> values = type.read(json, at);
               o.beta1 = values[0];
               o.beta2 = values[1];
             },
             [](const OptimizerConfig& o) {
               return Json::array({o.beta1, o.beta2});
             })
      .only_for({"adam", "adamw"});
}

Type<OptimizerConfig> optimizer_type() {
  return object<OptimizerConfig>(
      {field("type", &OptimizerConfig::type, one_of({"sgd", "adam", "adamw"}),
             "PyTorch's optimizer of that name")
           .required(),
       field("lr", &OptimizerConfig::lr, number(positive), "learning rate").required(),
       field("momentum", &OptimizerConfig::momentum, number(share_below_1),
             "share of the last step that is kept")
           .only_for({"sgd"}),
       field("nesterov", &OptimizerConfig::nesterov, boolean(), "look ahead by the momentum")
           .only_for({"sgd"}),
       field("weight_decay", &OptimizerConfig::weight_decay, number(not_negative),
             "pull towards 0; adamw's is apart from the gradient"),
       betas(),
       field("eps", &OptimizerConfig::eps, number(positive), "added to the denominator")
           .only_for({"adam", "adamw"}),
       field("clip_norm", &OptimizerConfig::clip_norm, number(not_negative),
             "largest norm of the gradient of all weights together; 0: any")},
      {.defaults =
           [](OptimizerConfig& o) {
             if (o.type == "adamw") o.weight_decay = 0.01;
           },
       .check =
           [](const OptimizerConfig& o, const Place& at) {
             if (o.nesterov && o.momentum == 0)
               (at / "nesterov").fail("found true, which needs a momentum above 0");
           }});
}

Type<ScheduleOptions> schedule_type() {
  return object<ScheduleOptions>(
      {field("type", &ScheduleOptions::type, one_of(learning_rate_schedules()),
             "how the learning rate changes")
           .required(),
       field("step_size", &ScheduleOptions::step_size, whole(1), "epochs between drops")
           .required()
           .only_for({"step"}),
       field("milestones", &ScheduleOptions::milestones, list_of(whole(1), {.from = 1}),
             "epochs of the drops")
           .required()
           .only_for({"multistep"}),
       field("gamma", &ScheduleOptions::gamma, number(positive), "factor of a drop")
           .only_for({"step", "multistep"}),
       field("min_lr", &ScheduleOptions::min_lr, number(not_negative), "where it ends").only_for({"cosine"}),
       field("max_lr", &ScheduleOptions::max_lr, number(not_negative), "the peak; 0: the optimizer's lr")
           .only_for({"onecycle"}),
       field("pct_start", &ScheduleOptions::pct_start, number(share), "share of the steps that climb")
           .only_for({"onecycle"}),
       field("cycle_momentum", &ScheduleOptions::cycle_momentum, boolean(),
             "momentum (adam: beta1) falls from 0.95 to 0.85 as the rate climbs, and returns")
           .only_for({"onecycle"}),
       field("warmup_steps", &ScheduleOptions::warmup_steps, whole(0),
             "steps over which the rate climbs first")},
      {.check = [](const ScheduleOptions& s, const Place& at) {
        const auto& m = s.milestones;
        if (std::adjacent_find(m.begin(), m.end(), std::greater_equal<>()) != m.end()) {
          (at / "milestones").fail("found ", Json(m).dump(), ", expected each to be above the one before");
        }
        if (s.type == "warmup" && s.warmup_steps == 0)
          (at / "warmup_steps").fail("found 0, type warmup needs at least 1");
      }});
}

Type<EarlyStopConfig> early_stop_type() {
  return object<EarlyStopConfig>({field("patience", &EarlyStopConfig::patience, whole(1),
                                        "evaluations without improvement before it stops"),
                                  field("min_delta", &EarlyStopConfig::min_delta, number(not_negative),
                                        "points of validation accuracy that count as improvement")});
}

Type<TrainConfig> train_type() {
  return object<TrainConfig>(
      {field("epochs", &TrainConfig::epochs, whole(1), "passes over the training images"),
       field("steps", &TrainConfig::steps, whole(1), "optimizer steps, instead of epochs"),
       field("optimizer", &TrainConfig::optimizer, optimizer_type(), "what makes a step of a gradient")
           .required(),
       field("schedule", &TrainConfig::schedule, schedule_type(), "the learning rate over time"),
       field("loss", &TrainConfig::loss, one_of({"cross_entropy"}), "what is made small"),
       field("label_smoothing", &TrainConfig::label_smoothing, number(share_below_1),
             "share of the target spread over all classes"),
       field("ema", &TrainConfig::ema, number(share_below_1),
             "decay of a moving average of the weights, which takes their place at the end; 0: none"),
       field("accumulate", &TrainConfig::accumulate, whole(1, 1'000'000),
             "batches whose mean gradient makes a step"),
       field("prune", &TrainConfig::prune, prune_type(), "a pruner that acts while training"),
       field("regularize", &TrainConfig::regularize, regularize_type(),
             "a penalty that prepares channels to be cut"),
       field("log_every", &TrainConfig::log_every, whole(1), "steps between rows of metrics.jsonl"),
       field("eval_every", &TrainConfig::eval_every, whole(1), "epochs between evaluations"),
       field("early_stop", &TrainConfig::early_stop, early_stop_type(),
             "stop when validation accuracy no longer improves"),
       field("checkpoint_every", &TrainConfig::checkpoint_every, number(not_negative),
             "seconds between checkpoints inside an epoch; 0: only at its end"),
       field("reestimate_norm", &TrainConfig::reestimate_norm, whole(0), reestimate_help)},
      {.exactly_one = {{"epochs", "steps"}}, .check = [](const TrainConfig& t, const Place& at) {
         if (t.schedule.min_lr > t.optimizer.lr) {
           (at / "schedule" / "min_lr")
               .fail("found ", t.schedule.min_lr, ", expected at most the optimizer's lr: ", t.optimizer.lr);
         }
         if (!t.prune) return;
         const Place schedule = at / "prune" / "schedule";
         if (!t.prune->schedule) schedule.fail("missing, a pruner inside 'train' needs one");
         const int64_t last = t.prune->schedule->end.value_or(t.prune->schedule->begin);
         if (t.steps && last >= *t.steps) {
           (schedule / (t.prune->schedule->end ? "end" : "begin"))
               .fail("found ", last, ", but the last of ", *t.steps, " steps is ", *t.steps - 1);
         }
       }});
}

Type<EvaluateConfig> evaluate_type() {
  return object<EvaluateConfig>(
      {field("flip", &EvaluateConfig::flip, boolean(),
             "logits are the mean of those of the image and of its mirror image"),
       field("reestimate_norm", &EvaluateConfig::reestimate_norm, whole(0), reestimate_help)});
}

// --- the whole ---

Type<StageConfig> stage_type() {
  return object<StageConfig>(
      {field("name", &StageConfig::name, file_name(),
             "of the stage, used once; its weights go to models/NAME.safetensors")
           .required(),
       field("train", &StageConfig::train, train_type(), "trains"),
       field("prune", &StageConfig::prune, prune_type(), "prunes at once"),
       field("evaluate", &StageConfig::evaluate, evaluate_type(), "measures alone")},
      {.exactly_one = {{"train", "prune", "evaluate"}},
       .later = {"export"},
       .check = [](const StageConfig& s, const Place& at) {
         if (s.prune && s.prune->schedule)
           (at / "prune" / "schedule").fail("is for a pruner inside 'train', this one acts at once");
       }});
}

void check_config(const Config& config, const Place& at) {
  if (const auto& normalize = config.data.normalize; normalize) {
    const auto channels = static_cast<size_t>(config.model.input[2]);
    if (normalize->mean.size() != channels) {
      (at / "data" / "normalize" / "mean")
          .fail("found ", normalize->mean.size(),
                " values, expected one per channel of the model's input: ", channels);
    }
  }
  if (const auto misfit = find_misfit(config.data.augment, config.model.input))
    (at / "data" / "augment" / misfit->place / misfit->field).fail(misfit->message);
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const Place stage_at = at / "stages" / i;
    if (stage.name.ends_with(".best"))
      (stage_at / "name").fail("found \"", stage.name, "\", but .best is the ending of a stage's best model");
    for (size_t j = 0; j < i; ++j) {
      if (config.stages[j].name == stage.name)
        (stage_at / "name").fail("\"", stage.name, "\" is the name of stage ", j, ", too");
    }
    if (stage.train && stage.train->early_stop && config.data.validation == 0) {
      (stage_at / "train" / "early_stop").fail("needs images to judge by: /data/validation above 0");
    }
  }
}

const Type<Config>& config_type() {
  static const Type<Config> type = object<Config>(
      {field("name", &Config::name, file_name(),
             "of the run, whose folder is runs/NAME; without it, the file's name"),
       field("seed", &Config::seed, whole(0, (int64_t{1} << 53) - 1), "of everything that is drawn"),
       field("model", &Config::model, model_type(), "the network").required(),
       field("data", &Config::data, data_type(), "what it learns from").required(),
       field("stages", &Config::stages, list_of(stage_type(), {.from = 1}),
             "what is done, one after the other")
           .required()},
      {.check = check_config});
  return type;
}

}  // namespace

const char* stage_kind_name(StageKind kind) {
  switch (kind) {
    case StageKind::train:
      return "train";
    case StageKind::prune:
      return "prune";
    case StageKind::evaluate:
      return "evaluate";
  }
  return "";
}

StageKind StageConfig::kind() const {
  return train ? StageKind::train : prune ? StageKind::prune : StageKind::evaluate;
}

Config parse_config(const std::string& text, const std::string& file,
                    const std::vector<std::string>& overrides) {
  Json json = parse_json(text, file);
  Names set;
  for (const std::string& assignment : overrides)
    set.push_back(apply_override(json, config_type(), assignment));
  if (json.is_object()) {
    json.erase("$schema");
    if (!json.contains("name")) json["name"] = std::filesystem::path(file).stem().string();
  }
  Config config = config_type().read(json, Place(file, set));
  config.file = file;
  return config;
}

Config load_config(const std::string& file, const std::vector<std::string>& overrides) {
  std::string text;
  try {
    text = read_file(file);
  } catch (const Error& error) {
    fail_usage(error.what());
  }
  return parse_config(text, file, overrides);
}

Json config_json(const Config& config) { return config_type().write(config); }

std::string config_help() {
  return "A config is a JSON file. `--set PATH=VALUE` sets one of its fields from the command line, a stage "
         "by its number\n"
         "(from 0) or name: --set stages.dense.train.epochs=1; null takes a field away.\n\n" +
         help_text(config_type());
}

Json config_schema() {
  Json schema = {{"$schema", "https://json-schema.org/draft/2020-12/schema"}, {"title", "Espalier config"}};
  schema.update(config_type().json_schema);
  schema["properties"]["$schema"] = {{"type", "string"}};
  return schema;
}

}  // namespace espalier
