// A descriptor of cuDNN's backend as the stand-in keeps it: what was set of it, and the real library's own.
#pragma once

#include <cudnn_graph.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

namespace espalier::emulation {

struct Node;
using NodePointer = std::shared_ptr<Node>;

struct Node {
  explicit Node(cudnnBackendDescriptorType_t of_type) : type(of_type) {}
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
  ~Node();

  cudnnBackendDescriptorType_t type;
  bool finalized = false;
  cudnnBackendDescriptor_t real = nullptr;                                ///< null without the real library
  std::map<cudnnBackendAttributeName_t, std::vector<char>> values;        ///< numbers and pointers
  std::map<cudnnBackendAttributeName_t, std::vector<NodePointer>> nodes;  ///< other descriptors
  NodePointer graph;  ///< of an engine's configuration: what it was proposed for

  template <class T>
  std::vector<T> all(cudnnBackendAttributeName_t name) const {
    const auto found = values.find(name);
    if (found == values.end()) return {};
    std::vector<T> numbers(found->second.size() / sizeof(T));
    std::memcpy(numbers.data(), found->second.data(), numbers.size() * sizeof(T));
    return numbers;
  }
  template <class T>
  T one(cudnnBackendAttributeName_t name, T otherwise) const {
    const std::vector<T> numbers = all<T>(name);
    return numbers.empty() ? otherwise : numbers.front();
  }
  const Node* node(cudnnBackendAttributeName_t name) const {
    const auto found = nodes.find(name);
    return found == nodes.end() || found->second.empty() ? nullptr : found->second.front().get();
  }
};

}  // namespace espalier::emulation
