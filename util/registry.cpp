#include "espalier/util/registry.h"

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {
namespace {

int64_t& count() {
  static int64_t registered = 0;
  return registered;
}

bool may_be_in_a_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

}  // namespace

int64_t registrations() { return count(); }

void fail_row(const std::string& what) { fail_usage(what); }

void check_registration(const std::string& kind, const std::string& name,
                        const std::vector<std::string>& taken) {
  if (name.empty() || !std::ranges::all_of(name, may_be_in_a_name))
    fail_usage(kind, ": found the name '", printable(name),
               "', expected letters, digits, '_', '-' and '.', at least one");
  if (std::ranges::count(taken, name) > 0) fail_usage(kind, ": '", name, "' is there already");
  ++count();
}

}  // namespace espalier
