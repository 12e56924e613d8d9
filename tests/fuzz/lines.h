// What the fuzz targets of texts ask of a message.
#pragma once

#include <string>
#include <vector>

#include "espalier/util/mistakes.h"

/// Stops the fuzzer unless an Error is one line, or one for each of several mistakes.
inline void expect_lines(const espalier::Error& error) {
  std::vector<std::string> lines{error.what()};
  if (const auto* several = dynamic_cast<const espalier::SeveralLines*>(&error)) lines = several->lines;
  for (const std::string& line : lines)
    if (line.find('\n') != line.npos) __builtin_trap();
}
