#include "espalier/core/physical_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

#include "espalier/core/cgroup.h"
#include "espalier/util/error.h"
#include "espalier/util/table.h"

namespace espalier {

int64_t physical_memory() { return int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE); }

MemoryLimit memory_limit(const std::filesystem::path& root) {
  MemoryLimit least{physical_memory(), "this machine has"};
  const auto bound = [&](uint64_t bytes, const char* whose) {
    if (bytes < static_cast<uint64_t>(least.bytes)) least = {static_cast<int64_t>(bytes), whose};
  };
  for (const auto& folder : cgroup_folders("memory", root))
    for (const char* name : {"memory.max", "memory.limit_in_bytes"}) {  // of version 2, of version 1
      uint64_t bytes = 0;  // no number, but the word "max", where there is no limit
      if (std::ifstream(folder / name) >> bytes) bound(bytes, "this process's control group allows");
    }
  rlimit limit;
  if (::getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    bound(limit.rlim_cur, "the limit on address space (ulimit -v) is");
  if (::getrlimit(RLIMIT_DATA, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
    bound(limit.rlim_cur, "the limit on data (ulimit -d) is");
  return least;
}

void require_memory(double bytes, const std::string& what) {
  const MemoryLimit limit = memory_limit();
  const auto max_bytes = static_cast<double>(limit.bytes);
  ESP_CHECK(bytes <= max_bytes, what, "; ", limit.whose, " ", bytes_text(max_bytes));
}

}  // namespace espalier
