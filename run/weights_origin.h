// What a weights file says of the data that its network was trained on, and how a config that starts from it
// fits that: the same normalisation of pixels, and the same classes unless the last layer starts afresh.
#pragma once

#include <string>
#include <vector>

#include "espalier/data/dataset.h"
#include "espalier/run/config.h"

namespace espalier {

/// Gives a config that has weights and no data.normalize that of its weights' file, if that has one, of as
/// many channels; a line in config.notes says so. Other tools' files have none. A file that cannot be read is
/// left to whoever loads it.
void take_normalization_of_weights(Config& config);

/// A warning where pixels are normalised otherwise than those that the config's weights were trained on, and
/// where their file says what cannot be read; empty: there is nothing to warn of.
std::string normalization_warning(const Config& config);
/// The same of another file whose network looks at the config's pixels.
std::string normalization_warning(const Config& config, const std::string& weights);

/// Error with the first class that differs, unless `data`, read from `place`, has the classes that the
/// config's weights were trained on. All is well where either has no names of classes, where they are not as
/// many, which shapes tell, and where `skip` has the layer that tells classes apart.
void check_classes_of_weights(const Config& config, const Dataset& data, const std::string& place);

/// `"skip": ["fc"] in the config's model starts that layer afresh`: what to do where weights are of other
/// classes than the data. Empty for a config without weights, and for one that has it.
std::string skip_head_hint(const Config& config);
/// The same for any layers.
std::string skip_hint(const std::vector<std::string>& layers);

}  // namespace espalier
