#include "espalier/nn/module.h"

namespace espalier {

std::vector<Parameter*> Module::parameters() {
  std::vector<Parameter*> all;
  for (auto& parameter : own_) all.push_back(parameter.get());
  for (auto& [name, child] : children_)
    for (Parameter* parameter : child->parameters()) all.push_back(parameter);
  return all;
}

std::vector<std::pair<std::string, Module*>> Module::layers() {
  std::vector<std::pair<std::string, Module*>> all;
  for (auto& [name, child] : children_) {
    if (!child->own_.empty()) all.emplace_back(child->name_, child.get());
    for (auto& below : child->layers()) all.push_back(std::move(below));
  }
  return all;
}

Parameter* Module::find(const std::string& name) {
  for (Parameter* parameter : parameters())
    if (parameter->name == name) return parameter;
  return nullptr;
}

void Module::to(Device device) {
  for (Parameter* parameter : parameters()) parameter->to(device);
}

void Module::set_training(bool on) {
  training_ = on && !frozen_;
  for (auto& [name, child] : children_) child->set_training(on);
}

void Module::set_frozen(bool on) {
  frozen_ = on;
  for (auto& parameter : own_) {
    if (!parameter->learned()) continue;
    parameter->variable.set_requires_gradient(!on);
    parameter->variable.clear_gradient();  // of a step before
  }
}

Parameter& Module::add_parameter(const std::string& name, Role role, Tensor value, FileLayout layout) {
  auto parameter = std::make_unique<Parameter>();
  parameter->name = name;
  parameter->role = role;
  parameter->variable = Variable(std::move(value), role != Role::buffer, name);
  parameter->layout = layout;
  return *own_.emplace_back(std::move(parameter));
}

void Module::adopt(const std::string& name, std::unique_ptr<Module> child) {
  for (const auto& [there, one] : children_)
    ESP_CHECK(there != name, type(), ": has a child '", name, "' already");
  child->rename(name);
  children_.emplace_back(name, std::move(child));
}

void Module::rename(const std::string& prefix) {
  name_ = name_.empty() ? prefix : prefix + "." + name_;
  for (auto& parameter : own_) {
    parameter->name = parameter_name(prefix, parameter->name);
    parameter->variable.set_name(parameter->name);
  }
  for (auto& [name, child] : children_) child->rename(prefix);
}

Frozen::Frozen(Module& model, std::vector<Module*> layers) : model_(model), layers_(std::move(layers)) {
  for (Module* layer : layers_) layer->set_frozen(true);
  model_.set_training(model_.training());
}

Frozen::~Frozen() {
  for (Module* layer : layers_) layer->set_frozen(false);
  model_.set_training(model_.training());
}

}  // namespace espalier
