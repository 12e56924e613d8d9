#include "espalier/util/utf8.h"

#include <fmt/format.h>

#include <algorithm>

namespace espalier {
namespace {

/// The bytes of the character that `text` begins with, 0 if it begins with none (Unicode 15, table 3-7: no
/// overlong forms, no surrogates, nothing over U+10FFFF).
size_t character_bytes(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto within = [&](size_t i, unsigned min_byte, unsigned max_byte) {
    return byte(i) >= min_byte && byte(i) <= max_byte;
  };
  const auto follows = [&](size_t i) { return within(i, 0x80, 0xBF); };
  const unsigned first = byte(0);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF)
    return within(1, first == 0xE0 ? 0xA0 : 0x80, first == 0xED ? 0x9F : 0xBF) && follows(2) ? 3 : 0;
  if (first >= 0xF0 && first <= 0xF4)
    return within(1, first == 0xF0 ? 0x90 : 0x80, first == 0xF4 ? 0x8F : 0xBF) && follows(2) && follows(3)
               ? 4
               : 0;
  return 0;
}

/// C0, DEL and C1: a terminal may obey them.
bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  return character.size() == 1 ? first < 0x20 || first == 0x7F
                               : first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0;
}

std::string escaped(std::string_view text) {
  std::string shown;
  while (!text.empty()) {
    const size_t bytes = character_bytes(text);
    const std::string_view character = text.substr(0, std::max<size_t>(bytes, 1));
    if (bytes > 0 && !is_control(character))
      shown += character;
    else if (character == "\n")
      shown += "\\n";
    else if (character == "\t")
      shown += "\\t";
    else
      for (const char c : character) shown += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    text.remove_prefix(character.size());
  }
  return shown;
}

}  // namespace

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string printable(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return escaped(text);
  const auto inside = [&](size_t at) { return (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80; };
  size_t head = max_bytes / 2, tail = text.size() - (max_bytes - head);
  while (head > 0 && inside(head)) --head;  // no character is cut in two
  while (tail < text.size() && inside(tail)) ++tail;
  return fmt::format("{} ... ({} bytes) ... {}", escaped(text.substr(0, head)), text.size(),
                     escaped(text.substr(tail)));
}

std::string printable_lines(std::string_view text, size_t max_bytes) {
  std::string shown;
  while (true) {
    const size_t end = text.find('\n');
    shown += printable(text.substr(0, end), max_bytes);
    if (end == text.npos) return shown;
    shown += '\n';
    text.remove_prefix(end + 1);
  }
}

}  // namespace espalier
