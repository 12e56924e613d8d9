// Checkpoint: one safetensors file with everything a run needs to go on. Weights stand under PyTorch's names
// and in its layout, as in any weights file; beside them all that belongs to a parameter (Parameter::state),
// "mask/NAME", "slot0/NAME", "slot1/NAME", "average/NAME" and what else methods keep; of weights only, which
// PyTorch is to load, the metadata name the parameters whose zeros a mask holds. The metadata hold the config
// as resolved, the network's description (the graph of one example pass), the history of cuts if channels
// were cut, the names of the classes where the data have some, the checksums of all this and, in a
// checkpoint, the position.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "espalier/data/loader.h"
#include "espalier/formats/safetensors.h"
#include "espalier/nn/state_dict.h"
#include "espalier/run/config.h"
#include "espalier/run/result.h"
#include "espalier/train/position.h"

namespace espalier {

/// How many images the data have.
struct ImageCounts {
  int64_t train = 0, validation = 0, test = 0;
  bool operator==(const ImageCounts&) const = default;
};

/// Where a run is: in a stage, and what it has done before.
struct RunPosition : Position {
  double run_seconds = 0;  ///< spent since the run began, over all its processes
  double seconds = 0;      ///< of those, in the stage

  int64_t threads = 0;   ///< of the process that wrote it,
  std::string isa = {};  ///< and its instruction set
  std::string device = {},
              precision = {};  ///< what it computed on, and in; empty: of a version that did not say
  std::optional<ImageCounts> data = {};  ///< that it has used; absent: of a version that did not say
  /// How long each stage was to train when the run began ("3 epochs"); empty: of a version that did not say.
  std::vector<std::string> begun = {};
  int64_t metrics_bytes = 0;  ///< of metrics.jsonl: what was written before this checkpoint
  /// What had been cut from the network that the run began with; absent: of a version that did not say.
  std::optional<std::vector<AxisCut>> first = {};
  std::vector<StageResult> results = {};
};

/// What a file says of itself. Of a program's (save_weights above) the config is one without stages: it has
/// the model's input and classes, `graph` as its type, no data set and the data's normalisation.
struct CheckpointInfo {
  Config config;
  std::optional<RunPosition> position;  ///< absent in a file of only weights
  std::vector<std::string> classes;     ///< their names; none if none were saved
};

/// Writes what a program has trained: weights as load_state_dict(strict=True) wants them, and in the metadata
/// the network that `model` is, whoever made it, what was cut from it, which parameters are masked, and
/// `data`: enough for `espalier inspect`, `eval`, `predict` and `graph`, for open_checkpoint and for
/// load_in_torch.py, but for ops that are the program's own. Error for what could not be read again: names of
/// classes that are not UTF-8 or not as many as `model` has outputs, mean or std that are not one finite
/// number a channel, a pass that puts out no row of logits or reads a tensor that is neither the image nor a
/// parameter; and for a linear layer after a flatten whose weight would have another order of columns than
/// PyTorch's (Linear's `positions`).
void save_weights(const OutputPath& to, Module& model, const DataDescription& data);
/// What save_weights writes; `name` stands for the file in messages.
TensorFile weights_file(Module& model, const Config& config, const std::vector<std::string>& classes,
                        const std::string& name);
/// Writes only weights: what load_state_dict(strict=True) wants, with config, network, which parameters are
/// masked and the names of the classes in the metadata; no `classes`: the data name none.
void save_weights(const OutputPath& to, Module& model, const Config& config,
                  const std::vector<std::string>& classes);
/// Writes everything, atomically; `of_stage`: stage_tensors of what the stage trains besides the network.
void save_checkpoint(const OutputPath& to, Module& model, const Config& config, const RunPosition& position,
                     const std::vector<std::string>& classes, const NamedTensors& of_stage = {});

/// What belongs to a stage and not to its network, as a checkpoint holds it and whoever reads the network
/// passes over it: each of its parameters as "stage/NAME", and what stands beside it as "stage/slot0/NAME".
NamedTensors stage_tensors(Module& of_stage);
/// Those of a file.
NamedTensors read_stage_tensors(const std::filesystem::path& file);
/// Puts them into what they are of. Error, naming `source`, where one is missing, is not its, or has another
/// shape.
void load_stage_tensors(const NamedTensors& tensors, Module& of_stage, const std::string& source);

/// Config, position and classes, from the file's header: no tensor is read, or its checksum looked at. Error
/// if the file is no checkpoint or weights file of Espalier's, or has another number of classes than names.
CheckpointInfo read_checkpoint_info(const std::filesystem::path& file);
/// The same of what a run may start from; nothing for weights of another tool's, which say nothing.
std::optional<CheckpointInfo> weights_info(const std::filesystem::path& file);
/// The same of a file that has been read; `source` names it in messages.
CheckpointInfo checkpoint_info(const TensorFile& file, const std::string& source);
/// Puts weights and all that stands beside them into `model`, a fresh one, from which channels are cut first
/// if they were from the file's. Plain weights of other tools' (foreign_weights.h) will do, too. Error if
/// names or shapes do not fit it. While a MetaDevice (core/tensor.h) is alive, this and what follows take
/// shapes from the file's header, and no memory.
void load_checkpoint(const std::filesystem::path& file, Module& model);

/// What to tell a person about weights that were read.
struct WeightsNotes {
  std::vector<std::string> lines, warnings;
};
struct WeightsOptions {
  /// Exact zeros among the weights of convolutions and linear layers are masked, too; false: nothing is
  /// masked; absent: zeros that no mask holds are warned of.
  std::optional<bool> hold_zeros = {};
  std::vector<std::string> skip = {};  ///< layers that are not read (nn/names.h), but start afresh,
  uint64_t seed = 0;                   ///< from this
  std::string init = "pytorch";        ///< by this rule (nn/init.h)
  std::string skip_name = "skip";      ///< what messages call the list
};
/// The same for what a new run starts from: weights, and the masks that the file has. Error with the nearest
/// name for an entry of `skip` that means no layer, neither the model's nor the file's; one of shapes that do
/// not fit says which layers to skip, where the others fit.
WeightsNotes load_weights(const std::filesystem::path& file, Module& model,
                          const WeightsOptions& options = {});

/// Puts back the weights and statistics that a stage of the model's own run ended with, in `file`; what masks
/// hold stays 0. Error if names or shapes do not fit: channels were cut since.
void rewind_weights(const std::filesystem::path& file, Module& model);

/// Gives it the weights and statistics of `fresh`, a model of the same shapes; what masks hold stays 0. Error
/// if shapes differ: the model is of a file whose channels were cut.
void take_fresh_weights(Module& fresh, Module& model);

/// `model` where this process computes (core/compute_device.h).
std::unique_ptr<Module> to_compute_device(std::unique_ptr<Module> model);

/// A model and what its file says of itself.
struct OpenedCheckpoint {
  std::unique_ptr<Module> model;
  CheckpointInfo info;
};
/// Rebuilds the model of such a file, ready for inference or for going on; `overrides` (--set) apply to the
/// config that was saved with it, or say of a program's file which data set there is (data.type=mnist). Names
/// and shapes are compared before memory is asked for.
OpenedCheckpoint open_checkpoint(const std::filesystem::path& file,
                                 const std::vector<std::string>& overrides = {});

}  // namespace espalier
