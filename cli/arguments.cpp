#include "espalier/cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>

#include "espalier/cli/numbers.h"
#include "espalier/cli/output_file.h"
#include "espalier/cli/usage.h"
#include "espalier/config/lost_quotes.h"
#include "espalier/core/compute_device.h"
#include "espalier/core/parallel.h"
#include "espalier/util/definition_list.h"
#include "espalier/util/error.h"
#include "espalier/util/home.h"
#include "espalier/util/spelling.h"
#include "espalier/util/utf8.h"

namespace espalier::cli {
namespace {

/// Where it is set, parse() leaves there what has been declared, and reads nothing.
std::vector<Argument>* asked = nullptr;

}  // namespace

std::vector<Argument> arguments_of(const Command& command) {
  std::vector<Argument> declared;
  asked = &declared;
  command.run({});
  asked = nullptr;
  return declared;
}

Arguments::Arguments(const std::string& command) : command_(command), app_(std::make_unique<CLI::App>()) {
  app_->allow_extras();  // so that it is fail_unknown that speaks
  app_->set_help_flag("-h,--help", "Print this and stop");
}

Arguments::~Arguments() = default;

std::function<std::string(const std::string&)> Arguments::not_empty(const std::string& name) const {
  return [this, name](const std::string& given) {
    if (given.empty()) fail_usage(command_, ": ", name, ": is empty");
    return std::string();  // nothing is wrong
  };
}

Arguments& Arguments::positional(const std::string& name, std::string& into, const std::string& help) {
  app_->add_option(name, into, help)->required()->type_name("")->check(not_empty(name));
  return *this;
}

Arguments& Arguments::positional(const std::string& name, std::vector<std::string>& into,
                                 const std::string& help) {
  app_->add_option(name, into, help)->required()->type_name("")->check(not_empty(name));
  return *this;
}

Arguments& Arguments::optional_positional(const std::string& name, std::string& into,
                                          const std::string& help) {
  app_->add_option(name, into, help)->type_name("")->check(not_empty(name));
  return *this;
}

Arguments& Arguments::flag(const std::string& name, bool& into, const std::string& help) {
  app_->add_flag(name, into, help)->disable_flag_override();
  return *this;
}

Arguments& Arguments::text(const std::string& name, const std::string& value,
                           std::optional<std::string>& into, const std::string& help) {
  const auto store = [this, name, &into](const std::string& given) {
    if (given.empty()) fail_usage(command_, ": ", name, ": is empty");
    into = given;
  };
  app_->add_option_function<std::string>(name, store, help)->type_name(value);
  return *this;
}

Arguments& Arguments::path(const std::string& name, const std::string& value,
                           std::optional<std::string>& into, const std::string& help) {
  const auto store = [this, name, &into](const std::string& given) {
    if (given.empty()) fail_usage(command_, ": ", name, ": is empty");
    into = expand_home(given);
  };
  app_->add_option_function<std::string>(name, store, help)->type_name(value);
  return *this;
}

Arguments& Arguments::whole(const std::string& name, int64_t& into, int64_t from, int64_t to,
                            const std::string& help) {
  const auto store = [=, this, &into](const std::string& given) {
    const auto value = number_in<int64_t>(given);
    if (!value || *value < from || *value > to)
      fail_usage(command_, ": ", name, ": found '", printable(given), "', expected a whole number from ",
                 from, " to ", to);
    into = *value;
  };
  app_->add_option_function<std::string>(name, store, help)->type_name("N");
  return *this;
}

Arguments& Arguments::seconds(const std::string& name, double& into, const std::string& help) {
  const auto store = [this, name, &into](const std::string& given) {
    const auto value = number_in<double>(given);
    if (!value || !(*value > 0) || *value > 86400)
      fail_usage(command_, ": ", name, ": found '", printable(given),
                 "', expected seconds: above 0, at most 86400");
    into = *value;
  };
  app_->add_option_function<std::string>(name, store, help)->type_name("S");
  return *this;
}

Arguments& Arguments::amount(const std::string& name, std::optional<double>& into, const std::string& help) {
  const auto store = [this, name, &into](const std::string& given) {
    into = number_in<double>(given);
    if (!into || !(*into >= 0) || !std::isfinite(*into))
      fail_usage(command_, ": ", name, ": found '", printable(given), "', expected a number of at least 0");
  };
  app_->add_option_function<std::string>(name, store, help)->type_name("X");
  return *this;
}

Arguments& Arguments::overrides(std::vector<std::string>& into) {
  app_->add_option("--set", into, "Set a field of the config, e.g. stages.dense.train.epochs=1; repeatable")
      ->type_name("PATH=VALUE")
      ->expected(1)
      ->allow_extra_args(false)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  return *this;
}

Arguments& Arguments::data_root(std::optional<std::string>& into) {
  return path("--data", "ROOT", into, "Folder of data sets (see `espalier help data`)");
}

Arguments& Arguments::device(const bool* planned) {
  planned_ = planned;
  app_->add_option(
          "--device", device_,
          "What to compute on (default: cpu); cuda:1 is the second card, auto a card if there is one")
      ->type_name("cpu|cuda|auto");
  return *this;
}

Arguments& Arguments::precision(std::optional<std::string>& into) {
  precision_ = &into;
  return text("--precision", "f32|tf32|bf16", into,
              "What a card computes in (default: the config's, or else tf32); the CPU has only f32");
}

Arguments& Arguments::threads() {
  computes_ = true;
  const auto store = [this](const std::string& given) {
    const auto value = number_in<int64_t>(given);
    if (!value || *value < 1 || *value > max_threads)
      fail_usage(command_, ": --threads: found '", printable(given), "', expected a whole number from 1 to ",
                 max_threads);
    set_threads(static_cast<int>(*value));
  };
  app_->add_option_function<std::string>("--threads", store,
                                         "Threads to compute on (default: all processors)")
      ->type_name("N");
  return *this;
}

std::vector<Argument> Arguments::declared() const {
  std::vector<Argument> all;
  for (const CLI::Option* option : app_->get_options()) {
    const bool is_option = !option->get_positional();
    const bool several = option->get_items_expected_max() > 1 ||
                         option->get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll;
    all.push_back({.name = option->get_name(!is_option),
                   .letter = option->get_snames().empty() ? "" : "-" + option->get_snames().front(),
                   .value = is_option && option->get_items_expected_max() > 0 ? option->get_type_name() : "",
                   .help = option->get_description(),
                   .is_option = is_option,
                   .is_required = option->get_required(),
                   .is_repeatable = several});
  }
  return all;
}

std::vector<std::string> Arguments::option_names() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : app_->get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

void Arguments::fail_unknown(const std::string& argument, const Given& given) const {
  const std::string more = "; see `espalier " + command_ + " --help`";
  if (!argument.starts_with("-")) {
    for (const std::string& part : given)
      if (const auto meant = lost_quotes_in(given, part))
        fail_usage(command_,
                   ": one argument too many, for the shell took the value of --set apart; in single "
                   "quotes it stays whole: ",
                   *meant);
    fail_usage(command_, ": one argument too many: '", printable(argument), "'", more);
  }
  const std::string name = argument.substr(0, argument.find('='));
  const std::string nearest = did_you_mean(name, option_names());
  fail_usage(command_, ": no option '", printable(name), "'", nearest.empty() ? more : nearest);
}

std::string Arguments::mistake(const CLI::ParseError& error) const {
  for (const CLI::Option* option : app_->get_options())
    if (option->get_required() && option->count() == 0) return option->get_name(true) + " is required";
  const std::string reason = error.what();  // CLI11's words, which say which option, and what of it
  for (const CLI::Option* option : app_->get_options()) {
    const std::string name = option->get_name();
    if (!reason.starts_with(name + ":") && !reason.starts_with(name + " ")) continue;
    if (reason.ends_with("disallowed flag override")) return name + " takes no value";
    return name + (option->count() > 1 ? " is given more than once" : " needs " + option->get_type_name());
  }
  return "these arguments cannot be understood";
}

bool Arguments::parse(const Given& given) {
  if (asked) {
    *asked = declared();
    return false;
  }
  const auto check_extras = [&] {
    const auto extras = app_->remaining();
    const auto option = std::ranges::find_if(extras, [](const auto& e) { return e.starts_with("-"); });
    if (!extras.empty()) fail_unknown(option != extras.end() ? *option : extras.front(), given);
  };
  try {
    app_->parse(std::vector<std::string>(given.rbegin(), given.rend()));
  } catch (const CLI::CallForHelp&) {
    print(usage(command_named(command_), declared(), help_width()));
    return false;
  } catch (const CLI::ParseError& error) {
    check_extras();  // a mistyped option is why something else is missing
    fail_usage(command_, ": ", mistake(error), "; see `espalier ", command_, " --help`");
  }
  check_extras();
  if (planned_ && *planned_) {
    if (device_ != "cuda")
      fail_usage(command_, ": --plan: is of a card: --device cuda, which need not be there");
  } else {
    choose_device(device_, command_ + ": --device");
    if (precision_ && *precision_) choose_precision(**precision_, command_ + ": --precision");
  }
  if (computes_) espalier::threads();  // what OMP_NUM_THREADS has wrong is said before anything is done
  for (const CLI::Option* option : app_->get_options())
    if (option->get_positional())
      for (const std::string& given_for_it : option->results()) check_standard_output(command_, given_for_it);
  return true;
}

}  // namespace espalier::cli
