// Commands that a message shows, to be copied into a shell.
#pragma once

#include <string>
#include <string_view>

namespace espalier {

/// `text` as one word of a shell's command line: as it is if no character in it means anything to a shell,
/// else in single quotes.
std::string shell_word(std::string_view text);

}  // namespace espalier
