// Measuring a card: what a kernel takes there, and what the card does at best. Only in builds with CUDA; in
// others all is an Error.
#pragma once

#include <functional>

namespace espalier {

/// The best milliseconds of one `call`, which asks the card for work and waits for nothing: of a graph of
/// many, so that launching and waiting, which are some microseconds, are next to nothing of it. Numbers that
/// the card's caches hold are there from one call to the next.
double card_ms(const std::function<void()>& call, double limit_ms);

/// Billions of floating-point operations a second in large matrix products, two to a multiply-accumulate, at
/// the precision that is selected; operands and results are f32.
double card_gflops(double limit_ms);
/// Billions of bytes a second, read and written, in copies within the card's memory.
double card_gigabytes(double limit_ms);

}  // namespace espalier
