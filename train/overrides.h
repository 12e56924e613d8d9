// --set path.to.field=value: one value of a config, set on the command line.
#pragma once

#include <string>

#include "espalier/train/schema.h"

namespace espalier {

/// Sets one value in `root`, which is described by `description`, and returns its JSON pointer. In the path,
/// an element of a list is given by its number, or by its `name` where it has one; objects on the way that
/// are declared but absent are added. The value is JSON, or else text; null takes the field away, so that
/// another may stand in its place. A path that leads nowhere is a UsageError: "--set
/// stages.dnese.train.epochs=1: /stages: no element 'dnese' ...".
std::string apply_override(schema::Json& root, const schema::Description& description,
                           const std::string& assignment);

}  // namespace espalier
