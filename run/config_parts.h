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
schema::Type<DistillConfig> distill_type();         // config_distill.cpp

/// A mistake for each teacher that is to be a stage which does not come before the one that learns from it;
/// `at`: where the stages are.
void check_teacher_stages(const std::vector<StageConfig>& stages,
                          const schema::Place& at);  // config_distill.cpp

/// The classes of a model that does not say them itself: the data set's, as far as its type says how many it
/// has; 0: that depends on its files. Data that are drawn have as many as the model has by the catalogue.
int64_t declared_classes(const ModelConfig& model, const DataConfig& data);  // config_data.cpp

}  // namespace espalier
