#include "espalier/prune/names.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "espalier/core/error.h"
#include "espalier/core/spelling.h"

namespace espalier {

size_t position_of_name(const char* what, const std::string& name, const std::vector<std::string>& known) {
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end())
    fail_usage(what, ": found '", name, "', expected one of ", fmt::format("{}", fmt::join(known, ", ")),
               did_you_mean(name, known));
  return static_cast<size_t>(found - known.begin());
}

}  // namespace espalier
