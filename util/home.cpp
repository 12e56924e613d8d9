#include "espalier/util/home.h"

#include <cstdlib>

namespace espalier {

std::string expand_home(const std::string& path) {
  const char* home = std::getenv("HOME");
  const bool is_meant = path == "~" || path.starts_with("~/");
  return is_meant && home && *home ? home + path.substr(1) : path;
}

}  // namespace espalier
