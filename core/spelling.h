// The nearest valid spelling, for messages: whoever mistypes a name is told the one that was meant.
#pragma once

#include <string>
#include <vector>

namespace espalier {

/// The nearest of `known` to `word` by edit distance, if near enough to be meant (at most a third of the
/// longer word's length, at least 1; a beginning of one counts as near); empty otherwise.
std::string nearest_spelling(const std::string& word, const std::vector<std::string>& known);
/// ", did you mean 'x'?" or nothing: the end of a message.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);

}  // namespace espalier
