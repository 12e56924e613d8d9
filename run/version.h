// Which build this is, for result.json and --version.
#pragma once

namespace espalier {

const char* version();  ///< "0.1.0"
const char* commit();   ///< of the source at configuration, or "unknown"

}  // namespace espalier
