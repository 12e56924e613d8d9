// UTF-8, and foreign text in messages. What is kept as JSON or in a safetensors header (configs, names of
// classes and tensors) is to be checked where it comes in, while the message can still say where that was.
#pragma once

#include <string>
#include <string_view>

namespace espalier {

bool is_utf8(std::string_view text);

/// `text`, which came from a file, a name or a server, as a message may show it on a terminal: control
/// characters and bytes that are not UTF-8 become \n, \t, \xHH; what is longer than `max_bytes` keeps its
/// beginning and its end about " ... (N bytes) ... ".
std::string printable(std::string_view text, size_t max_bytes = 200);

/// What a complete message may have: it names several things, and says what was expected.
inline constexpr size_t longest_message = 2000;

/// The same for text of several lines, which stay lines; `max_bytes` holds for each of them.
std::string printable_lines(std::string_view text, size_t max_bytes = std::string_view::npos);

}  // namespace espalier
