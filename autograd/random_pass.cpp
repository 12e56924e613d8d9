#include "espalier/autograd/random_pass.h"

#include "espalier/core/random.h"
#include "espalier/util/error.h"

namespace espalier {
namespace {
thread_local RandomPass* innermost = nullptr;
}

RandomPass::RandomPass(uint64_t key) : key_(key), before_(innermost) { innermost = this; }

RandomPass::~RandomPass() { innermost = before_; }

uint64_t RandomPass::next_key() {
  ESP_CHECK(innermost,
            "dropout: draws random numbers in training, but nobody gave the pass a key (RandomPass, "
            "autograd/random_pass.h)");
  return random_key(innermost->key_, innermost->drawn_++);
}

}  // namespace espalier
