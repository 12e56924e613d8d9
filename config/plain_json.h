// What people write into JSON that is none: comments, and a comma after the last of a list or object.
#pragma once

#include <string>
#include <string_view>

namespace espalier {

/// `text` with spaces for its comments (from // to the line's end, and from /* to */) and trailing commas, so
/// that all else keeps its line and column. What is wrong otherwise is left to parse_json; a comment that is
/// not closed is an Error with line and column.
std::string plain_json(std::string_view text, const std::string& file);

/// After the second quote of the text in quotes that begins at `start`; the end where there is none.
size_t end_of_text(std::string_view json, size_t start);

}  // namespace espalier
