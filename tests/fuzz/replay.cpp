// Runs a fuzz target without libFuzzer: NAME_fuzz FILES_OR_FOLDERS... What fuzzing has found, and
// the inputs that led it there, lie in corpus/NAME and are run again by each test, under every compiler.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

void run(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  file.exceptions(std::ios::failbit);  // set where there is no such file
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  std::printf("%s\n", path.c_str());
  std::fflush(stdout);  // whatever stops the program, the last line names the file
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  int inputs = 0;
  for (const std::filesystem::path path : std::vector<std::string>(argv + 1, argv + argc)) {
    if (std::filesystem::is_directory(path)) {
      for (const auto& entry : std::filesystem::directory_iterator(path)) run(entry.path()), ++inputs;
    } else {
      run(path), ++inputs;
    }
  }
  std::printf("%d inputs\n", inputs);
  return inputs == 0;  // an empty corpus tests nothing
}
