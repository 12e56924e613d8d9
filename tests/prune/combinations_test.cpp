// Nine criteria (signals_golden_test.cpp has the others) with every unit, scope, way to apply and schedule,
// and some with other options, against what bench/prune_combinations.py computed only from the definitions:
// which units are left, or why it is refused.
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <nlohmann/json.hpp>

#include "espalier/core/random.h"
#include "prune/small_net.h"
#include "support/bad_input.h"
#include "support/places.h"

namespace espalier {
namespace {

using nlohmann::json;

const Shape image{4, 4, 4};

struct Row {
  std::string criterion, unit, scope, apply, schedule;
  json options, result;

  bool channels() const { return unit == "channel"; }
  bool refused() const { return !result.is_string(); }
  bool has_ties() const { return options.contains("ties"); }
};
std::ostream& operator<<(std::ostream& out, const Row& r) {
  return out << r.criterion << " " << r.unit << " " << r.scope << " " << r.apply << " " << r.schedule << " "
             << r.options.dump();
}

struct Record {
  uint64_t seed;
  std::vector<Row> rows;
};
const Record& recorded() {
  static const Record record = [] {
    const std::string path = source_folder() + "/tests/golden/prune_combinations.json";
    std::ifstream file(path);
    if (!file) fail(path, ": cannot be read");
    const json all = json::parse(file);
    Record read{.seed = all.at("seed"), .rows = {}};
    for (const json& row : all.at("rows"))
      read.rows.push_back({row[0], row[1], row[2], row[3], row[4], row[5], row[6]});
    return read;
  }();
  return record;
}

/// A random number on 0..1 of place `p` and counter `i`, as numbers() in the script has it.
float uniform(uint64_t p, uint64_t i, bool with_ties) {
  const float u = random_uniform(random_key(recorded().seed, p), i);
  return with_ties ? std::floor(8 * u) / 8 : u;
}

/// The script's network.
struct Net : SmallNet {
  Conv2d& conv1 = conv("conv1", 4, 4);
  BatchNorm2d& bn1 = norm("bn1", 4);
  Conv2d& conv2 = conv("conv2", 4, 8);
  BatchNorm2d& bn2 = norm("bn2", 8);
  Linear &fc1 = linear("fc1", 8, 12), &fc2 = linear("fc2", 12, 4);
  const bool with_ties;

  explicit Net(bool with_ties) : with_ties(with_ties) {
    pass = [this](const Variable& x) {
      const Variable a = relu(bn1.forward(conv1.forward(x))), b = relu(bn2.forward(conv2.forward(a)));
      return fc2.forward(relu(fc1.forward(ops::global_average_pool(b))));
    };
    set_training(false);
    uint64_t place = 0;
    for (Parameter* p : parameters()) {
      if (p->is_count()) continue;
      const std::string& name = p->name;
      const float scale = with_ties ? 1 : name == "conv2.weight" ? 0.5f : name == "fc1.weight" ? 2 : 1;
      const uint64_t purpose = p->learned() ? place++ : 3000 + place;
      uint64_t i = 0;
      for (float& value : p->value().span<float>()) {
        const float u = uniform(purpose, i++, with_ties);
        value = p->learned() ? (2 * u - 1) * scale : name.ends_with("var") ? 1 + u : u / 4;
      }
    }
  }

  /// Squares of gradients of each number that is left.
  Signals signals(Needs needs) {
    Signals squares;
    uint64_t purpose = needs == Needs::gradients ? 1000 : 2000;
    Net whole(with_ties);
    for (const Parameter* of_whole : whole.parameters()) {
      if (!of_whole->learned()) continue;
      Parameter* const p = find(of_whole->name);
      Floats left;
      for (int64_t i = 0; i < of_whole->shape().elements(); ++i)
        if (is_left(*of_whole, i)) left.push_back(uniform(purpose, static_cast<uint64_t>(i), with_ties));
      ++purpose;
      squares.of_parameters[p] = Tensor::from(p->shape(), left);
    }
    return squares;
  }

