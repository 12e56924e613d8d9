// Fuzzes the config: whatever the text, parse_config returns a config that its own JSON gives again, or
// throws a UsageError of one line, or one for each mistake; and a person's text keeps its places. What is
// after a zero byte is a --set.
#include <cstdint>
#include <string>

#include "espalier/config/plain_json.h"
#include "espalier/run/config.h"
#include "lines.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace espalier;
  const std::string input(reinterpret_cast<const char*>(data), size);
  const size_t zero = input.find('\0');
  try {
    const auto set =
        zero == std::string::npos ? std::vector<std::string>{} : std::vector{input.substr(zero + 1)};
    const auto resolved = config_json(parse_config(input.substr(0, zero), "fuzz.json", set));
    if (config_json(parse_config(resolved.dump(), "saved.json")) != resolved) __builtin_trap();
  } catch (const UsageError& error) {
    expect_lines(error);
  }
  try {
    const std::string plain = plain_json(input, "fuzz.json");
    if (plain.size() != input.size() || plain_json(plain, "plain.json") != plain) __builtin_trap();
  } catch (const Error&) {
  }
  return 0;
}
