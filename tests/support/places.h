// Where the sources and the program are that a test runs with.
#pragma once

#include <string>

namespace espalier {

/// The root of the source tree; tests/golden and ../shared/data are found from it.
std::string source_folder();

}  // namespace espalier
