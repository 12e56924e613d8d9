#include "espalier/nn/network_formats.h"

#include <map>
#include <utility>

namespace espalier {
namespace {

std::map<std::string, NetworkReader>& formats() {
  static std::map<std::string, NetworkReader> all;
  return all;
}

const NetworkReader* reader_of(const std::filesystem::path& file) {
  const auto found = formats().find(file.extension().string());
  return found == formats().end() ? nullptr : &found->second;
}

}  // namespace

void add_network_format(const std::string& ending, NetworkReader read) {
  formats()[ending] = std::move(read);
}

TensorFile read_network(const std::filesystem::path& file) {
  const NetworkReader* reader = reader_of(file);
  return reader ? (*reader)(file) : read_safetensors(file);
}

TensorFile read_network_header(const std::filesystem::path& file) {
  const NetworkReader* reader = reader_of(file);
  if (!reader) return read_safetensors_header(file);
  const MetaDevice shapes_alone;
  return (*reader)(file);
}

bool is_network_file(const std::filesystem::path& file) {
  return reader_of(file) || file.extension() == ".safetensors";
}

}  // namespace espalier
