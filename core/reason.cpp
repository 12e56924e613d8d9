#include "espalier/core/reason.h"

#include <dnnl.hpp>

#include <filesystem>
#include <new>
#include <system_error>

#include "espalier/util/error.h"
#include "espalier/util/utf8.h"

namespace espalier {

std::string reason_of(const std::exception& error) {
  if (dynamic_cast<const Error*>(&error)) return error.what();
  if (dynamic_cast<const std::bad_alloc*>(&error)) return "out of memory";
  if (const auto* file = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return printable(file->path1().string()) + ": " + file->code().message();
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) return system->code().message();
  if (const auto* library = dynamic_cast<const dnnl::error*>(&error))
    return library->status == dnnl_out_of_memory ? "out of memory"
                                                 : join("oneDNN cannot do what was asked of it (status ",
                                                        static_cast<int>(library->status), ")");
  return join("a mistake in this program (", printable(error.what()), ")");
}

}  // namespace espalier
