// Numbers in an option's text: of all of it, or of its parts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "espalier/core/shape.h"

namespace espalier::cli {

/// All of `text` as a number of that type; nothing for what is none, or more.
template <class Number>
std::optional<Number> number_in(const std::string& text);
extern template std::optional<int64_t> number_in(const std::string&);
extern template std::optional<double> number_in(const std::string&);

/// The parts of a text between separators: one more than there are separators.
std::vector<std::string> parts_of(const std::string& text, char separator);

/// "224x224x3" as [224,224,3]. UsageError, which begins with `option`, for anything else.
Shape image_shape(const std::string& option, const std::string& text);

}  // namespace espalier::cli
