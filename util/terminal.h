// The terminal: how many columns it has, how many a text takes of them, and colour where it is wanted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace espalier {

/// Of a file, a pipe or a log, which take lines of any length.
inline constexpr size_t any_width = SIZE_MAX;

/// Columns of the terminal that standard output is, asked anew at each call, as it may have been resized; 80
/// if it does not say, any_width if it is no terminal.
size_t terminal_width();

/// True if a terminal may be sent more than text: NO_COLOR and TERM say nothing against it.
bool shows_colour(int stream);
enum class Colour { red, yellow };
/// `text` in that colour where `stream` shows colour; as it is elsewhere.
std::string coloured(const std::string& text, Colour colour, int stream);

/// Columns that printable UTF-8 takes: two for a wide character, none for a mark on the one before.
size_t columns_of(std::string_view text);
/// The first characters of `text`, at most `columns` columns of them.
std::string cut_to(std::string_view text, size_t columns);
/// `text` if it fits, else its beginning and its end about "..".
std::string shortened(const std::string& text, size_t columns);
/// `fields` with two spaces between them, as many from the left as fit; the first is cut if need be.
std::string fitted(const std::vector<std::string>& fields, size_t columns);
/// The lines of `text`, without their ends.
std::vector<std::string_view> lines_of(std::string_view text);
/// `text` in lines of at most `columns` columns, each ended. Each of its lines is broken at spaces by itself,
/// and keeps its indentation; what fits, and what has no space to break at, stays as it is.
std::string wrapped(std::string_view text, size_t columns);

}  // namespace espalier
