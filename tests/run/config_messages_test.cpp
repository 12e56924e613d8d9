// What is refused, and the message that says why.
#include <gtest/gtest.h>

#include <fstream>

#include "espalier/config/schema.h"
#include "espalier/data/datasets.h"
#include "espalier/nn/models/models.h"
#include "espalier/prune/pruner.h"
#include "espalier/run/build.h"
#include "espalier/run/config.h"
#include "espalier/train/loss.h"
#include "espalier/util/mistakes.h"
#include "espalier/util/spelling.h"
#include "run/minimal_config.h"
#include "support/bad_input.h"
#include "support/mistakes.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

using Json = nlohmann::ordered_json;

std::string refusal(const std::string& text, const std::vector<std::string>& overrides = {}) {
  return message_of([&] {
    try {
      parse_config(text, "x.json", overrides);
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      ADD_FAILURE() << "not a UsageError: " << error.what();
      throw;
    }
  });
}

// What stands in a field, and the message it gets.
struct Mistake {
  const char* pointer;
  const char* value;
  std::string message;
};

TEST(Config, MistakesAreNamed) {
  const std::string all_models = enumerated(models().names()), all_data = enumerated(datasets().names());
  const auto models_with = [](const char* option) { return enumerated(models().names_with(option), " or "); };
  const auto data_with = [](const char* option) { return enumerated(datasets().names_with(option), " or "); };
  const std::string optimizer_names = enumerated(optimizers().names()),
                    train_fields = enumerated(
                        config_description().find("stages")->inner().find("train")->type->field_names());
  const auto schedules_with = [](const char* option) {
    return enumerated(prune_schedules().names_with(option), " or ");
  };
  const Mistake mistakes[] = {
      // Names.
      {"/model/hiden", "[3]", "/model/hiden: no such field, did you mean 'hidden'?"},
      {"/zebra", "1", "/zebra: no such field, known: name, seed, precision, model, data, stages"},
      {"/stages/0/train/lr", "1", "/stages/0/train/lr: no such field, known: " + train_fields},
      {"/a~1b", "1", "/a~1b: no such field, known: name, seed, precision, model, data, stages"},
      {"/stages/2/export", "{}", "/stages/2/export: not built yet"},
      // What is missing.
      {"/model", "", "/model: missing, expected an object"},
      {"/data/type", "", "/data/type: missing, expected one of " + all_data},
      {"/stages", "", "/stages: missing, expected a list of at least 1, each an object"},
      {"/stages/0/name", "",
       "/stages/0/name: missing, expected a name of letters, digits, '-', '_' and '.', beginning with a "
       "letter or "
       "digit"},
      {"/stages/0/train/optimizer", "", "/stages/0/train/optimizer: missing, expected an object"},
      {"/stages/0/train/optimizer/lr", "",
       "/stages/0/train/optimizer/lr: missing, expected a number above 0"},
      {"/stages/0/train/optimizer/type", "",
       "/stages/0/train/optimizer/type: missing, expected one of " + optimizer_names},
      // Augmentations.
      {"/data/augment", "[{\"type\": \"crpo\"}]",
       "/data/augment/0/type: found the text \"crpo\", expected one of crop, flip, cutout, "
       "random_resized_crop, "
       "color_jitter, mixup, did you mean 'crop'?"},
      {"/data/augment", "[{\"type\": \"flip\"}, {\"type\": \"crop\"}]",
       "/data/augment/1/pad: missing, expected a whole number from 1 to 65536"},
      {"/data/augment", "[{\"type\": \"crop\", \"pad\": 4, \"probability\": 1}]",
       "/data/augment/0/probability: is for type flip, and the type is crop"},
      {"/data/augment", "[{\"type\": \"crop\", \"pad\": 4, \"fil\": \"zero\"}]",
       "/data/augment/0/fil: no such field, did you mean 'fill'?"},
      {"/data/augment", "[{\"type\": \"random_resized_crop\", \"scale\": [0.5, 0.2]}]",
       "/data/augment/0/scale/1: found 0.2, expected at least the number before it: 0.5"},
      {"/data/augment", "[{\"type\": \"crop\", \"pad\": 28, \"fill\": \"reflect\"}]",
       "/data/augment/0/pad: found 28, but images [28, 28, 1] reflect at most 27"},
      {"/data/augment", "[{\"type\": \"cutout\", \"size\": 29}]",
       "/data/augment/0/size: found 29, but images are [28, 28, 1]"},
      {"/data/augment", "[{\"type\": \"mixup\", \"alpha\": 1}, {\"type\": \"flip\"}]",
       "/data/augment/0/type: mixup mixes finished images, so it is the last of its list"},
      {"/stages/0/train/accumulate", "0",
       "/stages/0/train/accumulate: found 0, expected a whole number from 1 to 1000000"},
      {"/stages/2/evaluate", "{\"filp\": true}",
       "/stages/2/evaluate/filp: no such field, did you mean 'flip'?"},
      // Types and ranges.
      {"/stages/0/train/epochs", "-1",
       "/stages/0/train/epochs: found -1, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "0",
       "/stages/0/train/epochs: found 0, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "3.5",
       "/stages/0/train/epochs: found 3.5, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "\"3\"",
       "/stages/0/train/epochs: found the text \"3\", expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "null",
       "/stages/0/train/epochs: found null, expected a whole number of at least 1"},
      {"/stages/0/train/epochs", "1e300",
       "/stages/0/train/epochs: found 1e+300, expected a whole number from 1 to 1000000000"},
      {"/stages/0/train/epochs", "18446744073709551615",
       "/stages/0/train/epochs: found 18446744073709551615, expected a whole number from 1 to 1000000000"},
      {"/stages", "[]", "/stages: found a list of 0, expected a list of at least 1, each an object"},
      {"/stages", "{}", "/stages: found an object, expected a list of at least 1, each an object"},
      {"/stages/0", "3", "/stages/0: found 3, expected an object"},
      {"/model", "\"mlp\"", "/model: found the text \"mlp\", expected an object"},
      {"/seed", "-1", "/seed: found -1, expected a whole number from 0 to 9007199254740991"},
      {"/seed", "9007199254740992",
       "/seed: found 9007199254740992, expected a whole number from 0 to 9007199254740991"},
      {"/data/shuffle", "1", "/data/shuffle: found 1, expected true or false"},
      {"/data/batch", "0", "/data/batch: found 0, expected a whole number of at least 1"},
      {"/data/validation", "1", "/data/validation: found 1, expected a number from 0 to below 1"},
      {"/model/weights", "\"\"", "/model/weights: found the text \"\", expected text"},
      {"/model/weights", "3", "/model/weights: found 3, expected text"},
      {"/model/input", "[28, 28]",
       "/model/input: found a list of 2, expected a list of 3, each a whole number from 1 to 65536"},
      {"/model/input", "[28, 0, 1]", "/model/input/1: found 0, expected a whole number from 1 to 65536"},
      {"/model/width", "0", "/model/width: found 0, expected a number from 0.01 to 100"},
      {"/model/hidden", "[3, [1]]",
       "/model/hidden/1: found a list of 1, expected a whole number from 1 to 1000000"},
      {"/stages/0/train/optimizer/lr", "0",
       "/stages/0/train/optimizer/lr: found 0, expected a number above 0"},
      {"/stages/0/train/optimizer/lr", "1e39",
       "/stages/0/train/optimizer/lr: found 1e+39, expected a number of at most 3.40282e+38"},
      {"/stages/0/train/optimizer/momentum", "1",
       "/stages/0/train/optimizer/momentum: found 1, expected a number from 0 to below 1"},
      {"/stages/0/train/optimizer/decay", R"({"bias": -1})",
       "/stages/0/train/optimizer/decay/bias: found -1, expected a number of at least 0"},
      {"/stages/0/train/optimizer/decay", "0",
       "/stages/0/train/optimizer/decay: found 0, expected an object that gives each layer or kind a number "
       "of at least 0"},
      {"/stages/0/train/label_smoothing", "1.0",
       "/stages/0/train/label_smoothing: found 1.0, expected a number from 0 to below 1"},
      {"/stages/3/train/optimizer/betas", "[0.9]",
       "/stages/3/train/optimizer/betas: found a list of 1, expected a list of 2, each a number from 0 to "
       "below 1"},
      {"/stages/3/train/optimizer/betas", "[0.9, 1]",
       "/stages/3/train/optimizer/betas/1: found 1, expected a number from 0 to below 1"},
      {"/stages/1/prune/sparsity", "1.5",
       "/stages/1/prune/sparsity: found 1.5, expected a number from 0 to 1"},
      {"/stages/1/prune/sparsity", "-0.1",
       "/stages/1/prune/sparsity: found -0.1, expected a number from 0 to 1"},
      {"/stages/1/prune/include", "[\"\"]", "/stages/1/prune/include/0: found the text \"\", expected text"},
      // Names of things.
      {"/model/type", "\"lenet55\"",
       "/model/type: found the text \"lenet55\", expected one of " + all_models + ", did you mean 'lenet5'?"},
      {"/model/type", "5", "/model/type: found 5, expected one of " + all_models},
      {"/model/stem", "\"small\"",
       "/model/stem: is for type " + models_with("stem") + ", and the type is mlp"},
      {"/model/batch_norm", "false",
       "/model/batch_norm: is for type " + models_with("batch_norm") + ", and the type is mlp"},
      {"/stages/0/train/optimizer/type", "\"adan\"",
       "/stages/0/train/optimizer/type: found the text \"adan\", expected one of " + optimizer_names +
           ", did you mean 'adam'?"},
      {"/stages/0/train/loss", "\"mse\"",
       "/stages/0/train/loss: found the text \"mse\", expected one of " + enumerated(losses().names())},
      {"/stages/1/prune/unit", "\"rows\"",
       "/stages/1/prune/unit: found the text \"rows\", expected one of weight, filter, column, kernel, "
       "block, "
       "layer, channel, row or n:m, such as 2:4, did you mean 'row'?"},
      {"/stages/1/prune", R"({"unit": "4:2", "sparsity": 0.5})",
       "/stages/1/prune/unit: found the text \"4:2\", expected n:m with 0 < n < m, such as 2:4"},
      {"/stages/1/prune", R"({"unit": "2:4", "sparsity": 0.5})",
       "/stages/1/prune/sparsity: is for unit weight, filter, row, column, kernel, block or layer, and the "
       "unit "
       "is n:m"},
      {"/stages/1/prune", R"({"unit": "block", "sparsity": 0.5})",
       "/stages/1/prune/block: missing, expected a list of 2, each a whole number from 1 to 4096"},
      {"/stages/1/prune", R"({"unit": "layer", "scope": "layer", "sparsity": 0.5})",
       "/stages/1/prune/scope: scope layer ranks the units of each layer, and a layer is one: expected "
       "global or "
       "isomorphic"},
      {"/stages/1/prune/apply", "\"cut\"",
       "/stages/1/prune/apply: weights cannot be cut out of a network that stays dense, for others read or "
       "make "
       "the same numbers: expected apply zero, or unit channel"},
      {"/stages/1/prune", R"({"unit": "channel", "ratio": 0.5, "apply": "zero", "verify": true})",
       "/stages/1/prune/verify: compares a cut network with the masked one, and here nothing is cut: apply "
       "is "
       "zero"},
      {"/stages/1/prune", R"({"unit": "channel", "ratio": 0.5, "remove": true})",
       "/stages/1/prune/remove: lets go of masks, and what is cut has none: apply is cut"},
      {"/stages/1/prune/speedup", "2",
       "/stages/1/prune/speedup: is for unit channel, and the unit is weight"},
      {"/stages/1/prune/unit", "\"channel\"",
       "/stages/1/prune/sparsity: is for unit weight, filter, row, column, kernel, block or layer, and the "
       "unit "
       "is channel"},
      {"/stages/1/prune/criterion", "\"bn_scale\"",
       "/stages/1/prune/criterion: criterion bn_scale goes by the scales of batch norms, which are of "
       "channels: "
       "expected unit channel"},
      {"/stages/1/prune/criterion", "\"fpgm\"",
       "/stages/1/prune/criterion: criterion fpgm goes by the distances of a layer's filters from each "
       "other: "
       "expected unit filter, column or channel"},
      {"/stages/0/train/regularize", R"({"type": "group_norn"})",
       "/stages/0/train/regularize/type: found the text \"group_norn\", expected one of " +
           enumerated(penalties().names()) + ", did you mean 'group_norm'?"},
      {"/stages/0/train/regularize", R"({"type": "greg1", "most": 2})",
       "/stages/0/train/regularize: field 'most' is now called 'max'"},
      {"/stages/1/prune/scope", "\"ekr\"",
       "/stages/1/prune/scope: found the text \"ekr\", expected one of " + enumerated(scopes().names()) +
           ", did you mean 'erk'?"},
      {"/stages/1/prune/scope", "\"glabal\"",
       "/stages/1/prune/scope: found the text \"glabal\", expected one of " + enumerated(scopes().names()) +
           ", did you mean 'global'?"},
      // Names of files and folders.
      {"/name", "\"a/b\"",
       "/name: found the text \"a/b\", expected a name of letters, digits, '-', '_' and '.', beginning with "
       "a letter "
       "or digit"},
      {"/name", "\"..\"",
       "/name: found the text \"..\", expected a name of letters, digits, '-', '_' and '.', beginning with a "
       "letter or "
       "digit"},
      {"/stages/1/name", "\"dense\"", "/stages/1/name: \"dense\" is the name of /stages/0, too"},
      // Fields that do not go together.
      {"/model", R"({"type": "lenet5", "hidden": [3]})",
       "/model/hidden: is for type " + models_with("hidden") + ", and the type is lenet5"},
      {"/model/pool", "\"max\"",
       "/model/pool: is for type lenet5, vgg11, vgg13, vgg16, vgg19, resnet18, resnet34, resnet50, resnet101 "
       "or resnet152, and the type is mlp"},
      {"/stages/0/train/optimizer/betas", "[0.9, 0.99]",
       "/stages/0/train/optimizer/betas: is for type adam or adamw, and the type is sgd"},
      {"/stages/3/train/optimizer/momentum", "0.9",
       "/stages/3/train/optimizer/momentum: is for type sgd, and the type is adam"},
      {"/stages/0/train/optimizer/nesterov", "true",
       "/stages/0/train/optimizer/nesterov: found true, which needs a momentum above 0"},
      {"/stages/0/train/schedule", R"({"type": "cosine", "gamma": 0.5})",
       "/stages/0/train/schedule/gamma: is for type " +
           enumerated(learning_rate_schedules().names_with("gamma"), " or ") + ", and the type is cosine"},
      {"/stages/0/train/schedule", R"({"type": "cosine", "min_lr": 0.2})",
       "/stages/0/train/schedule/min_lr: found 0.2, expected at most the optimizer's lr: 0.1"},
      {"/stages/0/train/schedule", R"({"type": "step"})",
       "/stages/0/train/schedule/step_size: missing, expected a whole number of at least 1"},
      {"/stages/0/train/schedule", R"({"type": "warmup"})",
       "/stages/0/train/schedule/warmup_steps: found 0, type warmup needs at least 1, or warmup_epochs "
       "above 0"},
      {"/stages/0/train/schedule", R"({"type": "cosine", "warmup_steps": 3, "warmup_epochs": 0.5})",
       "/stages/0/train/schedule/warmup_epochs: found 0.5, and warmup_steps says it already: 3"},
      {"/stages/0/train/schedule", R"({"type": "multistep", "milestones": [3, 3]})",
       "/stages/0/train/schedule/milestones: found [3,3], expected each to be above the one before"},
      {"/stages/0/train/schedule", R"({"type": "multistep", "milestones": []})",
       "/stages/0/train/schedule/milestones: found a list of 0, expected a list of at least 1, each a whole "
       "number of "
       "at least 1"},
      {"/stages/0/train/steps", "3",
       "/stages/0/train: found epochs and steps, expected exactly one of epochs, steps"},
      {"/stages/0/train/epochs", "", "/stages/0/train: found none, expected exactly one of epochs, steps"},
      {"/stages/0/prune", R"({"sparsity": 0.5})",
       "/stages/0: found train and prune, expected exactly one of train, prune, evaluate, stages"},
      {"/stages/2/evaluate", "",
       "/stages/2: found none, expected exactly one of train, prune, evaluate, stages"},
      {"/stages/2/evaluate/batch", "3",
       "/stages/2/evaluate/batch: no such field, known: flip, reestimate_norm"},
      {"/stages/1/prune/quantile", "0.5",
       "/stages/1/prune: found sparsity and quantile, expected exactly one of sparsity, threshold, quantile"},
      {"/stages/1/prune/sparsity", "",
       "/stages/1/prune: found none, expected exactly one of sparsity, threshold, quantile"},
      {"/stages/1/prune/schedule", R"({"type": "one_shot"})",
       "/stages/1/prune/schedule: is for a pruner inside 'train', this one acts at once"},
      {"/stages/3/train/prune/schedule", "",
       "/stages/3/train/prune/schedule: missing, a pruner inside 'train' needs one"},
      {"/stages/3/train/prune/schedule/end", "10",
       "/stages/3/train/prune/schedule/end: found 10, expected more than begin: 10"},
      {"/stages/3/train/prune/schedule/end", "50",
       "/stages/3/train/prune/schedule/end: found 50, but the last of 50 steps is 49"},
      {"/stages/3/train/prune/schedule/every", "0",
       "/stages/3/train/prune/schedule/every: found 0, expected a number above 0"},
      {"/stages/3/train/prune/schedule/every", "2.5",
       "/stages/3/train/prune/schedule/every: found 2.5, expected a whole number of steps; \"in\": "
       "\"epochs\" or "
       "\"share\" counts otherwise"},
      {"/stages/3/train/prune/schedule", R"({"type": "cubic", "in": "share", "begin": 10})",
       "/stages/3/train/prune/schedule/begin: found 10, expected at most 1, the whole stage"},
      {"/stages/0/train/prune",
       R"({"sparsity": 0.5, "schedule": {"type": "cubic", "in": "epochs", "end": 3.5}})",
       "/stages/0/train/prune/schedule/end: found 3.5, but the stage has 3 epochs"},
      {"/stages/3/train/prune/schedule/initial", "0.95",
       "/stages/3/train/prune/schedule/initial: found 0.95, expected at most sparsity: 0.9"},
      {"/stages/3/train/prune",
       R"({"unit": "channel", "ratio": 0.5, "schedule": {"type": "cubic", "initial": 0.2}})",
       "/stages/3/train/prune/schedule/initial: is the sparsity to begin with, and there is no 'sparsity' to "
       "end with"},
      {"/stages/3/train/prune/schedule", R"({"type": "one_shot", "begin": 50})",
       "/stages/3/train/prune/schedule/begin: found 50, but the last of 50 steps is 49"},
      {"/stages/3/train/prune/schedule", R"({"type": "one_shot", "every": 5})",
       "/stages/3/train/prune/schedule/every: is for type " + schedules_with("every") +
           ", and the type is one_shot"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.1], [5, 0.9]]})",
       "/stages/3/train/prune/schedule/table/1/0: found 5, expected more than in the row before: 5"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.95], [6, 0.9]]})",
       "/stages/3/train/prune/schedule/table/1/1: found 0.9, expected at least that of the row before: 0.95; "
       "what is pruned is not given back"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.1], [50, 0.9]]})",
       "/stages/3/train/prune/schedule/table/1/0: found 50, but the last of 50 steps is 49"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.1], [6.5, 0.9]]})",
       "/stages/3/train/prune/schedule/table/1/0: found 6.5, expected a whole number of steps; \"in\": "
       "\"epochs\" or \"share\" counts otherwise"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.1], [6, 1.9]]})",
       "/stages/3/train/prune/schedule/table/1/1: found 1.9, expected a number from 0 to 1"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.1], [6]]})",
       "/stages/3/train/prune/schedule/table/1: found a list of 1, expected a list of 2, each a number"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": []})",
       "/stages/3/train/prune/schedule/table: found a list of 0, expected a list of at least 1, each a list "
       "of 2, each a number"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "table": [[5, 0.1], [6, 0.8]]})",
       "/stages/3/train/prune/schedule/type: found \"table\", which ends at 0.8, and sparsity is 0.9"},
      {"/stages/3/train/prune/schedule", R"({"type": "table", "begin": 3, "table": [[5, 0.9]]})",
       "/stages/3/train/prune/schedule/begin: is for type " + schedules_with("begin") +
           ", and the type is table"},
      {"/stages/3/train/prune/schedule", R"({"type": "table"})",
       "/stages/3/train/prune/schedule/table: missing, expected a list of [step, sparsity], sparsities from "
       "0 "
       "to 1"},
      {"/stages/3/train/prune/schedule", R"({"type": "alternating", "initial": 0.1})",
       "/stages/3/train/prune/schedule/initial: is for type " + schedules_with("initial") +
           ", and the type is alternating"},
      {"/stages/3/train/prune", R"({"sparsity": 1, "allow_empty": true, "schedule": {"type": "geometric"}})",
       "/stages/3/train/prune/schedule/type: found \"geometric\", which takes the same share of what is left "
       "each time, which comes to no sparsity of 1"},
      {"/stages/3/train/prune", R"({"unit": "channel", "ratio": 0.5, "schedule": {"type": "geometric"}})",
       "/stages/3/train/prune/schedule/type: found \"geometric\", which is of a sparsity, and not of ratio"},
      {"/stages/3/train/prune/of", "\"remaining\"",
       "/stages/3/train/prune/schedule/type: found \"cubic\", which counts from the original network at each "
       "of its steps, so that a run which goes on counts as the one that began, and what had remained then "
       "is "
       "not known: expected of original, or one_shot"},
      {"/stages/3/train/prune", R"({"sparsity": 0.5, "hold": false, "schedule": {"type": "one_shot"}})",
       "/stages/3/train/prune/schedule/type: found \"one_shot\", which acts once, and what goes last is "
       "held: "
       "expected hold true, or another schedule"},
      {"/stages/1/prune/hold", "false",
       "/stages/1/prune/hold: is for a pruner inside 'train', this one acts once, and what goes is held"},
      {"/stages/3/train/prune/rewind", "\"dense\"",
       "/stages/3/train/prune/rewind: is for a stage that prunes at once"},
      {"/stages/1/prune/rewind", "\"dnese\"",
       "/stages/1/prune/rewind: found \"dnese\", expected an earlier stage, did you mean 'dense'?"},
      {"/stages/1/prune/rewind", "\"gradual\"",
       "/stages/1/prune/rewind: found \"gradual\", expected an earlier stage, known: dense"},
      {"/stages/0", R"({"name": "first", "prune": {"sparsity": 0.5, "rewind": "first"}})",
       "/stages/0/prune/rewind: found \"first\", but no stage comes before this one"},
      {"/stages/1/prune", R"({"sparsity": 0.5, "rewind": "dense", "reinitialize": true})",
       "/stages/1/prune/reinitialize: makes new weights, and 'rewind' goes back to old ones: expected the "
       "one "
       "or the other"},
      {"/stages/3/train/prune/reinitialize", "true",
       "/stages/3/train/prune/reinitialize: is for a stage that prunes at once"},
      {"/stages/2", R"({"name": "cut", "prune": {"unit": "channel", "ratio": 0.5, "rewind": "dense"}})",
       "/stages/2/prune/rewind: is for unit weight, filter, row, column, kernel, block, layer or n:m, and "
       "the unit is channel"},
      {"/stages/1/prune/sparsity_of", R"({"fc1": 1.5})",
       "/stages/1/prune/sparsity_of/fc1: found 1.5, expected a number from 0 to 1"},
      {"/stages/1/prune/sparsity_of", R"({"fc1": 0.5})",
       "/stages/1/prune/sparsity_of: layers have shares of their own where each is ranked, and scope is "
       "global: expected scope " +
           enumerated(scopes().names_where([](const Scope& one) { return one.within_layers(); }))},
      {"/stages/1/prune", R"({"sparsity": 0.5, "scope": "output", "criterion": "sparsegpt"})",
       "/stages/1/prune/scope: criterion sparsegpt chooses for itself among all weights of 128 columns of a "
       "layer: expected another scope than output"},
      {"/stages/1/prune", R"({"sparsity": 0.5, "scope": "output", "of": "remaining"})",
       "/stages/1/prune/of: what remains is counted by layer, and scope output takes a share of each "
       "output's "
       "inputs: expected of original"},
      {"/stages/1/prune", R"({"sparsity": 0.5, "scope": "output", "min_ratio": 0.1})",
       "/stages/1/prune/min_ratio: limits are of layers, and scope output takes the same share of each "
       "output's "
       "inputs: expected another scope"},
      {"/stages/1/prune",
       R"({"sparsity": 0.5, "scope": "output", "overrides": [{"layers": ["fc1"], "max_ratio": 0.5}]})",
       "/stages/1/prune/overrides: limits are of layers, and scope output takes the same share of each "
       "output's "
       "inputs: expected another scope"},
      {"/stages/1/prune", R"({"unit": "filter", "sparsity": 0.5, "scope": "output"})",
       "/stages/1/prune/scope: scope output ranks what is between a layer's inputs and one output, and "
       "filters "
       "are not: expected unit weight or kernel"},
      {"/stages/1/prune", R"({"threshold": 0.5, "scope": "erk"})",
       "/stages/1/prune/scope: scope erk goes with sparsity, of which each layer has its part, and not with "
       "threshold"},
      {"/stages/1/prune", R"({"quantile": 0.5, "of": "remaining"})",
       "/stages/1/prune/of: of remaining goes with sparsity, of which each layer has its part, and not with "
       "quantile"},
      {"/stages/1/prune", R"({"unit": "channel", "ratio": 0.5, "scope": "uniform"})",
       "/stages/1/prune/scope: scope uniform gives each layer a share of its own, and a channel is of "
       "several "
       "layers: expected layer, global, isomorphic"},
      {"/stages/1/prune/pad", "true", "/stages/1/prune/pad: is for unit n:m, and the unit is weight"},
      // Rounds.
      {"/stages/1", R"({"name": "round", "stages": [{"name": "a", "evaluate": {}}]})",
       "/stages/1/repeat: missing, expected how often the round's stages are run"},
      {"/stages/2/repeat", "2", "/stages/2/repeat: is for a round, which has 'stages'"},
      {"/stages/1", R"({"name": "round", "repeat": 0, "stages": [{"name": "a", "evaluate": {}}]})",
       "/stages/1/repeat: found 0, expected a whole number from 1 to 1000"},
      {"/stages/1", R"({"name": "round", "repeat": 2, "stages": []})",
       "/stages/1/stages: found a list of 0, expected a list of at least 1, each an object"},
      {"/stages/1", R"({"name": "round", "repeat": 2, "stages": [{"name": "a", "prune": {"sparsity": 2}}]})",
       "/stages/1/stages/0/prune/sparsity: found 2, expected a number from 0 to 1"},
      {"/stages/1",
       R"({"name": "round", "repeat": 2, "stages": [{"name": "a", "repeat": 2, "evaluate": {}}]})",
       "/stages/1/stages/0/repeat: no such field, known: name, train, prune, evaluate"},
      {"/stages/1",
       R"({"name": "round", "repeat": 2, "stages": [{"name": "a", "evaluate": {}}, {"name": "a", "evaluate": {}}]})",
       "/stages/1/stages/1/name: \"round1.a\" is the name of /stages/1/stages/0, too"},
      {"/stages/1",
       R"({"name": "round", "repeat": 900, "stages": [{"name": "a", "evaluate": {}}, {"name": "b", "evaluate": {}}]})",
       "/stages/1/repeat: found 900, which makes more than 1000 stages"},
      {"/stages/1",
       R"({"name": "round", "repeat": 2, "stages": [{"name": "a", "prune": {"sparsity": 0.2, "rewind": "a"}}]})",
       "/stages/1/stages/0/prune/rewind: found \"a\", expected an earlier stage, known: dense"},
      {"/stages/3/train/prune", R"({"threshold": 0.1, "schedule": {"type": "cubic"}})",
       "/stages/3/train/prune/schedule/type: found \"cubic\", which needs 'sparsity', or a target of "
       "channels; 'threshold', 'quantile' and n:m go only with one_shot"},
      {"/stages/1/prune", R"({"unit": "channel", "ratio": 0.5, "max_ratio": 0.4, "min_ratio": 0.5})",
       "/stages/1/prune/max_ratio: found 0.4, expected at least min_ratio: 0.5"},
      {"/stages/1/prune",
       R"({"unit": "channel", "ratio": 0.5, "min_ratio": 0.5, "overrides": [{"layers": ["a"], "max_ratio": 0.4}]})",
       "/stages/1/prune/overrides/0/max_ratio: found 0.4, expected at least min_ratio: 0.5"},
      {"/stages/0/train/early_stop", "{}",
       "/stages/0/train/early_stop: needs images to judge by: /data/validation above 0"},
      {"/data/path", "\"p\"", "/data/path: is for type " + data_with("path") + ", and the type is synthetic"},
      {"/data/remap", "true",
       "/data/remap: is for type " + data_with("remap") + ", and the type is synthetic"},
      {"/data", R"({"type": "cifar10", "labels": "fine"})",
       "/data/labels: is for type " + data_with("labels") + ", and the type is cifar10"},
      {"/data", R"({"type": "cifar100", "labels": "coarce"})",
       "/data/labels: found the text \"coarce\", expected one of fine, coarse, did you mean 'coarse'?"},
      {"/data", R"({"type": "image_folder"})",
       "/data/path: missing, expected the folder or archive that image_folder reads"},
      {"/data", R"({"type": "cifar10", "skip_corrupt": true})",
       "/data/skip_corrupt: is for type " + data_with("skip_corrupt") + ", and the type is cifar10"},
      {"/data/normalize", R"({"mean": [0.1], "std": [0.1, 0.2]})",
       "/data/normalize/std: found 2 values, expected as many as in 'mean': 1"},
      {"/data/normalize", R"({"mean": [0.1], "std": [0]})",
       "/data/normalize/std/0: found 0, expected a number above 0"},
      {"/data/normalize", R"({"mean": [0.1, 0.1], "std": [0.1, 0.2]})",
       "/data/normalize/mean: found 2 values, expected one per channel of the model's input: 1"},
  };
  for (const Mistake& mistake : mistakes) {
    EXPECT_EQ(refusal(with(mistake.pointer, mistake.value).dump()), "x.json: " + mistake.message)
        << mistake.pointer << " " << mistake.value;
  }
  EXPECT_EQ(refusal("[]"), "x.json: found a list of 0, expected an object");
  EXPECT_EQ(refusal(with("/stages/0/train/regularize", R"({"type": "greg1"})").dump(),
                    {"stages.dense.train.regularize.most=2"}),
            "--set stages.dense.train.regularize.most=2: stages.dense.train.regularize.most: field 'most' is "
            "now called 'max'");
}

