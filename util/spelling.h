// The nearest valid spelling, for messages: whoever mistypes a name is told the one that was meant.
#pragma once

#include <string>
#include <vector>

namespace espalier {

/// "a, b, c", with `last` between the last two: " or ".
std::string enumerated(const std::vector<std::string>& names, const std::string& last = ", ");
/// The nearest of `known` to `word` by edit distance, if near enough to be meant (at most a third of the
/// longer word's length, at least 1; a beginning of one counts as near); empty otherwise.
std::string nearest_spelling(const std::string& word, const std::vector<std::string>& known);
/// ", did you mean 'x'?" or nothing: the end of a message.
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);
/// The place of `name` in `known`. UsageError: "criterion: found 'l3', expected one of random, l1, l2, did
/// you mean 'l1'?"
size_t position_of_name(const char* what, const std::string& name, const std::vector<std::string>& known);
/// UsageError "optimizer: no type 'adm', did you mean 'adam'?"
[[noreturn]] void fail_no_type(const char* what, const std::string& type,
                               const std::vector<std::string>& known);

}  // namespace espalier
