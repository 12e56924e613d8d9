#include "espalier/cli/environment.h"

namespace espalier::cli {

const std::vector<Definition>& environment_variables() {
  static const std::vector<Definition> all{
      {"ESPALIER_DATA", "Folder of data sets, where neither --data nor the config names one"},
      {"ESPALIER_ISA", "Holds all kernels to an instruction set: avx2 or avx512"},
      {"OMP_NUM_THREADS", "Threads to compute on, where --threads says none"},
      {"XDG_CACHE_HOME", "Where decoded images are kept, in the folder espalier; without it, ~/.cache"},
      {"NO_COLOR", "No colours on the terminal, if it is set to anything"},
  };
  return all;
}

const std::vector<Definition>& exit_codes() {
  static const std::vector<Definition> all{
      {"0", "done"},
      {"1", "the run failed"},
      {"2", "wrong usage or input"},
      {"129, 130, 143", "interrupted by SIGHUP, SIGINT (Ctrl-C), SIGTERM"},
  };
  return all;
}

}  // namespace espalier::cli
