// UTF-8, which is all that JSON holds: what is kept as JSON or in a safetensors header (configs, names of
// classes and tensors) is to be checked where it comes in, while the message can still say where that was.
#pragma once

#include <string>

namespace espalier {

bool is_utf8(const std::string& text);

}  // namespace espalier
