// The shells' side of completion: each script hands what is typed to `espalier __complete` and shows what
// comes back, so that all that can be completed is known in one place.
#pragma once

#include <map>
#include <string>

namespace espalier::cli {

/// By the shell's name: bash, zsh, fish.
const std::map<std::string, std::string>& completion_scripts();

}  // namespace espalier::cli
