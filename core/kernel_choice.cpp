#include "espalier/core/kernel_choice.h"

#include <algorithm>
#include <limits>

#include "espalier/util/stopwatch.h"

namespace espalier::kernel_choice {
namespace {

bool autotune = false;
std::map<std::string, std::string> choices;

double seconds(const std::function<void()>& body) {
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < 5; ++i) {  // the first also makes plans and warms caches
    const Stopwatch watch;
    body();
    best = std::min(best, watch.seconds());
  }
  return best;
}

}  // namespace

void set_autotune(bool on) { autotune = on; }
const std::map<std::string, std::string>& all() { return choices; }
void set_all(std::map<std::string, std::string> kept) { choices = std::move(kept); }
/// In core/cpu/linear/gemm.cpp.
bool is_known(const std::string& name) { return name == "rows" || name == "product"; }
bool active() { return autotune || !choices.empty(); }

void run(const std::string& shape, const std::vector<Candidate>& candidates, size_t rule) {
  if (const auto found = choices.find(shape); found != choices.end()) {
    for (const Candidate& candidate : candidates)
      if (candidate.name == found->second) return candidate.run();
  }
  if (!autotune) return candidates[rule].run();
  const Candidate* fastest = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const Candidate& candidate : candidates) {
    const double time = seconds(candidate.run);
    if (time < least) least = time, fastest = &candidate;
  }
  choices[shape] = fastest->name;
}

}  // namespace espalier::kernel_choice
