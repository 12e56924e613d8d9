// Pruning as a book, step 2, unit: what lives or dies together. A unit is a map from its number to the
// numbers it holds, of one parameter or of several, so that one path, score, select, apply, serves them all.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "espalier/channels/graph.h"
#include "espalier/nn/network.h"

namespace espalier {

struct Unit {
  enum Kind : uint8_t {
    weight,   ///< one number
    filter,   ///< all weights of one output: a filter [Kh,Kw,I] of a convolution, a row [I] of a linear layer
    column,   ///< all weights of one input of one layer: [O,Kh,Kw] or [O]; of a convolution in groups, that
              ///< input of each group, and so of a depthwise one all weights
    kernel,   ///< the weights between one input and one output: [Kh,Kw]; of a linear layer a single one
    block,    ///< rows x columns numbers of the matrix [O, Kh Kw I]; less at its right and lower edges
    n_of_m,   ///< a weight, of each m along the inputs of which n stay, in the order of files (line_of)
    layer,    ///< all weights of a layer
    channel,  ///< all that makes and reads one channel: numbers of several parameters, see graph.h
  };
  Kind kind;
  int64_t rows = 0, columns = 0;  ///< of a block
  int64_t n = 0, m = 0;
  /// Of n:m: m need not divide a layer's inputs. The last of a row are then filled up with zeros, which are
  /// the first to go: of r inputs n stay, or all r if they are no more.
  bool pad = false;

  Unit(Kind kind = weight) : kind(kind) {}
  static Unit block_of(int64_t rows, int64_t columns);
  static Unit n_of(int64_t n, int64_t m, bool pad = false);

  /// Its kind's name, and the word for several: "filters", "4x16 blocks".
  std::string name() const;
  std::string plural() const;
  bool operator==(const Unit&) const = default;
};

/// What units may be called, each kind at the place of its number; "row" is another word for a filter.
const std::vector<std::string>& unit_names();
/// The unit of that name; "2:4" and the like are n_of_m. UsageError for any other, and for n of m that are
/// not 0 < n < m. A block's size is still to be set.
Unit unit_named(const std::string& name);

/// One of the three axes as which a parameter is seen, and of which part each index along it is.
struct UnitAxis {
  int64_t size = 1;
  int64_t parts = 1;                  ///< 1, or as many as there are indices, unless part_of says more
  std::vector<int32_t> part_of = {};  ///< [size]; -1: of none
  int64_t part(int64_t i) const {
    return part_of.empty() ? (parts == 1 ? 0 : i) : part_of[static_cast<size_t>(i)];
  }
  bool one_part() const { return parts == 1 && part_of.empty(); }
};

/// The numbers of one parameter that go with units of a group. The parameter, seen as [A,B,C], holds numbers
/// of unit (part of a * parts of B + part of b) * parts of C + part of c at [a,b,c]; of no unit, if a part is
/// -1.
struct UnitMember {
  Parameter* parameter = nullptr;
  bool out = true;  ///< the units count its layer's outputs; else its inputs
  std::array<UnitAxis, 3> axes = {};

  int64_t units() const { return axes[0].parts * axes[1].parts * axes[2].parts; }
  /// True if unit i holds the numbers i size .. (i + 1) size - 1.
  bool is_consecutive() const;
  /// Calls f(unit, offset, length) for numbers of one unit that lie one after another, by offset.
  template <class F>
  void each_run(const F& f) const {
    const auto& [a, b, c] = axes;
    int64_t at = 0;
    for (int64_t i = 0; i < a.size; ++i)
      for (int64_t j = 0; j < b.size; ++j) {
        const int64_t of_a = a.part(i), of_b = b.part(j), row = (of_a * b.parts + of_b) * c.parts;
        const bool none = of_a < 0 || of_b < 0;
        if (c.one_part()) {
          if (!none) f(row, at, c.size);
        } else {
          for (int64_t k = 0; k < c.size; ++k)
            if (const int64_t of_c = c.part(k); !none && of_c >= 0) f(row + of_c, at + k, int64_t{1});
        }
        at += c.size;
      }
  }
};

/// Where a layer stands in a pass.
struct LayerPlace {
  bool first = false;  ///< of all that multiply by a weight, convolutions and linear layers
  bool last = false;
};

/// Units that are of one layer, or channels that are cut as one list.
struct UnitGroup {
  std::string layer;  ///< that they are of, or the first that makes them
  int64_t first = 0;  ///< the number of its unit 0 in the entire set
  int64_t count = 0;
  std::vector<UnitMember> members = {};
  uint64_t stream = 0;       ///< the place of its unit 0 in the criterion random's numbers
  size_t channel_group = 0;  ///< of channels: its place in the channel graph
  LayerPlace place = {};     ///< of a layer's units, as far as find_places has looked
};

/// The units of a network that may go, numbered through: by group, then by index.
struct UnitSet {
  Unit unit;
  std::vector<UnitGroup> groups;
  int64_t count = 0;
  struct Channels {
    Network network;
    ChannelGraph graph;
  };
  std::shared_ptr<const Channels> channels = {};  ///< of unit channel: whose groups they are

  /// Those of these weights, which are of as many layers. Error for a parameter without rows, for m that does
  /// not divide a layer's inputs (unless they are padded), and for channels, which are no layer's own.
  UnitSet(Unit unit, const std::vector<Parameter*>& weights);
  /// Channels of groups, those for which `may_go` is not 0.
  UnitSet(std::shared_ptr<const Channels> channels, const std::vector<char>& may_go);

  /// For each group of the channel graph the verdicts on its channels, 1 for those that are not in this set;
  /// `kept` [count].
  std::vector<std::vector<uint8_t>> verdicts(const Tensor& kept) const;
};

/// The places along a weight's last axis in the order that n:m goes along, which is that of its inputs in
/// files: what reads a file of ours finds n of each m in a row there, also of a linear layer after a flatten,
/// whose columns lie otherwise in memory (FileLayout::flattened).
std::vector<int64_t> line_of(const Parameter& weight);

/// The weights of convolutions and linear layers. `include` and `exclude` name layers, or what they lie under
/// (means_layer in names.h). An empty `include` means all; `exclude` wins. Error for an entry that names no
/// layer (with the nearest that exists) or if nothing is left.
std::vector<Parameter*> prunable_weights(Module& model, const std::vector<std::string>& include = {},
                                         const std::vector<std::string>& exclude = {});

/// For each group 1 if it may lose channels: it is not fixed, a layer that makes its channels is included,
/// and none is excluded. Error for an entry that names no layer that makes channels or, of
/// `include`, of those that make only fixed ones, and where nothing is left that may go; it begins with the
/// `field` of the config that they stand in.
std::vector<char> groups_that_may_lose(const std::vector<ChannelGroup>& groups,
                                       const std::vector<std::string>& include,
                                       const std::vector<std::string>& exclude,
                                       const std::string& field = "prune");

/// Whatever may go of a network, whose images are `input` [H,W,C]: of its weights, or of its channels.
/// Filters of a layer that makes the network's output, each of which is an answer, and such a layer itself
/// stay unless an entry of `include` that is no pattern means it. Errors are those of the functions above.
UnitSet units_of(Module& model, const Shape& input, const Unit& unit, const std::vector<std::string>& include,
                 const std::vector<std::string>& exclude);

/// Marks the groups of the network's first and last layer (UnitGroup::place), whether or not others are among
/// the units; images are `input` [H,W,C]. It traces a pass.
void find_places(UnitSet& units, Module& model, const Shape& input);

}  // namespace espalier
