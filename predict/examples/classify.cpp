// classify MODEL PIXELS, in C++: what is taken is given back by itself, and errors are thrown.
// c++ -std=c++17 classify.cpp $(pkg-config --cflags --libs espalier-predict)
#include <espalier_predict.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <vector>

void check(int code) {
  if (code != ESPALIER_PREDICT_OK) throw std::runtime_error(espalier_predict_error());
}

int main(int count, char** arguments) try {
  if (count != 3) return 2;
  espalier_predict_model* loaded = nullptr;
  check(espalier_predict_load(arguments[1], &loaded));
  const std::unique_ptr<espalier_predict_model, decltype(&espalier_predict_free)> model(
      loaded, espalier_predict_free);
  espalier_predict_context* made = nullptr;
  check(espalier_predict_new_context(model.get(), &made));
  const std::unique_ptr<espalier_predict_context, decltype(&espalier_predict_free_context)> context(
      made, espalier_predict_free_context);
  std::ifstream file(arguments[2], std::ios::binary);
  const std::vector<char> pixels(std::istreambuf_iterator<char>(file), {});
  std::vector<float> logits(static_cast<size_t>(espalier_predict_outputs(model.get())));
  check(espalier_predict_run_u8(context.get(), reinterpret_cast<const uint8_t*>(pixels.data()), 1,
                                logits.data()));
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  const char* name = espalier_predict_class_name(model.get(), best);
  std::cout << best << " " << (name ? name : "") << "\n";
} catch (const std::exception& error) {
  std::cerr << "classify: " << error.what() << "\n";
  return 1;
}
