// The help on declared fields: an object's in sections, one for each object within, and all that is declared
// about a word.
#pragma once

#include <string>
#include <vector>

#include "espalier/config/schema.h"

namespace espalier::schema {

/// An object in the entire config. `path` is "stages.N.train.optimizer" where N stands for a list's index,
/// and empty for the config itself.
struct Section {
  std::string path, help;
  const Description* object;
  std::string same_as;  ///< the path of the section before that has the same fields; empty: none has
};
std::vector<Section> sections(const Description& object);

/// "stages.train.optimizer": a section's or a field's path without places in lists, as a person types it.
/// Takes a JSON pointer, too.
std::string plain_path(const std::string& path);

/// A section's fields, each with help, type and defaults, in lines of at most `width` columns.
std::string section_text(const Section& section, size_t width);

/// The sections whose path is `word` or ends with it; a list's element may be left out, or called by its
/// name: "stages.dense.train".
std::vector<Section> sections_named(const std::string& word, const Description& object);
/// What is declared about a name: fields that have it in each place, and what may have it as a value with the
/// fields that are only for this value. Empty: nothing.
std::string help_on(const std::string& word, const Description& object, size_t width);
/// All that the two before know: sections' paths, fields, values.
Names words(const Description& object);

}  // namespace espalier::schema
