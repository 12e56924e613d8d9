// Reading at an offset and whole, and what is refused.
#include "espalier/util/input_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "support/bad_input.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

TEST(InputFile, ReadsAtAnyOffset) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "0123456789";
  const InputFile file(folder / "file");
  EXPECT_EQ(file.size(), 10u);
  char part[4];
  file.read(part, 4, 5);
  EXPECT_EQ(std::string(part, 4), "5678");
  EXPECT_TRUE(
      contains(message_of([&] { file.read(part, 4, 7); }), "file: ends at byte 10, 1 more were expected"));
}

TEST(InputFile, RefusesWhatIsNoRegularFile) {
  const TemporaryFolder folder;
  EXPECT_TRUE(contains(message_of([&] { InputFile(folder / "none"); }),
                       "none: cannot open: No such file or directory"));
  EXPECT_TRUE(contains(message_of([&] { InputFile{folder.path()}; }), ": is a folder, a file is expected"));
  EXPECT_TRUE(contains(message_of([&] { InputFile("/dev/null"); }), "/dev/null: is a pipe or a device"));
}

TEST(ReadFile, TakesBytesAsTheyAre) {
  const TemporaryFolder folder;
  std::string text(200'000, '\0');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 7);
  std::ofstream(folder / "file") << text;
  EXPECT_EQ(read_file(folder / "file"), text);
}

TEST(ReadFile, ReadsAPipe) {
  const TemporaryFolder folder;
  const std::filesystem::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { std::ofstream(pipe) << "through the pipe"; });
  EXPECT_EQ(read_file(pipe), "through the pipe");
  writer.join();
}

TEST(ReadFile, WaitsForASlowWriterButNotForNone) {
  const TemporaryFolder folder;
  const std::filesystem::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(message_of([&] { read_file(pipe); }), pipe.string() + ": is a pipe that nobody writes to");
  const FileDescriptor held(::open(pipe.c_str(), O_RDWR));  // both ends: there is a writer, but no text yet
  std::thread writer([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2500));
    std::ofstream(pipe) << std::string(10, 'x');
  });
  EXPECT_EQ(message_of([&] { read_file(pipe, 9); }),
            pipe.string() + ": is longer than the 9 bytes allowed for such a file");
  writer.join();
}

TEST(InputFile, DoesNotWaitForThePipeItRefuses) {
  const TemporaryFolder folder;
  const std::filesystem::path pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string message = pipe.string() + ": is a pipe or a device, a regular file is expected";
  EXPECT_EQ(message_of([&] { InputFile{pipe}; }), message);
  EXPECT_EQ(message_of([&] { check_regular(pipe); }), message);
  EXPECT_TRUE(contains(message_of([&] { check_regular(folder.path()); }), ": is a folder, a regular"));
  check_regular(folder / "none");
}

TEST(ReadFile, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "12345";
  EXPECT_EQ(read_file(folder / "file", 5), "12345");
  EXPECT_TRUE(contains(message_of([&] { read_file(folder / "file", 4); }),
                       "file: is longer than the 4 bytes allowed"));
  EXPECT_TRUE(contains(message_of([&] { read_file(folder.path()); }), ": is a folder, a file is expected"));
  EXPECT_TRUE(
      contains(message_of([&] { read_file(folder / "file/below"); }), "cannot open: Not a directory"));
}

}  // namespace
}  // namespace espalier
