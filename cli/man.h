// The manual page, made from what the commands declare.
#pragma once

#include <string>

namespace espalier::cli {

/// espalier(1), for man: `espalier help man | man -l -`.
std::string man_page();

}  // namespace espalier::cli
