"""Bits that turned on the disk are noticed, whichever command reads them."""

import json
import os
import struct
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import CliTest, config, sgd


class Damage(CliTest):
    def test_checkpoints_and_models(self):
        self.write_data()
        self.write("small.json", config({"name": "dense", "train": sgd(epochs=2)}))
        self.succeeds("train", "small.json", "--quiet")
        for file in ("runs/small/checkpoint.safetensors", "runs/small/models/dense.safetensors"):
            good = (self.folder / file).read_bytes()
            bad = bytearray(good)
            bad[-1] ^= 0x40  # of fc2.weight, the last
            self.write(file, bytes(bad))
            message = (f"{file}: tensor 'fc2.weight' does not have the checksum that is kept with it: the file is damaged, or "
                       "what changed it left 'espalier.checksums' in its metadata")
            for command in (["inspect", file], ["eval", file], ["check", "small.json", "--set", f"model.weights={file}"],
                            ["bench", "infer", "--checkpoint", file], ["train", "small.json", "--resume"]):
                if command[0] != "train" or "checkpoint" in file:
                    with self.subTest(command=command):
                        self.fails_unwritten(1, message, *command)
            length = struct.unpack("<Q", good[:8])[0]
            header = json.loads(good[8:8 + length])
            self.assertIn("espalier.checksums", header["__metadata__"])
            del header["__metadata__"]["espalier.checksums"]
            text = json.dumps(header).encode()
            self.write(file, struct.pack("<Q", len(text)) + text + good[8 + length:])  # as older versions wrote it
            self.succeeds("eval", file)
            self.write(file, good)


if __name__ == "__main__":
    unittest.main()
