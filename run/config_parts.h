// The parts of a config's declaration, which config.cpp puts together: a function for each object, in a file
// for each of its larger parts.
#pragma once

#include "espalier/config/schema.h"
#include "espalier/run/config.h"

namespace espalier {

namespace schema {

inline const Bounds share = {.from = 0, .to = 1};
inline const Bounds share_below_1 = {.from = 0, .below = 1};
inline const Bounds not_negative = {.from = 0};
inline const Bounds positive = {.above = 0};

}  // namespace schema

inline const char* const reestimate_help =
    "training batches that batch norms' running statistics are taken from anew before it is measured, as "
    "weights that were averaged or pruned need; 0: none";

schema::Type<std::vector<LayerSpec>> layer_list();  // config_layers.cpp
schema::Type<ModelConfig> model_type();             // config_data.cpp
schema::Type<DataConfig> data_type();               // config_data.cpp
schema::Type<PruneConfig> prune_type();             // config_prune.cpp
schema::Type<PenaltyOptions> regularize_type();     // config_prune.cpp
schema::Type<RegrowConfig> regrow_type();           // config_regrow.cpp

/// A number of steps, epochs or stages; an integer is written without a point.
schema::Type<double> amount(const schema::Bounds& range);  // config_prune.cpp
/// UsageError for one that is no whole number of steps, or more than the whole stage.
void check_amount(const schema::Place& at, double value, const std::string& in);  // config_prune.cpp

/// Whether a pruner in one of the stages up to this leaves masks that this one finds, or makes.
bool stages_bring_masks(const Config& config, size_t stage);  // config_regrow.cpp
/// A mistake for each stage whose regrow has nothing to move, or would tear what a pruner masks.
void check_masks_to_move(const Config& config, const schema::Place& at);  // config_regrow.cpp
inline const char* const no_masks_to_move =
    "moves masks, and there are none: expected a stage before it that prunes weights (without 'remove'), "
    "'prune' beside it, or weights that have masks";
schema::Type<DistillConfig> distill_type();  // config_distill.cpp

/// A mistake for each teacher that is to be a stage which does not come before the one that learns from it.
void check_teacher_stages(const Config& config, const schema::Place& at);  // config_distill.cpp
/// Where a stage stands in the config, whose own place is `at`; a round's is inside the round.
schema::Place place_of_stage(const Config& config, size_t stage, schema::Place at);  // config.cpp

/// The classes of a model that does not say them itself: the data set's, as far as its type says how many it
/// has; 0: that depends on its files. Data that are drawn have as many as the model has by the catalogue.
int64_t declared_classes(const ModelConfig& model, const DataConfig& data);  // config_data.cpp

}  // namespace espalier
