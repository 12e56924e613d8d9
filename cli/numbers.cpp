#include "espalier/cli/numbers.h"

#include <charconv>
#include <span>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {

template <class Number>
std::optional<Number> number_in(const std::string& text) {
  Number number{};
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc() || stop != end) return std::nullopt;
  return number;
}
template std::optional<int64_t> number_in(const std::string&);
template std::optional<double> number_in(const std::string&);

std::vector<std::string> parts_of(const std::string& text, char separator) {
  std::vector<std::string> parts{""};
  for (const char c : text)
    if (c == separator)
      parts.emplace_back();
    else
      parts.back() += c;
  return parts;
}

Shape image_shape(const std::string& option, const std::string& text) {
  constexpr int64_t max_side = 65536;
  const std::vector<std::string> parts = parts_of(text, 'x');
  std::vector<int64_t> sizes;
  for (const std::string& part : parts)
    if (const auto size = number_in<int64_t>(part); size && *size > 0 && *size <= max_side)
      sizes.push_back(*size);
  if (sizes.size() != 3 || parts.size() != 3)
    fail_usage(option, ": found '", printable(text), "', expected HEIGHTxWIDTHxCHANNELS, such as 224x224x3");
  return Shape(std::span<const int64_t>(sizes));
}

}  // namespace espalier::cli
