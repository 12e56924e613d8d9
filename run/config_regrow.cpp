// The declaration of masks that move while a stage trains, and what must be there for them to move.
#include "espalier/config/extra_fields.h"
#include "espalier/prune/regrow.h"
#include "espalier/prune/schedule.h"
#include "espalier/run/config_parts.h"
#include "espalier/train/prune_event.h"

namespace espalier {

using namespace schema;

namespace {

/// What a method has where a config does not say it.
void take_method(RegrowConfig& r) {
  const RegrowthInfo& method = regrowths().named(r.type);
  r.share = method.share;
  r.min_share = method.min_share;
  r.in = method.in;
  r.extra = r.extra.with_defaults(method.extra, "regrow " + method.name);
}

void check_regrow(const RegrowConfig& r, const Place& at) {
  check_amount(at / "begin", r.begin, r.in);
  if (r.every) check_amount(at / "every", *r.every, r.in);
  if (r.min_share > r.share)
    (at / "min_share").mistake("found ", r.min_share, ", expected at most share: ", r.share);
  if (!r.end) return;
  check_amount(at / "end", *r.end, r.in);
  if (*r.end < r.begin) (at / "end").fail("found ", *r.end, ", expected at least begin: ", r.begin);
}

}  // namespace

Type<RegrowConfig> regrow_type() {
  const auto with = [](const char* option) { return regrowths().names_with(option); };
  const std::vector<Field<RegrowConfig>> fields = {
      field("type", &RegrowConfig::type, one_of(regrowths().names()),
            help_with_rows("how masks move: active weights drop, the smallest first, and as many others come "
                           "back; `espalier help regrowths`",
                           regrowths()))
          .required(),
      field("share", &RegrowConfig::share, number(share),
            "share of each layer's active weights that drops, at begin")
          .only_for(with("share")),
      field("min_share", &RegrowConfig::min_share, number(share), "the same at end")
          .only_for(with("min_share")),
      field("anneal", &RegrowConfig::anneal, one_of(anneal_names()),
            "how the share goes from the one to the other: not at all, or as schedules of sparsity do, of "
            "which cosine is share / 2 (1 + cos(pi p))")
          .only_for(with("anneal")),
      field("momentum", &RegrowConfig::momentum, number(share_below_1),
            "what a step leaves of the moving average of gradients")
          .only_for(with("momentum")),
      field("in", &RegrowConfig::in, one_of(time_unit_names()),
            "what begin, end and every count: steps, epochs or share of the stage, as in a prune's schedule"),
      field("begin", &RegrowConfig::begin, amount(not_negative),
            "the step in which masks first move, from 0; of epochs or a share, how much has passed then"),
      field("end", &RegrowConfig::end, amount(not_negative),
            "the same of the last step in which they may; without it, of set and rigl three quarters of the "
            "stage, of the others its last step"),
      field(
          "every", &RegrowConfig::every, amount(positive),
          "how much lies between; without it, 100 steps, of straight_through and top_kast 1; an epoch; or a "
          "hundredth of the stage")};
  auto type = object<RegrowConfig>(with_extra_fields(fields, regrowths(), &RegrowConfig::extra),
                                   {.defaults = take_method, .check = check_regrow});
  type.read = [read = type.read](const Json& json, const Place& at) {
    RegrowConfig r = read(json, at);
    if (!r.every) {
      const auto steps = static_cast<double>(regrowths().named(r.type).every);
      r.every = r.in == "epochs" ? 1 : r.in == "share" ? 0.01 : steps;
    }
    return r;
  };
  return type;
}

bool stages_bring_masks(const Config& config, size_t stage) {
  bool masks = false;
  for (size_t i = 0; i <= stage; ++i) {
    const StageConfig& one = config.stages[i];
    if (const PruneConfig* prune = one.pruning(); prune && !cuts_channels(*prune))
      masks = i == stage || !prune->remove;
  }
  return masks;
}

namespace {

/// The last stage up to this that masks other units than weights, which are still masked.
std::optional<size_t> torn_by_moves(const Config& config, size_t stage) {
  std::optional<size_t> torn;
  for (size_t i = 0; i <= stage; ++i) {
    const PruneConfig* prune = config.stages[i].pruning();
    if (!prune || cuts_channels(*prune)) continue;
    if (prune->remove && i < stage)
      torn.reset();
    else if (prune->unit != "weight")
      torn = i;
  }
  return torn;
}

}  // namespace

void check_masks_to_move(const Config& config, const Place& at) {
  for (size_t i = 0; i < config.stages.size(); ++i) {
    const StageConfig& stage = config.stages[i];
    const Place place = place_of_stage(config, i, at), regrow = place / "train" / "regrow";
    if (!stage.train || !stage.train->regrow || !place.is_sound()) continue;
    if (stage.train->prune && cuts_channels(*stage.train->prune))
      regrow.mistake("moves masks, and 'prune' beside it cuts channels out: expected the one or the other");
    if (const auto torn = torn_by_moves(config, i))
      regrow.mistake("moves single weights, and would tear what ",
                     *torn == i ? "'prune' beside it" : "stage '" + config.stages[*torn].name + "'",
                     " masks: unit ", config.stages[*torn].pruning()->unit, ", expected weight");
    // Weights that a run starts from may have masks: check_stages in build.h.
    const bool of_weights = config.model.weights && config.model.hold_zeros.value_or(true);
    if (regrow.is_sound() && !of_weights && !stages_bring_masks(config, i)) regrow.mistake(no_masks_to_move);
  }
}

}  // namespace espalier
