// CIFAR-10 and CIFAR-100 in their binary form (https://www.cs.toronto.edu/~kriz/cifar.html).
//
// A file holds only records: a byte for each label, CIFAR-10 one, CIFAR-100 the coarse and then the fine one,
// and 3,072 bytes of pixels, the planes R, G and B of 32 rows of 32.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "espalier/data/dataset.h"

namespace espalier {

/// A form of the files, and which of its labels is meant: CIFAR-100 has 100 fine ones in 20 coarse ones.
enum class Cifar { ten, hundred_fine, hundred_coarse };

/// The published names, in the order of the labels.
const std::vector<std::string>& cifar_class_names(Cifar kind);

/// Images u8 [N,32,32,3] and their labels from the bytes of a file. An Error that names `file` and the byte
/// if they end within a record, hold none, or hold a label that this kind lacks.
Dataset parse_cifar(std::span<const uint8_t> bytes, Cifar kind, const std::string& file);

/// data_batch_1.bin .. data_batch_5.bin and test_batch.bin, or train.bin and test.bin, each plain, .gz or
/// .xz, in a folder, or as they are in an archive (archive.h). `remap` numbers the labels that are present
/// 0..k-1 in their order and leaves out the names of the others. An Error says which files are missing and
/// how to get them; a note says which hold another number of images than the published ones.
DataSplits load_cifar(const std::filesystem::path& folder_or_archive, Cifar kind, bool remap = false);

}  // namespace espalier
