// MNIST: two pairs of IDX files, images and labels (http://yann.lecun.com/exdb/mnist).
//
// An IDX file is a header of big-endian 32-bit numbers, a magic number and one size per axis, and then the
// bytes: images 0x00000803, N, H, W, N H W pixels; labels 0x00000801, N, N labels.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"

namespace espalier {

/// Images u8 [N,H,W,1] from the bytes of an IDX file. An Error that names `file` if the magic number is
/// another, a size is 0, or the bytes are not exactly as many as the header says.
Tensor parse_idx_images(std::span<const uint8_t> bytes, const std::string& file);
/// Labels [N] from the bytes of an IDX file; an Error as above, or if a label is outside 0..9.
std::vector<int32_t> parse_idx_labels(std::span<const uint8_t> bytes, const std::string& file);

/// The same from a file that may be plain, .gz or .xz.
Tensor read_idx_images(const std::filesystem::path& path);
std::vector<int32_t> read_idx_labels(const std::filesystem::path& path);

/// train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte in
/// `folder`, each plain, .gz or .xz. An Error says which are missing and how to get them, or which do not
/// belong together.
DataSplits load_mnist(const std::filesystem::path& folder);

}  // namespace espalier
