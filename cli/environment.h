// What holds for all commands: environment variables and exit codes, for the help and the man page.
#pragma once

#include <vector>

#include "espalier/util/definition_list.h"

namespace espalier::cli {

const std::vector<Definition>& environment_variables();
const std::vector<Definition>& exit_codes();

}  // namespace espalier::cli
