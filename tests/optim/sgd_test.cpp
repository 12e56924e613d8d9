#include "espalier/optim/sgd.h"

#include <gtest/gtest.h>

#include "optim/recorded.h"
#include "support/bad_input.h"

namespace espalier {
namespace {

TEST(Sgd, AsPyTorch) {
  check_recorded({.type = "sgd", .lr = 0.1}, {{0.949999988, -1.89999998, 0.474999994},
                                              {0.849999964, -1.89999998, 0.449999988},
                                              {0.699999988, -2.0, 0.424999982},
                                              {0.5, -2.20000005, 0.399999976}});
  check_recorded({.type = "sgd", .lr = 0.1, .momentum = 0.9, .weight_decay = 0.01},
                 {{0.949000001, -1.898, 0.4745},
                  {0.802151024, -1.80430198, 0.426075488},
                  {0.519184768, -1.81816947, 0.357067376},
                  {0.0639960095, -2.02883196, 0.269602984}});
  check_recorded({.type = "sgd", .lr = 0.1, .momentum = 0.9, .nesterov = true, .weight_decay = 0.01},
                 {{0.903100014, -1.80620003, 0.451550007},
                  {0.670074105, -1.72014821, 0.382537067},
                  {0.264890462, -1.83105886, 0.29510498},
                  {-0.344675034, -2.21894765, 0.19119969}});
}

TEST(Sgd, AMomentumThatMovesAsPyTorch) {
  check_recorded({.type = "sgd", .lr = 0.1, .momentum = 0.9, .nesterov = true},
                 {{0.902499974, -1.80499995, 0.451249987},
                  {0.681374967, -1.73274994, 0.386937499},
                  {0.28095001, -1.85389996, 0.301975012},
                  {-0.360170573, -2.26510859, 0.193095937}},
                 {0.95, 0.85, 0.9, 0.95});
}

TEST(Sgd, WithoutMomentumStaysWithout) {
  check_recorded({.type = "sgd", .lr = 0.1}, {{0.949999988, -1.89999998, 0.474999994}}, {0.95});
}

TEST(Sgd, NesterovNeedsMomentum) {
  EXPECT_EQ(message_of([] { make_optimizer({.type = "sgd", .nesterov = true}, {}); }),
            "sgd: nesterov needs a momentum above 0");
}

}  // namespace
}  // namespace espalier
