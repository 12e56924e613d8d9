// What is left of --set PATH=JSON where the shell has taken the quotes, and put them back.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// JSON whose texts have lost their quotes, with them again: {mean:[0.5]} is {"mean":[0.5]}. Nothing if that
/// makes no JSON of it.
std::optional<std::string> with_quotes(std::string_view text);

/// What was meant by `values`, which --set gives `path`, as one option in single quotes: {mean:[0.5]}, whose
/// quotes the shell took, or mean:[0.5] and std:[0.2], into which a shell such as bash takes an object apart
/// that stands there without quotes. "--set 'PATH={"mean":[0.5]}'". Nothing if they are no remains of JSON.
std::optional<std::string> lost_quotes(const std::string& path, const std::vector<std::string>& values);

/// The same of a whole command line `arguments` in which `extra`, PATH=VALUE, stands where no option takes
/// it.
std::optional<std::string> lost_quotes_in(const std::vector<std::string>& arguments,
                                          const std::string& extra);

}  // namespace espalier
