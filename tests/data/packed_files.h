// Data files made by the tests: bytes in gzip, xz and IDX form, and written out.
#pragma once

#include <gtest/gtest.h>
#include <lzma.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <vector>

using Bytes = std::vector<uint8_t>;

inline Bytes gzip(const Bytes& bytes) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, bytes.size()));
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

inline Bytes xz(const Bytes& bytes) {
  Bytes packed(lzma_stream_buffer_bound(bytes.size()));
  size_t size = 0;
  EXPECT_EQ(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC32, nullptr, bytes.data(), bytes.size(), packed.data(),
                                    &size, packed.size()),
            LZMA_OK);
  packed.resize(size);
  return packed;
}

/// An IDX file of one byte a value: the header says `magic` and `sizes`, whatever `values` are.
inline Bytes idx(uint32_t magic, const std::vector<uint32_t>& sizes, const Bytes& values) {
  Bytes bytes;
  const auto put = [&](uint32_t number) {
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<uint8_t>(number >> shift));
  };
  put(magic);
  for (uint32_t size : sizes) put(size);
  bytes.insert(bytes.end(), values.begin(), values.end());
  return bytes;
}

inline void write(const std::filesystem::path& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

inline Bytes without_end(Bytes bytes, size_t count) {
  bytes.resize(bytes.size() - count);
  return bytes;
}

inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
