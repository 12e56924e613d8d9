#include "espalier/prune/scope.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace espalier {
namespace {

using Layers = std::vector<SharingLayer>;

double units_in(const Layers& layers) {
  double units = 0;
  for (const SharingLayer& layer : layers) units += static_cast<double>(layer.units);
  return units;
}

std::vector<double> all_but_the_first(const Layers& layers, double share) {
  std::vector<double> shares;
  for (const SharingLayer& layer : layers) shares.push_back(layer.place.first ? 0 : share);
  return shares;
}

/// A first convolution stays dense, a fifth of the last layer stays in any case; of the others goes what is
/// then missing, of each the same share.
std::vector<double> uniform_plus(const Layers& layers, double share) {
  constexpr double of_the_last = 0.2;
  const auto is_dense = [](const SharingLayer& l) { return l.place.first && l.shape.axes() == 4; };
  double others = 0, last = 0;
  for (const SharingLayer& layer : layers) {
    if (is_dense(layer)) continue;
    (layer.place.last ? last : others) += static_cast<double>(layer.units);
  }
  const double go = share * units_in(layers);
  const auto part = [](double go, double of) { return of > 0 ? std::min(1.0, go / of) : 1.0; };
  double of_others = part(go, others + last), of_last = of_others;
  if (last > 0 && of_last > 1 - of_the_last) {
    of_last = 1 - of_the_last;
    of_others = part(go - of_last * last, others);
  }
  std::vector<double> shares;
  for (const SharingLayer& layer : layers)
    shares.push_back(is_dense(layer) ? 0 : layer.place.last ? of_last : of_others);
  return shares;
}

/// How many numbers of a weight an output, an input and a place of the kernel have, on the whole: the sum of
/// its sizes over their product.
double raw_density(const Shape& shape) {
  int64_t sum = 0;
  for (const int64_t size : shape.sizes()) sum += size;
  return static_cast<double>(sum) / static_cast<double>(shape.elements());
}

/// Densities in proportion to raw_density, the factor eps such that as many stay in all; layers that would
/// come to more than 1, those of the largest raw density first, are dense, and eps is that of the others.
std::vector<double> erdos_renyi_kernel(const Layers& layers, double share) {
  const size_t n = layers.size();
  std::vector<double> raw(n), weight_of_rest(n + 1);  // the latter by rank: of that layer and all after it
  std::vector<size_t> rank(n);
  std::iota(rank.begin(), rank.end(), size_t{0});
  for (size_t i = 0; i < n; ++i) raw[i] = raw_density(layers[i].shape);
  std::ranges::stable_sort(rank, [&](size_t a, size_t b) { return raw[a] > raw[b]; });
  for (size_t r = n; r-- > 0;)
    weight_of_rest[r] = weight_of_rest[r + 1] + raw[rank[r]] * static_cast<double>(layers[rank[r]].units);

  double stay = (1 - share) * units_in(layers);
  size_t dense = 0;
  for (; dense < n; ++dense) {
    const size_t i = rank[dense];
    if (stay * raw[i] <= weight_of_rest[dense]) break;
    stay -= static_cast<double>(layers[i].units);
  }
  std::vector<double> shares(n, 0);
  const double eps = dense < n ? std::max(0.0, stay) / weight_of_rest[dense] : 0;
  for (size_t r = dense; r < n; ++r) shares[rank[r]] = 1 - std::min(1.0, eps * raw[rank[r]]);
  return shares;
}

}  // namespace

