// Tar archives made by the tests, entry by entry, so that each can be as wrong as a test wants it.
#pragma once

#include <algorithm>
#include <cstdio>
#include <string>

#include "data/packed_files.h"

/// One entry in the ustar form: header and content, padded to blocks of 512. `type`: '0' a file, '5' a
/// folder, '1' a hard and '2' a symbolic link to `target`, '6' a pipe.
inline Bytes tar_entry(const std::string& path, const Bytes& content, char type = '0',
                       const std::string& target = "") {
  Bytes header(512);
  const auto put = [&](size_t offset, const std::string& text) {
    std::copy(text.begin(), text.end(), header.begin() + static_cast<long>(offset));
  };
  const auto octal = [&](size_t offset, int digits, size_t number) {
    char text[16];
    std::snprintf(text, sizeof text, "%0*zo", digits, number);
    put(offset, text);
  };
  put(0, path);
  octal(100, 7, 0644);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, content.size());
  octal(136, 11, 0);
  put(148, "        ");
  header[156] = static_cast<uint8_t>(type);
  put(157, target);
  put(257, std::string("ustar\00000", 8));
  size_t sum = 0;
  for (uint8_t byte : header) sum += byte;
  octal(148, 6, sum);
  header[154] = 0;
  header.insert(header.end(), content.begin(), content.end());
  header.resize((header.size() + 511) / 512 * 512);
  return header;
}

/// Sets the checksum of the header at `offset` right after a change.
inline void seal(Bytes& tar, size_t offset) {
  const auto header = tar.begin() + static_cast<long>(offset);
  std::fill_n(header + 148, 8, uint8_t{' '});
  size_t sum = 0;
  for (auto byte = header; byte != header + 512; ++byte) sum += *byte;
  char text[16];
  std::snprintf(text, sizeof text, "%06zo", sum);
  std::copy_n(text, 7, header + 148);
}

/// A GNU sparse file of `size` bytes: zeros that the archive does not hold, and a 7 that it does.
inline Bytes tar_sparse(const std::string& path, size_t size) {
  Bytes header = tar_entry(path, {7}, 'S');
  const auto put = [&](size_t offset, const std::string& text) {
    std::copy(text.begin(), text.end(), header.begin() + static_cast<long>(offset));
  };
  const auto octal = [&](size_t offset, size_t number) {
    char text[16];
    std::snprintf(text, sizeof text, "%011zo", number);
    put(offset, text);
  };
  put(257, std::string("ustar  \0", 8));
  octal(386, size - 1);  // where its one piece begins,
  octal(398, 1);         // and how long it is
  octal(483, size);
  seal(header, 0);
  return header;
}

/// A file whose path is longer than a header holds, in GNU's form.
inline Bytes tar_long(const std::string& path, const Bytes& content) {
  return tar_entry("././@LongLink", Bytes(path.begin(), path.end()) + Bytes{0}, 'L') +
         tar_entry("cut", content);
}

inline Bytes tar_end() { return Bytes(1024); }