TEST(Config, AllMistakesAreTold) {
  Json json = with("/model/hiden", "[3]");
  json["data"]["batch"] = 0;
  json["stages"][0]["train"].erase("optimizer");
  json["stages"][1]["prune"]["sparsity"] = 1.5;
  json["stages"][2]["name"] = "dense";
  json["stages"][3]["train"]["schedule"] = {{"type", "cosine"}, {"min_lr", 1}};
  json["stages"][3]["train"]["prune"].erase("schedule");
  const auto told = [&](const std::vector<std::string>& overrides) {
    return mistakes_of([&] { parse_config(json.dump(), "x.json", overrides); });
  };
  const std::vector<std::string> lines{
      "x.json: /model/hiden: no such field, did you mean 'hidden'?",
      "x.json: /data/batch: found 0, expected a whole number of at least 1",
      "x.json: /stages/0/train/optimizer: missing, expected an object",
      "x.json: /stages/1/prune/sparsity: found 1.5, expected a number from 0 to 1",
      "x.json: /stages/3/train/schedule/min_lr: found 1, expected at most the optimizer's lr: 0.1",
      "x.json: /stages/3/train/prune/schedule: missing, a pruner inside 'train' needs one",
      "x.json: seed: found -1, expected a whole number from 0 to 9007199254740991 (set on the command line)",
      "x.json: /stages/2/name: \"dense\" is the name of /stages/0, too",
      "x.json: 8 mistakes"};
  EXPECT_EQ(told({"seed=-1"}), lines);
  const std::vector<std::string> of_overrides{
      "--set sed=1: sed: no such field, did you mean 'seed'?",
      "--set stages.dnese.name=a: stages: no element 'dnese' in a list of 4, did you mean 'dense'?",
      "x.json: 2 mistakes"};
  EXPECT_EQ(told({"sed=1", "stages.dnese.name=a"}), of_overrides);
}

