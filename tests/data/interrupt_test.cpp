// An interrupt is heeded while data load, not only afterwards.
#include "espalier/util/interrupt.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

#include "data/packed_files.h"
#include "data/tar_files.h"
#include "espalier/data/archive.h"
#include "espalier/data/file.h"
#include "espalier/data/file_tree.h"
#include "espalier/data/synthetic.h"
#include "support/temporary_folder.h"

namespace espalier {
namespace {

/// In a process of its own, since a signal stays noted for good: 0 if `load` stops for one that has come.
template <class Load>
[[noreturn]] void exit_interrupted(const Load& load) {
  catch_interrupts();
  std::raise(SIGINT);
  try {
    load();
  } catch (const Interrupted&) {
    std::exit(0);
  }
  std::exit(1);
}

#if !defined(__SANITIZE_THREAD__)  // which ends a forked process that starts threads
TEST(InterruptWhileDataLoad, IsHeeded) {
  const TemporaryFolder folder;
  write(folder / "file", Bytes(1000, 7));
  const Bytes tar = tar_entry("train/a.png", {1}) + tar_end();
  const testing::ExitedWithCode heeded(0);
  EXPECT_EXIT(exit_interrupted([&] { read_bytes(folder / "file", 1000); }), heeded, "");
  EXPECT_EXIT(exit_interrupted([&] { unpack(gzip(Bytes(1000)), "a.gz", 1000); }), heeded, "");
  EXPECT_EXIT(exit_interrupted([&] { unpack(xz(Bytes(1000)), "a.xz", 1000); }), heeded, "");
  EXPECT_EXIT(exit_interrupted([&] { parse_archive(tar, "a.tar", 1 << 20); }), heeded, "");
  EXPECT_EXIT(exit_interrupted([&] { FileTree tree(folder.path()); }), heeded, "");
  EXPECT_EXIT(exit_interrupted([&] { draw_synthetic(); }), heeded, "");
}
#endif

}  // namespace
}  // namespace espalier