Registry<Scope>& scopes() {
  static Registry<Scope> all(
      "scope",
      {{.name = "layer", .help = "the units of each layer, of which the same share goes"},
       {.name = "global", .help = "all units", .ranked = Scope::all},
       {.name = "isomorphic",
        .help = "those of layers that are alike: convolutions with the same kernel, linear layers",
        .ranked = Scope::alike},
       {.name = "output",
        .help = "weights or kernels of each output of each layer, which loses the same share of its inputs",
        .paper =
            "Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models, ICLR "
            "2024",
        .ranked = Scope::each_output},
       {.name = "uniform",
        .help = "as layer, but the first convolution or linear layer stays dense",
        .paper = "Evci, Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners, ICML "
                 "2020",
        .shares = all_but_the_first,
        .needs_places = true},
       {.name = "uniform_plus",
        .help = "as layer, but a first convolution stays dense, the last layer keeps a fifth at least, and "
                "the others give what is then missing",
        .paper =
            "Lee, Park, Mo, Ahn, Shin: Layer-adaptive Sparsity for the Magnitude-based Pruning, ICLR 2021; "
            "after Gale, Elsen, Hooker: The State of Sparsity in Deep Neural Networks, 2019",
        .shares = uniform_plus,
        .meets_total = true,
        .needs_places = true},
       {.name = "erk",
        .help = "the units of each layer, whose density is in proportion to the sum of its weight's sizes "
                "over their product, or 1 (Erdos-Renyi-kernel): narrow layers keep more",
        .paper =
            "Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta: Scalable Training of Artificial Neural "
            "Networks with Adaptive Sparse Connectivity, Nature Communications 2018; with kernels: Evci, "
            "Gale, Menick, Castro, Elsen: Rigging the Lottery: Making All Tickets Winners, ICML 2020",
        .shares = erdos_renyi_kernel,
        .meets_total = true}});
  return all;
}

std::string why_not(const Scope& scope, const Unit& unit) {
  const std::string named = "scope " + scope.name;
  if (unit.kind == Unit::layer && scope.ranked == Scope::each_layer)
    return named + " ranks the units of each layer, and a layer is one: expected global or isomorphic";
  if (unit.kind == Unit::n_of_m && scope.ranked != Scope::all)
    return named + " has nothing to say: weights are ranked in each " + std::to_string(unit.m) + " of " +
           unit.name();
  if (scope.ranked == Scope::each_output && unit.kind != Unit::weight && unit.kind != Unit::kernel)
    return fmt::format(
        "{} ranks what is between a layer's inputs and one output, and {} are not: expected unit "
        "weight or kernel",
        named, unit.plural());
  if (unit.kind == Unit::channel && scope.shares)
    return fmt::format(
        "{} gives each layer a share of its own, and a channel is of several layers: expected {}", named,
        fmt::join(scopes().names_where(
                      [](const Scope& one) { return !one.shares && one.ranked != Scope::each_output; }),
                  ", "));
  return "";
}

std::vector<int64_t> apportion(const Scope& scope, const Layers& layers, int64_t total,
                               const std::vector<int64_t>& least, const std::vector<int64_t>& most) {
  const auto rounded = [&](double share) {
    const std::vector<double> shares = scope.shares(layers, std::clamp(share, 0.0, 1.0));
    std::vector<int64_t> counts;
    for (size_t i = 0; i < layers.size(); ++i)
      counts.push_back(std::clamp<int64_t>(std::llround(shares[i] * static_cast<double>(layers[i].units)),
                                           least[i], std::max(least[i], most[i])));
    return counts;
  };
  const auto sum = [](const std::vector<int64_t>& counts) {
    return std::accumulate(counts.begin(), counts.end(), int64_t{0});
  };
  // What goes at low is less than asked for, at high it is not. Layers that round up at the same share do so
  // by rounding errors apart: that is at once. The ends are not 0 and 1, of which halves and quarters are
  // such shares more often than others.
  constexpr double at_once = 0x1p-40;
  double low = -0.000123456, high = 1.000654321;
  std::vector<int64_t> at_low = rounded(low), at_high = rounded(high);
  if (sum(at_low) >= total) return at_low;
  if (sum(at_high) <= total) return at_high;
  while (high - low > at_once) {
    const double middle = low + (high - low) / 2;
    std::vector<int64_t> there = rounded(middle);
    if (sum(there) < total)
      low = middle, at_low = std::move(there);
    else
      high = middle, at_high = std::move(there);
  }
  int64_t missing = total - sum(at_low);
  for (size_t i = 0; i < layers.size() && missing > 0; ++i) {
    const int64_t more = std::clamp<int64_t>(at_high[i] - at_low[i], 0, missing);
    at_low[i] += more;
    missing -= more;
  }
  return at_low;
}

}  // namespace espalier