TEST(Config, CommentsAndTrailingCommasAreAPersons) {
  const TemporaryFolder folder;
  const std::string text = "// a try\n" + minimal().dump(1) + "\n/* the end */";
  std::ofstream(folder / "c.json") << text;
  EXPECT_EQ(load_config(folder / "c.json").stages.size(), 4u);
  EXPECT_EQ(refusal(text), "x.json:1:1: not JSON: JSON has no comments") << "of what a checkpoint holds";
}

TEST(Config, AFileNameThatIsNoFolderNameIsRefused) {
  EXPECT_TRUE(contains(message_of([] { parse_config(minimal().dump(), "my config.json"); }),
                       "my config.json: /name: found the text \"my config\", expected a name of letters"));
}

TEST(Config, MessagesAreOneShortLine) {
  const std::string message =
      refusal(with("/data/type", '"' + std::string(5000, 'a') + "\\n\\u0000\"").dump());
  EXPECT_LT(message.size(), 300u);
  Json json = minimal();
  json["line\nbreak" + std::string(5000, 'b')] = 1;
  EXPECT_LT(refusal(json.dump()).size(), 300u);
}

TEST(Config, MessagesSayWhatTheCommandLineHasSet) {
  EXPECT_EQ(refusal(minimal().dump(), {"stages.dense.train.epochs=-1"}),
            "x.json: stages.dense.train.epochs: found -1, expected a whole number of at least 1 (set on the "
            "command line)");
  EXPECT_EQ(refusal(minimal().dump(), {"data={\"type\": \"mnits\"}"}),
            "x.json: data.type: found the text \"mnits\", expected one of " + enumerated(datasets().names()) +
                ", did you mean 'mnist'? (set on the command line)");
  EXPECT_EQ(refusal(with("/seed", "-1").dump(), {"stages.dense.train.epochs=1"}),
            "x.json: /seed: found -1, expected a whole number from 0 to 9007199254740991");
}

