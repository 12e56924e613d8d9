// What is declared of a command, as text.
#pragma once

#include "espalier/cli/arguments.h"

namespace espalier::cli {

/// "espalier train [OPTIONS] CONFIG"
std::string synopsis(const Command& command, const std::vector<Argument>& arguments);
/// "--output DIR", "RUN..."
std::string spelled(const Argument& argument);
/// What `espalier COMMAND --help` prints.
std::string usage(const Command& command, const std::vector<Argument>& arguments, size_t width);

}  // namespace espalier::cli
