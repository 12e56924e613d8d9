// Names, and beside each what is said of it: what every help text is made of.
#pragma once

#include <string>
#include <vector>

namespace espalier {

struct Definition {
  std::string name;
  std::string text;  ///< its lines are broken further where they do not fit
};

/// Two columns, the names two to the right of `indent`. A name that is much longer than the others stands on
/// a line of its own.
std::string definition_list(const std::vector<Definition>& entries, size_t width, size_t indent = 2);

/// How wide a help text may be: the terminal's width, but not beyond what is easily read; 80 in a pipe or
/// file.
size_t help_width();

}  // namespace espalier
