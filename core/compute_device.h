// What this process computes on: the CPU, or one card. As the number of threads it is selected once, where
// the command line is read; networks are moved there, and loaders put their batches there.
#pragma once

#include <string>

#include "espalier/core/tensor.h"

namespace espalier {

/// The CPU unless choose_device said another.
Device compute_device();
/// What --device says, which messages call `source`: "cpu", "cuda", "cuda:1", or "auto", a card if there is
/// one that can be had. UsageError, one line, for anything else, and where that card cannot be had
/// (cuda_device.h); in a build without CUDA for all cards.
void choose_device(const std::string& text, const std::string& source = "--device");

/// What --precision says: "f32" (exact), "tf32" or "bf16", how a card computes from now on
/// (cuda_device.h). UsageError for anything else, and for all but f32 on the CPU.
void choose_precision(const std::string& text, const std::string& source = "--precision");
/// "f32" of the CPU.
const char* precision_name();

/// What a network's activations are on this device: f32, or bf16 on a card at that precision. Images that go
/// in say so, and what comes of them is of the same type.
DType activation_dtype(Device device);

/// Waits until all that was asked of the device is done.
void synchronize(Device device);

/// "NVIDIA H200 (driver 580.159.04, CUDA 13.0, cuDNN 9.19.0)" of the card in use; "" of the CPU.
std::string card_text();
/// Bytes of the card in use; all 0 of the CPU.
struct CardMemory {
  double total = 0;
  double used = 0;  ///< by what this process has there
  double left = 0;  ///< that it may have yet: what is free, and what it holds and does not use
};
CardMemory card_memory();
/// The maximum of its memory that has been in use, in bytes; 0 of the CPU.
int64_t peak_card_bytes();

}  // namespace espalier