TEST(Config, MessagesSpeakThePathThatWasTyped) {
  // Of what stands above the value,
  EXPECT_EQ(
      refusal(minimal().dump(), {"stages.dense.prune.sparsity=0.5"}),
      "x.json: stages.dense: found train and prune, expected exactly one of train, prune, evaluate, stages; "
      "--set "
      "stages.dense.train=null takes the other away");
  EXPECT_EQ(
      refusal(minimal().dump(), {"/stages/dense/prune/sparsity=0.5"}),
      "x.json: /stages/dense: found train and prune, expected exactly one of train, prune, evaluate, stages; "
      "--set "
      "/stages/dense/train=null takes the other away");
  EXPECT_NO_THROW(parse(minimal(), {"stages.dense.prune.sparsity=0.5", "stages.dense.train=null"}));
  EXPECT_EQ(refusal(minimal().dump(), {"stages.dense.train.steps=3", "stages.dense.train.epochs=3"}),
            "x.json: stages.dense.train: found epochs and steps, expected exactly one of epochs, steps");
  // of what it does not go with,
  EXPECT_EQ(
      refusal(with("/stages/0/train/schedule", R"({"type": "cosine", "min_lr": 0.05})").dump(),
              {"stages.dense.train.optimizer.lr=0.01"}),
      "x.json: stages.dense.train.schedule.min_lr: found 0.05, expected at most the optimizer's lr: 0.01");
  EXPECT_EQ(refusal(minimal().dump(), {"stages.pruned.name=dense"}),
            "x.json: stages.pruned.name: \"dense\" is the name of stages.0, too (set on the command line)");
  // and of what the network does not have.
  const Config config = parse(minimal(), {R"(stages.dense.train.freeze=["fcx"])"});
  const auto model = make_model(config.model, 0);
  const auto refused = [&](const Config& one) {
    Mistakes mistakes;
    check_stages(one, *model, {}, true, mistakes);
    return message_of([&] { mistakes.report("x.json"); });
  };
  EXPECT_TRUE(contains(refused(config), "x.json: stages.dense: train: freeze 'fcx' names no layer"));
  EXPECT_TRUE(contains(refused(parse(with("/stages/0/train/freeze", R"(["fcx"])"))),
                       "x.json: /stages/0 (dense): train: freeze 'fcx' names no layer"));
}

TEST(Config, AFileThatCannotBeReadIsRefused) {
  const TemporaryFolder folder;
  const std::string file = (folder.path() / "none.json").string();
  EXPECT_THROW(load_config(file), UsageError);
  EXPECT_TRUE(contains(message_of([&] { load_config(file); }), file));
  EXPECT_THROW(load_config(folder.path().string()), UsageError);
}

}  // namespace
}  // namespace espalier
