// Plain and compressed files, and every way in which they can be broken.
#include "espalier/data/file.h"

#include <sys/stat.h>

#include <numeric>

#include "data/packed_files.h"
#include "espalier/core/random.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

/// Bytes that hardly pack, so that cutting the packed file anywhere loses something.
Bytes noise(size_t size) {
  Bytes bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(random_bits(1, i));
  return bytes;
}

TEST(Unpack, KnowsFormsByTheirFirstBytes) {
  const Bytes bytes = noise(100'000);
  EXPECT_EQ(unpack(bytes, "f", bytes.size()), bytes);
  EXPECT_EQ(unpack(gzip(bytes), "f", bytes.size()), bytes);
  EXPECT_EQ(unpack(xz(bytes), "f", bytes.size()), bytes);
  for (const Bytes& few : {Bytes{}, Bytes{0x1F}, Bytes{0xFD, '7'}}) EXPECT_EQ(unpack(few, "f", 10), few);
  EXPECT_EQ(unpack(gzip({}), "f", 0), Bytes{});
  EXPECT_EQ(unpack(xz({}), "f", 0), Bytes{});
}

TEST(Unpack, RoomGrowsForWhatPacksWell) {
  const Bytes zeros(3'000'000);
  EXPECT_EQ(unpack(gzip(zeros), "f", 1 << 22), zeros);
  EXPECT_EQ(unpack(xz(zeros), "f", 1 << 22), zeros);
}

TEST(Unpack, JoinsMembersAndStreams) {
  const Bytes a = noise(5000), b(7000, 3);
  EXPECT_EQ(unpack(gzip(a) + gzip(b), "f", 12000), a + b);
  EXPECT_EQ(unpack(xz(a) + xz(b), "f", 12000), a + b);
}

TEST(Unpack, LimitIsExact) {
  const Bytes zeros(10'000);
  for (const Bytes& packed : {zeros, gzip(zeros), xz(zeros)}) {
    EXPECT_EQ(unpack(packed, "f", 10'000).size(), 10'000u);
    EXPECT_TRUE(contains(message_of([&] { unpack(packed, "bomb", 9'999); }), "bomb: "));
    EXPECT_TRUE(contains(message_of([&] { unpack(packed, "bomb", 9'999); }), "more than the 9999 bytes"));
  }
  const Bytes bomb = gzip(Bytes(100'000'000));  // 97 kB
  EXPECT_TRUE(
      contains(message_of([&] { unpack(bomb, "bomb", 1 << 20); }), "unpacks to more than the 1048576 bytes"));
  EXPECT_TRUE(contains(message_of([&] { unpack(gzip(zeros) + gzip(zeros), "bomb", 15'000); }),
                       "more than the 15000"));
}

TEST(Unpack, CutShortAnywhere) {
  const Bytes bytes = noise(300), packed_gzip = gzip(bytes), packed_xz = xz(bytes);
  for (size_t size = 2; size < packed_gzip.size(); ++size) {
    const Bytes cut(packed_gzip.begin(), packed_gzip.begin() + static_cast<long>(size));
    ASSERT_TRUE(contains(message_of([&] { unpack(cut, "a.gz", 1000); }),
                         "a.gz: gzip data cut short at byte " + std::to_string(size)));
  }
  for (size_t size = 6; size < packed_xz.size(); ++size) {
    const Bytes cut(packed_xz.begin(), packed_xz.begin() + static_cast<long>(size));
    ASSERT_TRUE(contains(message_of([&] { unpack(cut, "a.xz", 1000); }),
                         "a.xz: xz data cut short at byte " + std::to_string(size)));
  }
  EXPECT_TRUE(
      contains(message_of([&] { unpack(without_end(packed_gzip, 8), "a.gz", 1000); }), "after 300 unpacked"));
}

TEST(Unpack, EveryFlippedByteIsNoticed) {
  const Bytes bytes = noise(300);
  for (const Bytes& packed : {gzip(bytes), xz(bytes)}) {
    for (size_t i = 0; i < packed.size(); ++i) {
      Bytes flipped = packed;
      flipped[i] ^= 0xFF;
      try {  // what is left of a gzip header is free to change, and a changed magic number makes plain bytes
        const Bytes unpacked = unpack(flipped, "f", 1000);
        ASSERT_TRUE(unpacked == bytes || unpacked == flipped) << "byte " << i;
      } catch (const Error& error) {
        ASSERT_TRUE(contains(error.what(), "f: "));
      }
    }
  }
  Bytes packed = gzip(bytes);
  packed[packed.size() - 8] ^= 1;
  EXPECT_TRUE(
      contains(message_of([&] { unpack(packed, "a.gz", 1000); }), "a.gz: corrupt gzip data at byte "));
  packed = xz(bytes);
  packed[packed.size() / 2] ^= 1;
  EXPECT_TRUE(contains(message_of([&] { unpack(packed, "a.xz", 1000); }),
                       "a.xz: xz data cannot be unpacked at byte "));
}

TEST(Unpack, SomethingElseBehindTheEnd) {
  const Bytes bytes = noise(300), packed = gzip(bytes);
  EXPECT_TRUE(
      contains(message_of([&] {
                 unpack(packed + Bytes{'x', 'y', 'z'}, "a.gz", 1000);
               }),
               "a.gz: 3 bytes that are not gzip follow its end at byte " + std::to_string(packed.size())));
  EXPECT_TRUE(contains(message_of([&] { unpack(xz(bytes) + Bytes(12, 'x'), "a.xz", 1000); }),
                       "what follows the end is wrong"));
}

TEST(Unpack, XzMayNotAskForAllMemory) {
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 0);
  options.dict_size = 1u << 29;
  lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  const Bytes bytes(100);
  Bytes packed(1000);
  size_t size = 0;
  ASSERT_EQ(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, nullptr, bytes.data(), bytes.size(),
                                      packed.data(), &size, packed.size()),
            LZMA_OK);
  packed.resize(size);
  EXPECT_TRUE(contains(message_of([&] { unpack(packed, "a.xz", 1000); }), "its dictionary is too large"));
}

TEST(ReadUnpacked, ReadsRegularFilesAlone) {
  const TemporaryFolder folder;
  const Bytes bytes = noise(1000);
  write(folder / "plain", bytes);
  write(folder / "misnamed.xz", gzip(bytes));
  EXPECT_EQ(read_unpacked(folder / "plain", 1000), bytes);
  EXPECT_EQ(read_unpacked(folder / "misnamed.xz", 2000), bytes);
  EXPECT_TRUE(
      contains(message_of([&] { read_unpacked(folder / "plain", 999); }), "plain: is 1000 bytes long"));
  EXPECT_TRUE(
      contains(message_of([&] { read_unpacked(folder / "misnamed.xz", 1000); }), "is 1023 bytes long"));
  EXPECT_TRUE(
      contains(message_of([&] { read_unpacked(folder / "none", 999); }), "none: cannot open: No such file"));
  EXPECT_TRUE(
      contains(message_of([&] { read_unpacked(folder.path(), 999); }), ": is a folder, a file is expected"));
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const std::string& pipe : {std::string("/dev/zero"), (folder / "pipe").string()})
    EXPECT_EQ(message_of([&] { read_unpacked(pipe, 999); }),
              pipe + ": is a pipe or a device, a regular file is expected");
}

TEST(Unpack, NoFurtherThanTheHeaderSays) {
  const Bytes bytes = Bytes{7} + Bytes(99'999);
  const auto length = [](size_t says) {
    return Length{1, [=](std::span<const uint8_t> header) { return header[0] == 7 ? says : 0; }};
  };
  for (const Bytes& packed : {gzip(bytes), xz(bytes)}) {
    EXPECT_EQ(unpack(packed, "f", 1 << 20, length(100'000)), bytes);
    EXPECT_EQ(unpack(packed, "f", 1 << 20, length(200'000)), bytes);  // whoever reads it says so
    EXPECT_EQ(message_of([&] { unpack(packed, "f", 1 << 20, length(99'999)); }),
              "f: unpacks to more than the 99999 bytes that its header says");
    EXPECT_EQ(message_of([&] { unpack(packed, "f", 1 << 20, length(2)); }),
              "f: unpacks to more than the 2 bytes that its header says");
    EXPECT_EQ(message_of([&] { unpack(packed, "f", 1000, length(2000)); }),
              "f: unpacks to more than the 1000 bytes that such a file may have");
  }
}

TEST(Unpacker, GivesThePiecesThatAreAskedFor) {
  const Bytes bytes = noise(10'000);
  for (const Bytes& packed : {bytes, gzip(bytes) + gzip(bytes), xz(bytes)})
    for (const size_t step : {1, 7, 4096, 100'000}) {
      Unpacker from(packed, "f");
      Bytes all, piece(step);
      while (const size_t count = from.read(piece))
        all.insert(all.end(), piece.begin(), piece.begin() + count);
      EXPECT_EQ(all, unpack(packed, "f", 1 << 20));
      EXPECT_EQ(from.read(piece), 0u);
    }
}

TEST(FindPlainOrCompressed, AFolderOrALinkToNothingHidesNoFile) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "f");
  std::filesystem::create_symlink("nothing", folder / "f.gz");
  write(folder / "f.xz", {});
  EXPECT_EQ(find_plain_or_compressed(folder / "f"), folder / "f.xz");
  std::filesystem::remove(folder / "f.xz");
  EXPECT_EQ(find_plain_or_compressed(folder / "f"), folder / "f");
  std::filesystem::remove(folder / "f");
  EXPECT_EQ(find_plain_or_compressed(folder / "f"), folder / "f.gz");
}

TEST(FindPlainOrCompressed, ALoopOfLinksIsNamed) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink("loop", folder / "loop");
  EXPECT_EQ(message_of([&] { find_plain_or_compressed(folder / "loop/f"); }),
            (folder / "loop/f").string() + ": cannot be looked for: Too many levels of symbolic links");
}

TEST(FindPlainOrCompressed, PlainFirst) {
  const TemporaryFolder folder;
  EXPECT_FALSE(find_plain_or_compressed(folder / "f"));
  for (const char* name : {"f.xz", "f.gz", "f"}) {
    write(folder / name, {});
    EXPECT_EQ(find_plain_or_compressed(folder / "f"), folder / name);
  }
}

}  // namespace
}  // namespace espalier
