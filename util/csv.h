// CSV, as RFC 4180 has it.
#pragma once

#include <string>
#include <vector>

namespace espalier {

/// A line, ended: what holds a comma, a quote or a line's end stands in quotes, its own quotes twice.
std::string csv_line(const std::vector<std::string>& fields);

}  // namespace espalier
