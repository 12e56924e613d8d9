// --set path.to.field=value: one value of a config, set on the command line.
#pragma once

#include <string>
#include <vector>

#include "espalier/config/schema.h"
#include "espalier/config/set_value.h"

namespace espalier {

/// Some --set, and what became of them.
struct Overrides {
  std::vector<std::string> given;                ///< "stages.dense.train.epochs=1", in their order
  std::vector<schema::SetValue> set = {};        ///< for messages about these values
  std::vector<std::string> notes = {};           ///< what they left out, a line each
  std::string where = schema::the_command_line;  ///< they stand, for messages
};

/// Sets the value of overrides.given[which], after those before it, in `root`, which is described by
/// `description`. A path is typed with dots, or as a JSON pointer ("/stages/0/train"); an element of a list
/// is given by its number, or by its `name` where it has one; objects on the way that are declared but absent
/// are added. A value is JSON, or else text; null takes away the field or the element. A value takes the
/// place of those that the description excludes beside it: of the other fields of its `exactly_one`, and,
/// where it names the object's variant, of the fields that are only for others; not of what the command line
/// has set itself, nor for an object that was merely added on the way. A path that leads nowhere is a
/// UsageError: "--set stages.dnese.train.epochs=1: stages: no element 'dnese' ...".
void apply_override(schema::Json& root, const schema::Description& description, size_t which,
                    Overrides& overrides);

/// The path that --set would be given for the value at `pointer`, which is in `root` or is absent from an
/// object in it: "/stages/1/train/epochs" is stages.tuned.train.epochs.
std::string path_of(const std::string& pointer, const schema::Json& root);

}  // namespace espalier
