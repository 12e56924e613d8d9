// oneDNN's calls of GCC's OpenMP library (libgomp) come here, for the dynamic linker takes a program's own
// functions before those of the libraries that it is linked with. So there is one pool of threads, and what
// is said of it holds for oneDNN's regions, too. Calls from elsewhere, of a program that uses this library
// and OpenMP beside it, go on to libgomp: who calls is known by the address that the call returns to. Where
// a program has loaded oneDNN before it loads a library that holds this one, our functions are not found
// first, and oneDNN runs on libgomp.
#include "espalier/core/openmp.h"

#include <dlfcn.h>
#include <link.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "espalier/core/parallel.h"
#include "espalier/core/thread_pool.h"
#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

/// Addresses of a library's code and data.
struct Span {
  uintptr_t begin = 0, end = 0;
  bool holds(uintptr_t address) const { return begin <= address && address < end; }
};

/// Where the library is that has this function.
Span library_of(const char* function) {
  struct Search {
    uintptr_t address;
    Span found;
  } search{reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, function)), {}};
  const auto look = [](dl_phdr_info* library, size_t, void* data) {
    auto& s = *static_cast<Search*>(data);
    Span span{UINTPTR_MAX, 0};
    for (int i = 0; i < library->dlpi_phnum; ++i) {
      const auto& segment = library->dlpi_phdr[i];
      if (segment.p_type != PT_LOAD) continue;
      const uintptr_t begin = library->dlpi_addr + segment.p_vaddr;
      span = {std::min(span.begin, begin), std::max<uintptr_t>(span.end, begin + segment.p_memsz)};
    }
    if (span.holds(s.address)) s.found = span;
    return int{s.found.end != 0};
  };
  dl_iterate_phdr(look, &search);
  return search.found;
}

bool from_onednn(const void* return_address) {
  static const Span onednn = library_of("dnnl_version");
  return onednn.holds(reinterpret_cast<uintptr_t>(return_address));
}

/// libgomp's function of that name.
template <class Function>
Function* libgomps(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

}  // namespace

std::optional<int> openmp_num_threads() {
  const char* set = std::getenv("OMP_NUM_THREADS");
  if (!set || !*set) return std::nullopt;
  const std::string_view text(set), first = text.substr(0, text.find(','));
  int count = 0;
  const auto [stop, error] = std::from_chars(first.data(), first.data() + first.size(), count);
  if (error != std::errc() || stop != first.data() + first.size() || count < 1 || count > max_threads)
    fail_usage("OMP_NUM_THREADS: found '", printable(text), "', expected a whole number from 1 to ",
               max_threads);
  return count;
}

}  // namespace espalier

// The names and arguments are libgomp's.
extern "C" {

void GOMP_parallel(void (*function)(void*), void* data, unsigned parts, unsigned flags) {
  using namespace espalier;
  if (!from_onednn(__builtin_return_address(0))) {
    static const auto other = libgomps<void(void (*)(void*), void*, unsigned, unsigned)>("GOMP_parallel");
    return other(function, data, parts, flags);
  }
  struct Call {
    void (*function)(void*);
    void* data;
  } const call{function, data};
  const auto body = [](const void* context, int) {
    const auto& c = *static_cast<const Call*>(context);
    c.function(c.data);
  };
  ThreadPool::instance().run_together(parts > 0 ? static_cast<int>(parts) : threads(), body, &call);
}

void GOMP_barrier() {
  using namespace espalier;
  if (from_onednn(__builtin_return_address(0))) return ThreadPool::instance().barrier();
  static const auto other = libgomps<void()>("GOMP_barrier");
  other();
}

int omp_get_max_threads() {
  using namespace espalier;
  if (from_onednn(__builtin_return_address(0))) return threads();
  static const auto other = libgomps<int()>("omp_get_max_threads");
  return other();
}

int omp_get_num_threads() {
  using namespace espalier;
  if (from_onednn(__builtin_return_address(0))) return ThreadPool::place().parts;
  static const auto other = libgomps<int()>("omp_get_num_threads");
  return other();
}

int omp_get_thread_num() {
  using namespace espalier;
  if (from_onednn(__builtin_return_address(0))) return ThreadPool::place().part;
  static const auto other = libgomps<int()>("omp_get_thread_num");
  return other();
}

int omp_in_parallel() {
  using namespace espalier;
  if (from_onednn(__builtin_return_address(0))) return ThreadPool::place().inside;
  static const auto other = libgomps<int()>("omp_in_parallel");
  return other();
}

}  // extern "C"
