// Names of a network's layers that a config may use, and the messages for those it may not.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier {

/// True if `entry`, of a config's list of layers, means `layer`: it is the layer's name or that of what it
/// lies under, up to a dot. "layer1.1" means layer1.1.conv1, not layer1.10.conv1. A `*` in it stands for any
/// characters, dots too, or none, and a `?` for any one: "layer1*" means both, "*.conv1" every conv1 inside
/// something.
bool means_layer(std::string_view entry, std::string_view layer);
/// True if one of them does.
bool any_means_layer(const std::vector<std::string>& entries, std::string_view layer);
/// True if one of them means one of `layers`.
bool any_means_layer(const std::vector<std::string>& entries, const std::vector<std::string>& layers);
/// True for an entry with `*` or `?` in it.
bool is_pattern(std::string_view entry);

/// Error for an entry that means none of `layers`, with the nearest that exists; `list` is what the config
/// calls the entries, `kind` what the layers are.
void check_layer_entries(const std::string& list, const std::vector<std::string>& entries,
                         const std::vector<std::string>& layers,
                         const std::string& kind = "convolution or linear layer");

/// The same for all entries of some lists, each with what it is called; all mistakes are told at once.
void check_layer_lists(const std::vector<std::pair<std::string, std::vector<std::string>>>& lists,
                       const std::vector<std::string>& layers);

/// Entries once were beginnings of names: "fc1" meant fc10, too. A line on each of `entries` that meant
/// more of `layers` then than it does now.
std::vector<std::string> notes_on_beginnings(const std::string& list, const std::vector<std::string>& entries,
                                             const std::vector<std::string>& layers);

}  // namespace espalier
