#include "espalier/core/starvation.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "espalier/core/parallel.h"

namespace espalier {

std::string starvation_warning(const RegionTimes& times, int threads) {
  constexpr double enough = 0.02;  // seconds; about a second of regions, of which one in 61 is timed
  const double total = times.worked + times.waited;
  if (threads < 2 || total < enough || times.waited <= times.worked) return "";
  // All parts are as long as the caller's own: so many threads' worth of them were done in the time it took.
  const int useful = std::max(1, static_cast<int>(threads * times.worked / total));
  return fmt::format(
      "warning: threads wait longer for each other than they compute ({:.0f} % of the time of what {} "
      "share): other "
      "processes use this machine's processors, or there are fewer of them; --threads {} may be faster",
      100 * times.waited / total, threads, useful);
}

std::string new_starvation_warning() {
  static std::mutex one_at_a_time;
  static bool said = false;
  static RegionTimes before;
  const std::lock_guard lock(one_at_a_time);
  if (said) return "";
  const RegionTimes now = ThreadPool::instance().times();
  std::string warning =
      starvation_warning({now.worked - before.worked, now.waited - before.waited}, threads());
  before = now;
  said = !warning.empty();
  return warning;
}

}  // namespace espalier
