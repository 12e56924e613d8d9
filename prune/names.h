// Names that a config may use, and the message for one it may not.
#pragma once

#include <string>
#include <vector>

namespace espalier {

/// The place of `name` in `known`. UsageError: "criterion: found 'l3', expected one of random, l1, l2, did
/// you mean 'l1'?"
size_t position_of_name(const char* what, const std::string& name, const std::vector<std::string>& known);

}  // namespace espalier
