// Errors: one exception type for "this failed", one for "what you typed or configured is wrong".
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace espalier {

/// A run failed: a file is broken, a shape does not fit, a library refused. One line for a person; exit
/// code 1.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The command line or the config is wrong. Exit code 2.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// Joins its arguments as a stream would print them.
template <class... Parts>
std::string join(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  throw Error(join(parts...));
}

template <class... Parts>
[[noreturn]] void fail_usage(const Parts&... parts) {
  throw UsageError(join(parts...));
}

}  // namespace espalier

/// Throws espalier::Error with the joined message unless `condition` holds.
/// ESP_CHECK(c == i, "conv2d: input has ", c, " channels, weight expects ", i);
#define ESP_CHECK(condition, ...)    \
  do {                               \
    if (!(condition)) [[unlikely]]   \
      ::espalier::fail(__VA_ARGS__); \
  } while (false)
