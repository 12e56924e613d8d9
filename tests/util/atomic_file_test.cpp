// Whatever fails, the old file stays and nothing is left beside it.
#include "espalier/util/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const TemporaryFolder folder;
  const fs::path path = folder / "file";
  AtomicFile file(path);
  file.write("one ");
  file.write("two");
  EXPECT_FALSE(fs::exists(path));
  file.commit();
  EXPECT_EQ(read_file(path), "one two");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, WithoutCommitTheOldFileStaysAndTheTemporaryGoes) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  {
    AtomicFile file(folder / "file");
    file.write("new");
    EXPECT_EQ(folder.files(), 2u);
  }
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, AtAFileSizeLimitTheOldFileStays) {
  const TemporaryFolder folder;
  write_file(folder / "file", "old");
  std::string message;
  {
    const FileSizeLimit limit(4096);
    message = message_of([&] { write_file(folder / "file", std::string(5000, 'x')); });
  }
  EXPECT_EQ(message, (folder / "file").string() + ": cannot write: File too large");
  EXPECT_EQ(read_file(folder / "file"), "old");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, WritersOfOneFileDoNotMeet) {
  const TemporaryFolder folder;
  AtomicFile first(folder / "file"), second(folder / "file");
  first.write("first");
  second.write("second");
  second.commit();
  EXPECT_EQ(read_file(folder / "file"), "second");
  first.commit();
  EXPECT_EQ(read_file(folder / "file"), "first");
}

TEST(AtomicFile, WhatAKilledWriterLeftIsNotInTheWay) {
  const TemporaryFolder folder;
  std::string left;
  {
    const AtomicFile file(folder / "file");
    left = fs::directory_iterator(folder.path())->path().filename();
  }
  // The names of the next hundred writers of this process are taken.
  const size_t dash = left.rfind('-') + 1;
  const int number = std::stoi(left.substr(dash));
  for (int i = 1; i <= 100; ++i)
    std::ofstream(folder / (left.substr(0, dash) + std::to_string(number + i))) << "left";
  write_file(folder / "file", "new");
  EXPECT_EQ(read_file(folder / "file"), "new");
  EXPECT_EQ(folder.files(), 101u);
}

TEST(AtomicFile, FollowsASymbolicLink) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "elsewhere");
  write_file(folder / "elsewhere/file", "old");
  fs::create_symlink("elsewhere/file", folder / "link");
  write_file(folder / "link", "new");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "elsewhere/file"), "new");
}

TEST(AtomicFile, KeepsToTheFileModeMask) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_file(folder / "file", "text");
  ::umask(before);
  EXPECT_EQ(fs::status(folder / "file").permissions(), fs::perms(0640));
}

TEST(AtomicFile, RefusesWhatItCannotReplace) {
  const TemporaryFolder folder;
  write_file(folder / "file", "text");
  const auto message = [&](const fs::path& path) { return message_of([&] { write_file(path, "new"); }); };
  EXPECT_TRUE(
      contains(message(folder / "file/below"), "file/below: cannot write: its folder: Not a directory"));
  EXPECT_TRUE(contains(message(folder / "none/file"),
                       "none/file: cannot write: its folder: No such file or directory"));
  EXPECT_TRUE(contains(message(folder.path()), "cannot write: is a folder"));
  EXPECT_TRUE(contains(message(folder.path() / ""), "cannot write: is a folder"));
  EXPECT_TRUE(contains(message(""), "cannot write: is a folder"));
  EXPECT_TRUE(contains(message("/dev/null"), "/dev/null: cannot write: is a pipe or a device"));
  EXPECT_TRUE(contains(message(folder / std::string(300, 'n')), "File name too long"));
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, AFolderThatAppearsMeanwhileIsNotReplaced) {
  const TemporaryFolder folder;
  {
    AtomicFile file(folder / "file");
    fs::create_directory(folder / "file");
    EXPECT_TRUE(
        contains(message_of([&] { file.commit(); }), "file: cannot write: rename the temporary file"));
  }
  EXPECT_EQ(folder.files(), 1u);
}

TEST(KeepAs, OutlivesTheFile) {
  const TemporaryFolder folder;
  const fs::path file = folder / "file", kept = folder / "kept", link = folder / "link";
  write_file(file, "one");
  keep_as(file, kept);
  keep_as(file, kept);  // they are one file
  write_file(file, "two");
  EXPECT_EQ(read_file(kept), "one");
  fs::create_symlink(file, link);
  keep_as(link, kept);
  write_file(file, "three");
  EXPECT_EQ(read_file(kept), "two");
  EXPECT_EQ(folder.files(), 3u);
}

TEST(TemporaryName, SaysWhatItIsOfAndWhoWritesIt) {
  const auto found = temporary_name("a.tmp-1-0.b.tmp-12-3");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->file, "a.tmp-1-0.b");
  EXPECT_EQ(found->process, 12);
  for (const char* other : {"", "a", ".tmp-1-2", "a.tmp-", "a.tmp-1", "a.tmp-1-", "a.tmp-x-1", "a.tmp-1-2x",
                            "a.tmp-0-1", "a.tmp--1-1", "a.tmp-99999999999-1"})
    EXPECT_FALSE(temporary_name(other)) << other;
}

TEST(RemoveAbandoned, TakesThatOfProcessesThatAreGoneAlone) {
  const TemporaryFolder folder;
  const pid_t gone = ::fork();
  if (gone == 0) ::_exit(0);
  ASSERT_EQ(::waitpid(gone, nullptr, 0), gone);
  const std::string dead = ".tmp-" + std::to_string(gone) + "-0",
                    live = ".tmp-" + std::to_string(::getpid()) + "-7";
  for (const std::string& name : {"a" + dead, "a" + live, "b" + dead, std::string("a")})
    std::ofstream(folder / name) << "x";
  remove_abandoned(folder / "a");
  EXPECT_FALSE(std::filesystem::exists(folder / ("a" + dead)));
  for (const std::string& name : {"a" + live, "b" + dead, std::string("a")})
    EXPECT_TRUE(std::filesystem::exists(folder / name)) << name;
  remove_abandoned(folder / "none/a");
}

}  // namespace
}  // namespace espalier
