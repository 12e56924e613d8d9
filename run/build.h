// From what a config says to the things it speaks of: data, model, pruner. What does not fit together is an
// Error that begins with the config's file.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "espalier/data/image_folder.h"
#include "espalier/data/loader.h"
#include "espalier/prune/pruner.h"
#include "espalier/run/config.h"
#include "espalier/train/loss.h"

namespace espalier {

struct WeightsNotes;  // run/checkpoint.h

/// The folder that data sets are in: `given` (--data), else data.root, else ESPALIER_DATA, else data/: the
/// first that is set.
std::string data_root(const DataConfig& config, const std::optional<std::string>& given);

/// Where its data set is read from, for messages: folder or archive, or what it is called if it is drawn.
std::string data_place(const Config& config, const std::optional<std::string>& given_root);

/// Has this process compute in the config's precision, where it says one (core/compute_device.h). UsageError,
/// with the field's place, where the device has it not.
void use_precision(const Config& config);

/// What images are made into for the config's model.
ImageFolderOptions image_options(const Config& config);

/// Reads the config's data set and holds out its validation share; says how many images there are and what
/// memory they take before it decodes them. Images of a folder become what the model takes. A note where the
/// training set is less than a batch. Error if the data set is missing or broken, or has not as many classes
/// as the model; UsageError unless the model takes images of its shape.
DataSplits build_data(const Config& config, const std::optional<std::string>& given_root,
                      const Say& say = {});

/// Where the config leaves model.classes to the files of its data set, counts them there; of an image folder
/// by the names in it, without an image. Whoever builds a config's model does this first.
void take_classes(Config& config, const std::optional<std::string>& given_root);

/// Images in folders that are called as `classes`, decoded as the config's model takes them, as the `test` of
/// what is returned: of a data set of any type, for a network sees only pixels.
DataSplits labelled_images(const Config& config, const std::vector<std::string>& classes,
                           const std::string& folder, const Say& say = {});

/// The names that say what a model's outputs mean, to be kept with it; none of data whose classes are digits,
/// be they drawn or those of any set in MNIST's files.
std::vector<std::string> kept_class_names(const Config& config, const Dataset& data);
/// Error with the data's place and the first class that differs, unless `data`, read as `config` says, has
/// the names `saved` in `checkpoint`. Where either has none, all is well.
void check_classes(const std::string& checkpoint, const std::vector<std::string>& saved, const Config& config,
                   const Dataset& data, const std::string& place);

/// Batches of training data as the config says: shuffled, augmented, normalised. UsageError if they cannot be
/// made of `data`.
Loader training_loader(const Config& config, const Dataset& data);
/// Key of the random numbers that a run's passes draw, as dropout does.
uint64_t pass_key(const Config& config);
/// Key of those that pruning draws.
uint64_t pruning_key(const Config& config);
/// What a person must know of a stage that asks for more batches to look at (`prune.batches`) than `data`,
/// the training set, has: it looks at each once.
std::vector<std::string> batch_notes(const Config& config, const Dataset& data);

/// Batches of a data set to evaluate on, which may be smaller than one: as they are, but normalised.
Loader evaluation_loader(const Config& config, const Dataset& data);

/// Batches of training data that pruning looks at: shuffled, but as they are; single images where
/// signals are gathered from such (prune/signals.h).
Loader scoring_loader(const Config& config, const Dataset& data, Needs needs);

/// Steps in an epoch of `batches` batches, and in the entire stage.
int64_t epoch_steps(const TrainConfig& config, int64_t batches);
int64_t stage_steps(const TrainConfig& config, int64_t batches);
StageLength stage_length(const TrainConfig& config, int64_t batches);

/// The config's model, initialised from its seed; `read_weights`: or from its weights file where it names
/// one, which may be a checkpoint. `notes`: what is to be said of that; warnings of what training would do,
/// if a stage trains.
std::unique_ptr<Module> build_model(const Config& config, bool read_weights = true,
                                    WeightsNotes* notes = nullptr);

/// What a train stage makes small.
std::unique_ptr<Loss> build_loss(const TrainConfig& config);
/// What the config's network is measured by in any of its stages: the loss of the last one that trains;
/// cross-entropy if none does.
std::unique_ptr<Loss> build_loss(const Config& config);

/// The layers that a train stage freezes (Frozen in nn/module.h).
std::vector<Module*> frozen_layers(const TrainConfig& config, Module& model);
/// Kinds of parameters, as an optimizer's lr_of and decay name them: norm (scale and shift), bias (of
/// convolutions and linear layers), embedding.
std::vector<std::string> parameter_kinds();
/// A train stage's optimizer, of what is not frozen in `model`, with the rates and decays of its groups, and
/// of what the stage trains `beside` it, at the plain rate.
std::unique_ptr<Optimizer> build_optimizer(const OptimizerConfig& config, Module& model,
                                           const std::vector<Parameter*>& beside = {});
/// Key of what stage number `stage` trains besides the network: its first values.
uint64_t stage_key(const Config& config, size_t stage);

/// A fresh network of the shapes that a model of the config's has with this history of cuts.
std::unique_ptr<Module> network_of_shapes(const Config& config, const std::vector<AxisCut>& history);
/// Milliseconds of an image through a fresh network of the model's shapes after more cuts: what its weights
/// are does not matter.
double latency_after(const Config& config, const Module& model, const std::vector<AxisCut>& cuts);
/// A mistake for all that stages would fail at, of those in which there is none yet: layers that `model`
/// lacks, a target that cannot be reached, a schedule beyond its end (a UsageError); without `batches`,
/// except for what these decide. `original`: the model has the shapes that the first stage begins with;
/// targets are checked up to the first stage that changes them, for what comes after is not known yet.
/// `first`: stages before that number are done, and their teachers' files may be gone.
void check_stages(const Config& config, Module& model, std::optional<int64_t> batches, bool original,
                  Mistakes& mistakes, size_t first = 0);
/// A mistake for each sound stage whose early_stop has no images to judge by, in `data` as they were found.
void check_early_stop(const Config& config, const DataSplits& data, Mistakes& mistakes);
/// A line on each entry of a stage's lists of layers that once meant more of them (names.h).
std::vector<std::string> notes_on_layers(const Config& config, Module& model);
/// UsageError if a stage would train a batch norm that has one value a channel of an image on a batch of one,
/// which has no variance.
void check_batches(const Config& config, Module& model, const Loader& loader);

}  // namespace espalier
