// What an exception means to a person, whoever threw it.
#pragma once

#include <exception>
#include <string>

namespace espalier {

/// The message of an Error; of what the standard library throws, the system's reason, with the file it speaks
/// of. Anything else is a mistake of ours, and the text says so.
std::string reason_of(const std::exception& error);

}  // namespace espalier
