// Archives: what is in them, and every way in which they can be wrong.
#include "espalier/data/archive.h"

#include <fstream>

#include "data/tar_files.h"
#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

constexpr size_t max_bytes = 1 << 20;

const Bytes small = tar_entry("train/", {}, '5') + tar_entry("./train//cat/1.png", {1, 2, 3}) +
                    tar_entry("readme", Bytes(700, 7)) + tar_end();

std::string archive_message(const Bytes& bytes) {
  return message_of([&] { parse_archive(bytes, "a.tar", max_bytes); });
}

TEST(Archive, HoldsFilesAndFolders) {
  for (const Bytes& bytes : {small, gzip(small), xz(small)}) {
    const Archive archive = parse_archive(bytes, "a.tar", max_bytes);
    EXPECT_EQ(archive.folders, (std::vector<std::string>{"train"}));
    ASSERT_EQ(archive.files.size(), 2u);
    EXPECT_EQ(archive.files[0].path, "train/cat/1.png");
    EXPECT_EQ(archive.files[0].bytes, (Bytes{1, 2, 3}));
    EXPECT_EQ(archive.files[1].path, "readme");
    EXPECT_EQ(archive.files[1].bytes, Bytes(700, 7));
  }
  EXPECT_TRUE(parse_archive(tar_end(), "a.tar", max_bytes).files.empty());
}

TEST(Archive, NamesOfAnyBytes) {
  const std::string name = "caf\xC3\xA9/\xFF.png";
  EXPECT_EQ(parse_archive(tar_entry(name, {}) + tar_end(), "a.tar", max_bytes).files[0].path, name);
}

TEST(Archive, MayNotClimbOut) {
  EXPECT_EQ(archive_message(tar_entry("a/../../etc/passwd", {1}) + tar_end()),
            "a.tar: 'a/../../etc/passwd' climbs out of the archive; nothing was read");
  EXPECT_EQ(archive_message(tar_entry("..", {}, '5') + tar_end()),
            "a.tar: '..' climbs out of the archive; nothing was read");
  EXPECT_EQ(archive_message(tar_entry("/etc/passwd", {1}) + tar_end()),
            "a.tar: '/etc/passwd' is no path inside of the archive; nothing was read");
}

TEST(Archive, MayNotHoldLinksOrDevices) {
  EXPECT_EQ(archive_message(tar_entry("a", {}, '2', "/etc/passwd") + tar_end()),
            "a.tar: a: is a link, expected only files and folders; nothing was read");
  EXPECT_EQ(archive_message(tar_entry("b", {1}) + tar_entry("a", {}, '1', "b") + tar_end()),
            "a.tar: a: is a link, expected only files and folders; nothing was read");
  EXPECT_EQ(archive_message(tar_entry("a", {}, '6') + tar_end()),
            "a.tar: a: is neither file nor folder; nothing was read");
  EXPECT_EQ(archive_message(tar_entry("a/b", {1}) + tar_entry("./a/b", {2}) + tar_end()),
            "a.tar: a/b: is in the archive twice; nothing was read");
}

TEST(Archive, CutShortAnywhere) {
  const auto cut = [](const Bytes& bytes, size_t size) {
    return Bytes(bytes.begin(), bytes.begin() + static_cast<long>(size));
  };
  const size_t entries = small.size() - tar_end().size();
  for (size_t size = 0; size <= entries; size += size % 512 ? 1 : 37)
    EXPECT_TRUE(contains(archive_message(cut(small, size)), "a.tar: ")) << size;
  for (const size_t border : {size_t{512}, size_t{1536}, entries})
    EXPECT_TRUE(contains(archive_message(cut(small, border)), "cut short")) << border;
  EXPECT_EQ(archive_message(cut(small, entries)),
            "a.tar: cut short after 2 files: it does not end in the zeros that end a tar");
  EXPECT_TRUE(contains(
      archive_message(cut(small, entries - 512)),
      "a.tar: readme: cannot be read to its end, byte 700: what is there is no tar, or a damaged one"));
  for (const Bytes& packed : {gzip(small), xz(small)})
    for (size_t size = 8; size < packed.size(); ++size)
      EXPECT_TRUE(contains(archive_message(cut(packed, size)), "data cut short at byte")) << size;
}

TEST(Archive, IsNoTar) {
  EXPECT_EQ(archive_message({}), "a.tar: is empty, expected a .tar, .tar.gz or .tar.xz");
  EXPECT_TRUE(contains(
      archive_message(Bytes(5000, 'x')),
      "a.tar: cannot be read as a .tar, .tar.gz or .tar.xz: what is there is no tar, or a damaged one"));
  EXPECT_TRUE(contains(archive_message(gzip({1, 2, 3})), "a.tar: cannot be read as a .tar"));
  EXPECT_TRUE(contains(archive_message(small + Bytes(600, 'x')), "does not end in the zeros"));
}