 private:
  /// Number i of an original parameter, by the history.
  bool is_left(const Parameter& whole, int64_t i) const {
    for (const AxisCut& one : history) {
      if (one.parameter != whole.name) continue;
      int64_t inner = 1;
      for (int a = one.axis + 1; a < whole.shape().axes(); ++a) inner *= whole.shape()[a];
      if (std::ranges::count(one.kept, i / inner % whole.shape()[one.axis]) == 0) return false;
    }
    return true;
  }
};

Limits limits_of(const json& options, bool channels) {
  Limits limits;
  if (channels) limits.min_channels = 1;
  limits.min_ratio = options.value("min_ratio", 0.0);
  limits.max_ratio = options.value("max_ratio", 1.0);
  return limits;
}

PruneOptions options_of(const Row& row, Net& net) {
  const json& o = row.options;
  PruneOptions options;
  options.unit = row.unit == "block" ? Unit::block_of(2, 3) : unit_named(row.unit);
  options.scoring.criterion = criteria().named(row.criterion);
  options.scoring.reduction = reduction_named(o.value("reduction", "mean"));
  if (o.contains("normalizer")) options.scoring.normalizer = normalizer_named(o.at("normalizer"));
  options.selection.scope = scopes().named(row.scope);
  options.selection.limits = limits_of(o, row.channels());
  options.selection.round_to = o.value("round_to", int64_t{1});
  const json overrides = o.value("overrides", json::object());
  for (const auto& [layer, own] : overrides.items())
    options.selection.overrides.push_back({{layer}, limits_of(own, row.channels())});
  if (row.channels()) options.target = {Target::ratio, 0.5};
  if (!row.channels() && row.unit != "2:4") options.target = {Target::sparsity, 0.5};
  for (const Target::Kind kind : {Target::sparsity, Target::threshold, Target::quantile, Target::ratio,
                                  Target::speedup, Target::parameters})
    if (const std::string& name = target_names()[kind]; o.contains(name)) options.target = {kind, o.at(name)};
  options.include = o.value("include", std::vector<std::string>{});
  options.exclude = o.value("exclude", std::vector<std::string>{});
  options.apply = apply_named(row.apply);
  options.allow_empty = !row.channels();
  options.iterations = o.value("iterations", int64_t{1});
  options.signals = [&net](const Criterion& criterion) { return net.signals(criterion.needs); };
  return options;
}

/// Prunes at once, or at half and at the end of the way.
void run(const Row& row, Net& net) {
  const PruneOptions options = options_of(row, net);
  if (row.schedule == "once") {
    prune(net, image, options);
    return;
  }
  const OriginalNetwork original = row.channels() ? original_network(net, image) : OriginalNetwork{};
  const GradualPruner pruner(options, {.type = "linear", .begin = 0, .end = 2});
  for (int64_t step = 0; step < 4; ++step)
    EXPECT_EQ(pruner.step(net, image, original, step).has_value(), step < 3);
}

// --- What is to be found ---

/// The layers whose units may go, in the order of the verdicts.
std::vector<std::string> layers_of(const Row& row) {
  std::vector<std::string> layers{"conv1", "conv2", "fc1", "fc2"};
  const auto has = [&](const char* list, const std::string& layer) {
    const auto entries = row.options.value(list, std::vector<std::string>{});
    return std::ranges::count(entries, layer) > 0;
  };
  const bool output_stays = row.channels() || row.unit == "filter" || row.unit == "layer";
  std::erase_if(layers, [&](const std::string& layer) {
    return (layer == "fc2" && output_stays && !has("include", layer)) || has("exclude", layer) ||
           (row.options.contains("include") && !has("include", layer));
  });
  return layers;
}

/// For each layer a digit for each unit, 1 if it stays.
using Verdicts = std::map<std::string, std::string>;
Verdicts expected(const Row& row) {
  std::istringstream words(row.result.get<std::string>());
  Verdicts verdicts;
  for (const std::string& layer : layers_of(row)) words >> verdicts[layer];
  EXPECT_FALSE(words.fail());
  EXPECT_EQ(words.peek(), EOF);
  return verdicts;
}

/// The unit that number i of a weight [O,..,I] belongs to. Of channels, the one that it makes.
int64_t unit_at(const std::string& unit, const Shape& shape, int64_t i) {
  const int64_t inputs = shape[shape.axes() - 1], row = shape.row_elements(), o = i / row, k = i % row;
  if (unit == "filter" || unit == "channel") return o;
  if (unit == "column") return k % inputs;
  if (unit == "kernel") return o * inputs + k % inputs;
  if (unit == "block") return o / 2 * ((row + 2) / 3) + k / 3;
  return unit == "layer" ? 0 : i;
}

/// The channels that number i of a parameter goes with: of which layer, and which.
std::vector<std::pair<std::string, int64_t>> channels_at(const std::string& name, const Shape& shape,
                                                         int64_t i) {
  const std::string layer(layer_name(name));
  const int64_t o = i / shape.row_elements(), input = i % shape[shape.axes() - 1];
  if (layer == "bn1" || layer == "bn2") return {{layer == "bn1" ? "conv1" : "conv2", o}};
  if (name == "conv2.weight") return {{"conv2", o}, {"conv1", input}};
  if (name == "fc1.weight") return {{"fc1", o}, {"conv2", input}};
  if (name == "fc2.weight") return {{"fc1", input}};
  if (layer == "fc2") return {};
  return {{layer, o}};
}

/// True if number i of a parameter of the original network goes.
bool goes(const Row& row, const Verdicts& verdicts, const Parameter& whole, int64_t i) {
  const auto is_gone = [&](const std::string& layer, int64_t unit) {
    const auto found = verdicts.find(layer);
    return found != verdicts.end() && found->second.at(static_cast<size_t>(unit)) == '0';
  };
  if (row.channels()) {
    const auto channels = channels_at(whole.name, whole.shape(), i);
    return std::ranges::any_of(channels, [&](const auto& c) { return is_gone(c.first, c.second); });
  }
  return whole.role == Role::weight &&
         is_gone(std::string(layer_name(whole.name)), unit_at(row.unit, whole.shape(), i));
}

/// Folding may move constants into it: after conv2 there is no padding, so that fc1 and fc2 take them.
bool takes_constants(const Row& row, const Parameter& parameter) {
  return row.channels() && (parameter.name == "fc1.bias" || parameter.name == "fc2.bias");
}

// --- What is found ---

/// A unit is gone if all numbers of its layer's weight are zero and held there.
Verdicts by_masks(const Row& row, Net& net) {
  Verdicts verdicts;
  for (const std::string& layer : layers_of(row)) {
    const Parameter& weight = *net.find(layer + ".weight");
    const int64_t n = weight.shape().elements();
    std::string& digits = verdicts[layer];
    digits.assign(static_cast<size_t>(unit_at(row.unit, weight.shape(), n - 1) + 1), '0');
    for (int64_t i = 0; i < n; ++i)
      if (!weight.mask.defined() || weight.mask.data<uint8_t>()[i] == 1 || weight.value().f32()[i] != 0)
        digits.at(static_cast<size_t>(unit_at(row.unit, weight.shape(), i))) = '1';
  }
  return verdicts;
}

Verdicts by_history(const Row& row, Net& net) {
  Net whole(row.has_ties());
  Verdicts verdicts;
  for (const std::string& layer : layers_of(row)) {
    const auto channels = static_cast<size_t>(whole.find(layer + ".weight")->shape()[0]);
    std::string& digits = verdicts[layer];
    digits.assign(channels, '1');
    for (const AxisCut& one : net.history) {
      if (one.parameter != layer + ".weight" || one.axis != 0) continue;
      digits.assign(channels, '0');
      for (const int64_t kept : one.kept) digits.at(static_cast<size_t>(kept)) = '1';
    }
  }
  return verdicts;
}
Verdicts found(const Row& row, Net& net) {
  return row.apply == "cut" ? by_history(row, net) : by_masks(row, net);
}

bool same_numbers(const Parameter& a, const Parameter& b) {
  return a.is_count() ? a.value().span<int64_t>()[0] == b.value().span<int64_t>()[0]
                      : same_bits(a.value(), b.value());
}

void expect_unchanged(Net& net) {
  Net whole(net.with_ties);
  const auto now = net.parameters(), before = whole.parameters();
  for (size_t p = 0; p < now.size(); ++p) {
    EXPECT_TRUE(same_numbers(*now[p], *before[p])) << now[p]->name;
    EXPECT_FALSE(now[p]->mask.defined()) << now[p]->name;
  }
  EXPECT_TRUE(net.history.empty());
}

/// What goes is zero and held, or is not there any more; what stays has the bits that it had.
void expect_numbers(const Row& row, const Verdicts& verdicts, Net& net) {
  Net whole(row.has_ties());
  for (const Parameter* before : whole.parameters()) {
    const Parameter& now = *net.find(before->name);
    if (now.is_count()) {
      EXPECT_TRUE(same_numbers(now, *before));
      continue;
    }
    const float *const from = before->value().f32(), *to = now.value().f32();
    const bool cut = row.apply == "cut", moved = takes_constants(row, now);
    int64_t left = 0, wrong = 0;
    for (int64_t i = 0; i < before->shape().elements(); ++i) {
      const bool gone = goes(row, verdicts, *before, i);
      const int64_t at = cut ? left : i;
      left += !gone;
      if (cut && (gone || at >= now.shape().elements())) continue;
      if (now.learned()) {
        const bool held = now.mask.defined() && now.mask.data<uint8_t>()[at] == 0;
        wrong += held != gone || (gone && to[at] != 0);
      }
      wrong += (!gone || !now.learned()) && !moved &&
               std::bit_cast<uint32_t>(to[at]) != std::bit_cast<uint32_t>(from[i]);
    }
    EXPECT_EQ(wrong, 0) << "numbers of " << now.name;
    EXPECT_EQ(now.shape().elements(), cut ? left : before->shape().elements()) << now.name;
  }
  EXPECT_TRUE(row.apply == "cut" || net.history.empty());
}

// --- All rows ---

template <class Which, class Do>
void for_rows(const Which& which, const Do& what) {
  int64_t rows = 0;
  for (const Row& row : recorded().rows) {
    if (!which(row)) continue;
    SCOPED_TRACE(testing::Message() << row);
    try {
      what(row);
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
    ++rows;
  }
  EXPECT_GT(rows, 0);
}

TEST(PruneCombinations, OfEveryPieceWithEveryOtherAreRecorded) {
  std::map<std::string, int64_t> plain;
  for (const Row& row : recorded().rows) plain[row.criterion] += row.options.empty();
  EXPECT_GE(plain.size(), 9u);
  for (const auto& [criterion, rows] : plain)  // units without n:m's and row's own words, and with 2:4
    EXPECT_EQ(rows, 8 * 7 * 2 * 2) << criterion;
  EXPECT_EQ(unit_names().size(), 8u + 1);
  EXPECT_EQ(scopes().names().size() * apply_names().size(), 7u * 2);
}

TEST(PruneCombinations, LeaveTheUnitsThatTheDefinitionsLeave) {
  for_rows([](const Row& row) { return !row.refused(); },
           [](const Row& row) {
             Net net(row.has_ties());
             run(row, net);
             const Verdicts verdicts = expected(row), left = found(row, net);
             EXPECT_EQ(left, verdicts);
             if (left == verdicts) expect_numbers(row, verdicts, net);
           });
}

TEST(PruneCombinations, ThatMakeNoSenseAreRefusedAndLeaveTheModelAlone) {
  for_rows([](const Row& row) { return row.refused(); },
           [](const Row& row) {
             Net net(row.has_ties());
             const auto prune_it = [&] { run(row, net); };
             // What only this network cannot do is not the config's mistake.
             const bool of_the_network = (row.channels() && row.criterion == "bn_scale") ||
                                         row.options.contains("max_ratio") ||
                                         row.result == json{"cannot be reached"};
             const std::string message =
                 of_the_network ? message_of<Error>(prune_it) : message_of<UsageError>(prune_it);
             const auto reasons = row.result.get<std::vector<std::string>>();
             EXPECT_TRUE(std::ranges::any_of(
                 reasons, [&](const std::string& why) { return message.find(why) != message.npos; }))
                 << message << "\nlacks all of " << row.result;
             expect_unchanged(net);
           });
}

TEST(PruneCombinations, MaskedChannelsSayWhatTheCutNetworkSays) {
  int64_t compared = 0;
  for_rows([](const Row& row) { return row.channels() && row.apply == "zero" && !row.refused(); },
           [&](const Row& row) {
             const bool by_score = row.options.contains("threshold") || row.options.contains("quantile");
             if (by_score && (row.schedule == "gradual" || row.options.contains("iterations"))) return;
             Row other = row;  // which a cut would refuse else
             other.apply = "cut";
             Net masked(row.has_ties()), cut(row.has_ties());
             run(row, masked);
             run(other, cut);
             if (found(row, masked) != found(other, cut)) return;
             ++compared;
             const Doubles a = outputs(masked, image), b = outputs(cut, image);
             ASSERT_EQ(a.size(), b.size());
             double largest = 0, difference = 0, spread = 0;
             for (size_t i = 0; i < a.size(); ++i) {
               largest = std::max(largest, std::abs(a[i]));
               difference = std::max(difference, std::abs(a[i] - b[i]));
               spread = std::max(spread, std::abs(a[i] - a[i % 4]));
             }
             EXPECT_LE(difference, 1e-5 * largest);
             EXPECT_GT(spread, 1e-3 * largest) << "images are not told apart";
           });
  EXPECT_GT(compared, 100);
}

}  // namespace
}  // namespace espalier
