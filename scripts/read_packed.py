#!/usr/bin/env python3
"""Reads a packed file (docs/formats.md) with numpy: read_packed.py FILE lists its tensors, and as a module
read(FILE) gives them as arrays by their names. Frames of Zstandard need the package zstandard."""
import json
import sys

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I8": "i1", "U8": "u1"}


def numbers(data, dtype):
    if dtype == "BF16":  # the upper half of an f32
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if dtype == "F16":
        return np.frombuffer(data, "<f2").astype("<f4")
    return np.frombuffer(data, DTYPES[dtype])


def read(path):
    with open(path, "rb") as file:
        raw = file.read()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8:end])
    packed = json.loads(header.pop("__metadata__", {}).get("espalier.packed", '{"version": 1, "tensors": {}}'))
    if packed["version"] != 1:
        raise ValueError(f"{path}: its layout is version {packed['version']}, this reads 1")

    def stored(name, dtype="U8"):
        """The part of that name, opened if it is a frame; its own type else."""
        frame = None if name in header else header.pop(name + ".zstd")
        entry = frame or header.pop(name)
        data = raw[end + entry["data_offsets"][0]:end + entry["data_offsets"][1]]
        if frame:
            import zstandard
            return numbers(zstandard.ZstdDecompressor().decompress(data), dtype)
        return numbers(data, entry["dtype"])

    tensors = {}
    for name, entry in packed["tensors"].items():
        shape, size = entry["shape"], int(np.prod(entry["shape"]))
        places = stored(f"{name}.{entry['encoding']}")
        if entry["encoding"] == "bitmask":
            rows = places.reshape(shape[0], -1)
            kept = np.unpackbits(rows, axis=1, bitorder="little", count=size // shape[0]).ravel().astype(bool)
        else:  # gaps: of 255 no number follows
            kept = np.zeros(size, bool)
            at = np.cumsum(places.astype(np.int64) + (places != 255)) - 1
            kept[at[places != 255]] = True
        tensor = np.zeros(size, "u1" if entry["dtype"] == "U8" else "<f4")
        tensor[kept] = stored(f"{name}.compressed", entry["values"]) if "values" in entry else 1
        tensors[name] = tensor.reshape(shape)
    for name, entry in list(header.items()):
        tensors[name] = stored(name).reshape(entry["shape"])
    return tensors


if __name__ == "__main__":
    for name, tensor in sorted(read(sys.argv[1]).items()):
        print(f"{name:40} {str(tensor.dtype):8} {list(tensor.shape)} {np.count_nonzero(tensor):,} non-zeros")
