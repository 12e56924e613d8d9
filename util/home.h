// The home folder that a path may begin with.
#pragma once

#include <string>

namespace espalier {

/// `path` with HOME's value for a `~` that stands alone or before the first slash, which a shell leaves in
/// --output=~/x and in files. Any other `~` is part of a name; where HOME is not set, so is this one.
std::string expand_home(const std::string& path);

}  // namespace espalier
