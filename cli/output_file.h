// Files that a command writes where it was told to.
#pragma once

#include <string>
#include <vector>

namespace espalier::cli {

/// UsageError unless `file` may be written: it is none of `inputs`, which the command reads, under whatever
/// name or through whatever link, and lies in none that is a folder, unless nothing is there yet. `option`:
/// "eval: --logits".
void check_output(const std::string& option, const std::string& file, const std::vector<std::string>& inputs);

/// UsageError if standard output goes to `input`, a file that the command reads (`... >> FILE`).
void check_standard_output(const std::string& command, const std::string& input);

}  // namespace espalier::cli
