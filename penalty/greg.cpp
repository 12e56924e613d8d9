// Penalties greg1 and greg2: a growing pull, w coefficient, at the numbers w that go with channels:
//   greg1   0 for what stays; for the share `ratio` of each group with the lowest l1, chosen at the start,
//           `growth` more every `every` steps, up to `max`
//   greg2   first `growth` / 10 more for all channels, up to `max` / 100, so that they part by curvature;
//           then that share is chosen, and goes on as in greg1
#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "espalier/config/json.h"
#include "espalier/penalty/channel_pull.h"
#include "espalier/prune/score.h"
#include "espalier/prune/select.h"

namespace espalier {
namespace {

/// What is pushed out: channels of groups, by the first layer that makes them.
using ChosenChannels = std::map<std::string, std::vector<int64_t>>;

/// On a GPU the host waits only where it chooses.
class GregPenalty : public ChannelPull {
 public:
  GregPenalty(Module& model, const Shape& input, const PenaltyOptions& options)
      : ChannelPull(model, input, options), model_(model), input_(input), options_(options) {}

  nlohmann::ordered_json state() const override {
    auto chosen = nlohmann::ordered_json::object();
    if (!groups().are_stale())
      for (const auto& [layer, channels] : chosen_) chosen[layer] = channels;
    return {{"chosen", chosen}};
  }

  void restore(const nlohmann::ordered_json& state, const std::string& place) override {
    chosen_ = json_field<ChosenChannels>(state, "chosen", place);
  }

 protected:
  void coefficients(float* by, const ChannelMaps& maps, int64_t step) override {
    const int64_t parted = parting_steps();
    if (step < parted) {
      const double grown = options_.growth / 10 * static_cast<double>(step / options_.every);
      ESP_RUN(maps.device, fill(by, static_cast<float>(grown), maps.channels));
      return;
    }
    if (chosen_.empty()) choose();
    const double first = parted > 0 ? options_.max / 100 : 0.0;
    const double grown = options_.growth * static_cast<double>((step - parted) / options_.every);
    const double coefficient = std::min(options_.max, first + grown);
    ESP_RUN(maps.device, scale(by, flags(maps).f32(), static_cast<float>(coefficient), maps.channels, false));
  }

  void forget_channels() override { chosen_.clear(); }
  void forget_maps() override { flags_ = Tensor(); }

 private:
  /// While greg2 pulls at all channels.
  int64_t parting_steps() const {
    if (options_.type != "greg2") return 0;
    return std::llround((options_.max / 100) / (options_.growth / 10)) * options_.every;
  }

  /// The lowest by l1 of each group.
  void choose() {
    const UnitSet channels = units_of(model_, input_, Unit::channel, options_.include, options_.exclude);
    const Tensor scores = score_units(channels, {.criterion = criteria().named("l1")});
    for (const UnitGroup& group : channels.groups) {
      std::vector<int64_t> order(static_cast<size_t>(group.count));
      std::iota(order.begin(), order.end(), 0);
      std::ranges::stable_sort(order, {}, [&](int64_t c) { return scores.f32()[group.first + c]; });
      order.resize(static_cast<size_t>(share_count(options_.ratio, group.count)));
      chosen_[group.layer] = std::move(order);
    }
  }

  /// 1 for the channels that were chosen, 0 for all others; made anew where that changes.
  const Tensor& flags(const ChannelMaps& maps) {
    if (flags_.defined() && flagged_ == chosen_) return flags_;
    std::vector<float> flags(static_cast<size_t>(maps.channels));
    for (size_t g = 0; g < groups().all().size(); ++g) {
      const ChannelGroup& group = groups().all()[g];
      const auto found = chosen_.find(maker_of(group));
      if (maps.first[g] < 0 || found == chosen_.end()) continue;
      for (const int64_t c : found->second) {
        ESP_CHECK(c >= 0 && c < group.channels, "regularize: channel ", c, " of ", found->first,
                  " was chosen, which has ", group.channels);
        flags[static_cast<size_t>(maps.first[g] + c)] = 1.0f;
      }
    }
    flags_ = Tensor::from({maps.channels}, flags, maps.device);
    flagged_ = chosen_;
    return flags_;
  }

  Module& model_;
  Shape input_;
  PenaltyOptions options_;
  ChosenChannels chosen_;
  Tensor flags_;            // f32, of each channel of the maps
  ChosenChannels flagged_;  // for which
};

PenaltyInfo greg(const char* name, const char* help) {
  return {.name = name,
          .help = help,
          .paper = "Wang, Qin, Zhang, Fu: Neural Pruning via Growing Regularization, ICLR 2021",
          .options = {"ratio", "growth", "every", "max", "include", "exclude"},
          .make = new_penalty<GregPenalty>};
}

}  // namespace

PenaltyInfo greg1() { return greg("greg1", "growing L2 on the weakest of coupled channels"); }

PenaltyInfo greg2() {
  return greg("greg2", "growing L2, first on all coupled channels, then on those that this shows to be weak");
}

}  // namespace espalier