TEST(Archive, MayNotClaimMoreThanItMayHold) {
  EXPECT_EQ(
      archive_message(gzip(tar_entry("zeros", Bytes(2 << 20)) + tar_end())),
      "a.tar: zeros: 2097152 bytes, and 0 of the files before it: more than the 1048576 that an archive "
      "may hold");
  Bytes lies = small;
  lies[1024 + 512 + 124] = '1';  // the last entry claims 1 GiB and 700 bytes
  seal(lies, 1024 + 512);
  EXPECT_EQ(archive_message(lies),
            "a.tar: readme: 1073742524 bytes, and 3 of the files before it: more than the 1048576 that an "
            "archive may hold");
  lies = small;
  lies[1024 + 512 + 124 + 5] = '1';  // 32 kB and 700 bytes
  seal(lies, 1024 + 512);
  EXPECT_TRUE(contains(archive_message(lies), "a.tar: readme: cannot be read to its end, byte 33468: "));
}

TEST(Archive, MayHoldSixteenTimesItsOwnSize) {
  Bytes lies = small;
  lies[1024 + 512 + 124] = '1';  // the last entry claims 1 GiB and 700 bytes
  seal(lies, 1024 + 512);
  const TemporaryFolder folder;
  std::ofstream(folder / "a.tar", std::ios::binary)
      .write(reinterpret_cast<const char*>(lies.data()), static_cast<std::streamsize>(lies.size()));
  EXPECT_TRUE(contains(message_of([&] { read_archive(folder / "a.tar", keep_all); }),
                       join("more than the ", (256 << 20) + 16 * lies.size(), " that an archive may hold")));
}

TEST(Archive, HoldsOnlyWhatIsKept) {
  const auto keep = [](const std::string& path, std::span<const uint8_t> beginning) -> size_t {
    EXPECT_EQ(beginning.size(), path == "few" ? 3 : 64);
    return path == "zeros" ? 0 : path == "half" ? 300 : 1000;
  };
  const Bytes tar = tar_entry("zeros", Bytes(50'000'000)) + tar_entry("half", Bytes(700, 7)) +
                    tar_entry("few", {1, 2, 3}) + tar_end();
  for (const Bytes& packed : {tar, gzip(tar), xz(tar)}) {
    const Archive archive = parse_archive(packed, "a.tar", 303, keep);
    ASSERT_EQ(archive.files.size(), 3u);
    EXPECT_TRUE(archive.files[0].bytes.empty());
    EXPECT_EQ(archive.files[1].bytes, Bytes(300, 7));
    EXPECT_EQ(archive.files[2].bytes, (Bytes{1, 2, 3}));
    EXPECT_TRUE(contains(message_of([&] { parse_archive(packed, "a.tar", 302, keep); }),
                         "a.tar: few: 3 bytes, and 300 of the files before it: more than the 302"));
  }
}

TEST(Archive, PathsHaveALength) {
  std::string deep = "a";
  while (deep.size() < 4096) deep += "/a";  // 4,097 bytes
  EXPECT_EQ(
      parse_archive(tar_long(deep.substr(2), {1}) + tar_end(), "a.tar", max_bytes).files.at(0).path.size(),
      4095u);
  EXPECT_TRUE(contains(archive_message(tar_long(deep, {1}) + tar_end()),
                       "' is a path of 4097 bytes, more than the 4096 that one may have; nothing was read"));
  for (int i = 0; i < 7; ++i) deep += "/" + deep;  // 500,000 bytes
  EXPECT_TRUE(contains(archive_message(gzip(tar_long(deep, {1}) + tar_end())),
                       "more than the 4096 that one may have"));
}

TEST(Archive, PathsTogetherHaveALength) {
  std::string deep = "aaa";
  while (deep.size() < 4090) deep += "/a";  // with all folders above it 4 MB
  Bytes tar;
  for (int i = 100; i < 400; ++i) tar = std::move(tar) + tar_long(std::to_string(i) + deep.substr(3), {});
  EXPECT_TRUE(
      contains(archive_message(gzip(tar + tar_end())), "more than the 1073741824 that they may have"));
}

TEST(Archive, PaddingEnds) {
  EXPECT_EQ(parse_archive(xz(small + Bytes(1 << 20)), "a.tar", max_bytes).files.size(), 2u);
  for (const Bytes& tar : {Bytes(50'000'000), small + Bytes(50'000'000)})
    EXPECT_EQ(archive_message(xz(tar)), "a.tar: more than 4194304 bytes follow the end of the archive");
}

TEST(Archive, FilesTogetherMayNotClaimMoreThanItHolds) {
  const Archive archive = parse_archive(tar_sparse("a", 2000) + tar_end(), "a.tar", max_bytes);
  EXPECT_EQ(archive.files.at(0).bytes, Bytes(1999) + Bytes{7});
  EXPECT_EQ(archive_message(tar_sparse("a", 2000) + tar_sparse("b", 2000) + tar_end()),
            "a.tar: b: 2000 bytes, more than the archive holds: is it cut short?");
}

TEST(Archive, IsReadFromAFile) {
  const TemporaryFolder folder;
  write(folder / "a.tar.xz", xz(small));
  EXPECT_EQ(read_archive(folder / "a.tar.xz").files.size(), 2u);
  EXPECT_EQ(message_of([&] { read_archive(folder / "none.tar"); }),
            (folder / "none.tar").string() + ": cannot open: No such file or directory");
}

}  // namespace
}  // namespace espalier
