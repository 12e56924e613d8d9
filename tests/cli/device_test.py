"""--device and --precision: what is refused, what is said, what stays in files, and what a card does or lacks.

With a card or its emulation (tests/cuda_emulation) the program computes there; what other machines have, drivers, cards
and memory, the emulator is told by the environment.
"""

import json
import os
import random
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(__file__))
from support import SIDE, CliTest, config, draw, png, safetensors, sgd, write_data

BUILD = os.environ.get("ESPALIER_CUDA", "OFF")
TRAIN = {"name": "dense", "train": sgd(steps=12, log_every=4)}


class Device(CliTest):
    def setUp(self):
        super().setUp()
        write_data(self.folder / "data" / "mnist")
        self.write("small.json", config(TRAIN))

    def last_line(self, *arguments, **options):
        """Of an error, which is one line, and the code that it ends with."""
        result = self.espalier(*arguments, **options)
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        return result.stderr.removeprefix("espalier: ").rstrip("\n"), result.returncode


class Precision(Device):
    def test_the_cpu_has_f32_alone(self):
        for command in (("train", "small.json"), ("eval", "x"), ("predict", "x", "y"),
                        ("bench", "train", "--model", "mlp")):
            line, code = self.last_line(*command, "--precision", "tf32")
            self.assertEqual(code, 2)
            self.assertIn(f"{command[0]}: --precision: ", line)
            self.assertIn("the CPU computes only in f32", line)

    def test_in_a_config_it_is_refused_with_its_place(self):
        self.write("tf32.json", config(TRAIN, precision="tf32"))
        for command in ("train", "check"):
            line, code = self.last_line(command, "tf32.json")
            self.assertEqual(code, 2)
            self.assertTrue(line.startswith("tf32.json: /precision: "), line)
            self.assertIn("the CPU computes only in f32", line)
        line, code = self.last_line("train", "small.json", "--set", "precision=tf32")
        self.assertEqual(code, 2)
        self.assertTrue(line.startswith("small.json: precision: "), line)
        self.assertFalse((self.folder / "runs").exists())

    def test_a_mistyped_one_has_its_nearest_spelling(self):
        self.write("typo.json", config(TRAIN, precision="tf23"))
        self.fails_unwritten(2, "typo.json: /precision: found the text \"tf23\", expected one of f32, tf32, "
                                "bf16, did you mean 'tf32'?", "train", "typo.json")
        line, code = self.last_line("eval", "x", "--precision", "f23")
        self.assertEqual(code, 2)
        self.assertIn("did you mean 'f32'?", line)

    def test_f32_is_kept_in_config_and_result(self):
        self.succeeds("train", "small.json", "--precision", "f32")
        self.assertEqual(self.read_json("runs/small/config.json")["precision"], "f32")
        self.assertEqual(self.read_json("runs/small/result.json")["precision"], "f32")
        self.succeeds("train", "small.json")
        self.assertNotIn("precision", self.read_json("runs/small-2/config.json"))
        self.assertEqual(self.read_json("runs/small-2/result.json")["precision"], "f32")


class Plan(Device):
    """The floor of a step, which is arithmetic: without a card, and in a build without CUDA."""

    def plan(self, *arguments):
        return json.loads(self.succeeds("bench", "train", "--device", "cuda", "--plan", "--json", *arguments))

    def test_has_a_floor_for_each_precision(self):
        plan = self.plan("--model", "vgg19", "--batch", 128)
        self.assertEqual([plan["model"], plan["batch"], plan["card"]], ["vgg19", 128, "H100 SXM"])
        floors = {floor["precision"]: floor for floor in plan["floors"]}
        self.assertEqual(list(floors), ["f32", "tf32", "bf16"])
        macs = sum(kernel["macs"] for kernel in floors["f32"]["kernels"])
        self.assertGreater(floors["f32"]["milliseconds"], 2e3 * macs / 67e12)
        self.assertGreater(floors["f32"]["milliseconds"], floors["tf32"]["milliseconds"])
        self.assertGreater(floors["tf32"]["milliseconds"], floors["bf16"]["milliseconds"])
        only = self.plan("--model", "vgg19", "--batch", 128, "--precision", "bf16")
        self.assertEqual(only["floors"], [floors["bf16"]])

    def test_is_a_table_for_a_person(self):
        text = self.succeeds("bench", "train", "--model", "resnet56", "--device", "cuda", "--plan")
        for part in ("conv2d_backward_weights", "batch_norm_backward", "sgd_update", "a step", "images/s in bf16"):
            self.assertIn(part, text)

    def test_of_a_checkpoint_is_of_its_network(self):
        self.succeeds("train", "small.json")
        plan = self.plan("--checkpoint", "runs/small/checkpoint.safetensors", "--batch", 2)
        products = [kernel for kernel in plan["floors"][0]["kernels"] if kernel["kernel"] == "linear_forward"]
        self.assertEqual(products[0]["macs"], 2 * (64 * 12 + 12 * 10))

    def test_refuses_what_it_is_not_of(self):
        bench = ("bench", "train", "--model", "mlp", "--plan")
        self.fails_unwritten(2, "bench: --plan: is of a card: --device cuda, which need not be there", *bench)
        self.fails_unwritten(2, "bench: --plan: is of a step of train", "bench", "infer", "--model", "mlp",
                             "--device", "cuda", "--plan")
        self.fails_unwritten(2, "bench: --verbose: times kernels, and --plan runs none", *bench, "--device", "cuda",
                             "--verbose")
        self.fails_unwritten(2, "bench: --precision: found 'bf61', expected f32, tf32 or bf16, did you mean 'bf16'?",
                             *bench, "--device", "cuda", "--precision", "bf61")


@unittest.skipUnless(BUILD == "OFF", "has CUDA")
class WithoutCuda(Device):
    def test_a_card_is_refused_by_every_command_that_computes(self):
        for command in (("train", "small.json"), ("check", "small.json"), ("eval", "x"), ("predict", "x", "y"),
                        ("bench", "infer", "--model", "mlp")):
            for device in ("cuda", "cuda:1"):
                self.fails_unwritten(2, f"{command[0]}: --device {device}: this build computes only on the CPU; "
                                        "`cmake --preset cuda` makes one that has CUDA",
                                     *command, "--device", device)

    def test_auto_is_the_cpu(self):
        self.succeeds("train", "small.json", "--device", "auto")
        self.assertEqual(self.read_json("runs/small/result.json")["device"], "cpu")


@unittest.skipUnless(BUILD == "EMULATED", "is not emulated")
class OtherMachines(Device):
    """The emulator describes them."""

    def refused(self, message, device="cuda", **machine):
        environment = {f"ESPALIER_EMULATION_{name.upper()}": str(value) for name, value in machine.items()}
        for command in (("train", "small.json"), ("check", "small.json"), ("eval", "x"), ("bench", "train")):
            self.fails_unwritten(2, f"{command[0]}: --device {device}: {message}", *command, "--device", device,
                                 environment=environment)

    def test_no_driver(self):
        self.refused("cuda: no NVIDIA driver is installed on this machine", driver=0)

    def test_an_old_driver(self):
        self.refused("cuda: the NVIDIA driver is too old: it serves CUDA 12.8, this program needs CUDA 13.0; update the "
                     "driver", driver=12080)

    def test_no_card(self):
        self.refused("cuda: the NVIDIA driver shows no card", cards=0)

    def test_no_card_of_that_index(self):
        self.refused("cuda: there is no card 1: the driver shows one, cuda:0", device="cuda:1")
        self.refused("cuda: there is no card 7: the driver shows 2, cuda:0 to cuda:1", device="cuda:7", cards=2)

    def test_a_card_older_than_the_build(self):
        self.refused("cuda: card 0, NVIDIA H100 80GB HBM3 (emulated), is too old: it has compute capability 7.5, this "
                     "program was built for 8.0 and newer (CMAKE_CUDA_ARCHITECTURES)", capability=75)

    def test_auto_is_the_cpu_where_no_card_can_be_had(self):
        for name, value in (("CARDS", 0), ("DRIVER", 0), ("CAPABILITY", 75)):
            with self.subTest(name):
                self.succeeds("train", "small.json", "--device", "auto", "--output", name,
                              environment={f"ESPALIER_EMULATION_{name}": str(value)})
                self.assertEqual(self.read_json(f"{name}/result.json")["device"], "cpu")

    def test_an_allocator_that_is_none(self):
        line, code = self.last_line("bench", "train", "--model", "mlp", "--device", "cuda",
                                    environment={"ESPALIER_CUDA_ALLOCATOR": "plane"})
        self.assertEqual((line, code), ("ESPALIER_CUDA_ALLOCATOR: found 'plane', expected caching or plain", 2))


@unittest.skipUnless(BUILD == "EMULATED", "is not emulated")
class OnACard(Device):
    def test_a_run_says_in_what_it_computes_and_keeps_it(self):
        text = self.succeeds("train", "small.json", "--device", "cuda")
        first = text.splitlines()[0]
        self.assertRegex(first, r"^small: mlp .* on a card in tf32, ")
        result = self.read_json("runs/small/result.json")
        self.assertEqual([result["device"], result["precision"]], ["cuda", "tf32"])
        self.write("exact.json", config(TRAIN, precision="f32"))
        self.assertIn("on a card in f32", self.succeeds("train", "exact.json", "--device", "cuda").splitlines()[0])
        self.assertIn("accuracy", self.succeeds("eval", "runs/small/checkpoint.safetensors", "--device", "cuda",
                                                "--precision", "f32"))

    def longer(self, *arguments):
        return ("train", "small.json", "--resume", "--set", "stages.dense.train.steps=16", *arguments)

    def test_a_run_goes_on_in_its_precision_alone(self):
        self.succeeds("train", "small.json", "--device", "cuda", "--precision", "f32")
        line, code = self.last_line(*self.longer("--device", "cuda"))
        self.assertEqual(code, 2)
        self.assertRegex(line, r"^runs/small/[a-z_]+\.safetensors: was computed in f32, found tf32 to go on in; "
                               r"--precision f32 goes on as it began, --output DIR begins elsewhere$")
        self.succeeds(*self.longer("--device", "cuda", "--precision", "f32"))

    def test_its_folder_knows_the_precision(self):
        self.succeeds("train", "small.json", "--device", "cuda", "--precision", "f32")
        self.succeeds("train", "--resume", "runs/small", "--device", "cuda", "--set", "stages.dense.train.steps=16")

    def test_a_run_moves_to_the_cpu_and_says_so(self):
        self.succeeds("train", "small.json", "--device", "cuda")
        result = self.espalier(*self.longer())
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"was written on cuda in tf32, goes on on cpu in f32: results differ")
        self.assertEqual(self.read_json("runs/small/result.json")["precision"], "f32")

    def test_with_plain_memory_it_computes_the_same(self):
        for allocator in ("caching", "plain"):
            self.succeeds("train", "small.json", "--device", "cuda", "--output", allocator,
                          environment={"ESPALIER_CUDA_ALLOCATOR": allocator})
        caching, plain = (safetensors(self.folder / folder / "checkpoint.safetensors")[0]
                          for folder in ("caching", "plain"))
        self.assertEqual(plain, caching)

    def test_bench_times_its_kernels_beside_their_floors(self):
        bench = ("bench", "train", "--model", "lenet5", "--batch", 2, "--seconds", 0.01, "--verbose", "--device",
                 "cuda")
        result = self.espalier(*bench, "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        shown = json.loads(result.stdout)
        self.assertEqual((shown["device"], shown["precision"]), ("cuda", "tf32"))
        rows = {(row["layer"], row["kernel"]): row for row in shown["profile"]["kernels"]}
        self.assertIn(("conv2", "conv2d_backward_data"), rows)
        for row in rows.values():
            self.assertGreater(row["milliseconds"], 0)
            self.assertGreater(row["floor_milliseconds"], 0)
        product = rows["fc1", "linear_forward"]
        floors = [2e-6 * product["macs"] / shown["profile"]["peak_gflops"],
                  1e-6 * product["bytes"] / shown["profile"]["peak_gigabytes"]]
        self.assertAlmostEqual(product["floor_milliseconds"], max(floors))
        self.assertIn("linear_backward_data", result.stderr)
        self.fails_unwritten(2, "bench: --verbose: times kernels in f32 and tf32, found bf16", *bench,
                             "--precision", "bf16")

    def test_check_says_what_the_card_has(self):
        text = " ".join(self.succeeds("check", "small.json", "--device", "cuda").split())
        self.assertRegex(text, r"the card has 8\d\.\d GB of 8\d\.\d GB left, for batches of up to about [\d,]+")
        self.assertIn("on NVIDIA H100", text)

    def test_what_does_not_fit_the_card_is_refused_before_it_begins(self):
        self.write("wide.json", config(TRAIN, model={"type": "mlp", "input": [8, 8, 1], "hidden": [400000]},
                                       data={"type": "mnist", "batch": 100}))
        environment = {"ESPALIER_EMULATION_MEMORY": str(300 << 20)}
        for command in ("train", "check"):
            line, code = self.last_line(command, "wide.json", "--device", "cuda", environment=environment)
            self.assertEqual(code, 1, line)
            self.assertRegex(line, r"^wide\.json: a run needs about .*; the card has 31\d MB of 31\d MB left, for which "
                                   r"a batch of about \d+ would do, data\.batch is 100$")
        self.assertFalse((self.folder / "runs").exists())

    def test_out_of_memory_names_layer_and_batch(self):
        line, code = self.last_line("bench", "train", "--model", "lenet5", "--batch", 1000, "--device", "cuda",
                                    environment={"ESPALIER_EMULATION_MEMORY": str(100 << 20)})
        self.assertEqual(code, 1)
        found = re.fullmatch(r"stage 'bench': cuda: out of memory: \d+ MiB asked for by (.*); this program uses \d+ MiB "
                             r"and holds \d+ MiB; \d+ MiB of 100 MiB are free on NVIDIA H100.*; a batch of about (\d+) "
                             r"would fit, data\.batch is 1000; no checkpoint has been written yet", line)
        self.assertIsNotNone(found, line)
        self.assertRegex(found[1], r"^(the gradients of )?(conv1|conv2|fc1|max_pool2d)( \(\w+\))?$")
        self.succeeds("bench", "train", "--model", "lenet5", "--batch", int(found[2]) // 2, "--device", "cuda",
                      "--seconds", 0.01, environment={"ESPALIER_EMULATION_MEMORY": str(100 << 20)})


@unittest.skipUnless(BUILD == "EMULATED", "is not emulated")
class InBf16(Device):
    """A network with norms and residuals, trained, cut and tuned."""

    def setUp(self):
        super().setUp()
        self.write("half.json", config({"name": "dense", "train": sgd(steps=4, log_every=2)},
                                       {"name": "cut", "prune": {"unit": "channel", "criterion": "l2", "ratio": 0.25,
                                                                 "min_channels": 2}},
                                       {"name": "tuned", "train": sgd(steps=4, log_every=2)},
                                       model={"type": "resnet20", "input": [SIDE, SIDE, 1], "width": 0.25},
                                       precision="bf16"))

    def train(self, *arguments):
        return self.succeeds("train", *arguments, "--device", "cuda")

    def test_it_trains_cuts_evaluates_and_predicts(self):
        first = self.train("half.json").splitlines()[0]
        self.assertRegex(first, r"^half: resnet20 .* on a card in bf16, ")
        result = self.read_json("runs/half/result.json")
        self.assertEqual([result["device"], result["precision"]], ["cuda", "bf16"])
        dense, cut, tuned = result["stages"]
        self.assertLess(tuned["macs"], dense["macs"])
        model = "runs/half/models/tuned.safetensors"
        evaluate = ("eval", model, "--device", "cuda", "--json")
        shown = json.loads(self.succeeds(*evaluate))
        self.assertEqual(shown["accuracy"], tuned["accuracy"])
        exact = json.loads(self.succeeds(*evaluate, "--precision", "f32"))
        self.assertNotEqual(shown["loss"], exact["loss"])
        self.assertAlmostEqual(shown["loss"], exact["loss"], delta=0.02 * exact["loss"])
        self.write("digits/0.png", png(SIDE, SIDE, 1, draw(0, random.Random(1))))
        found = json.loads(self.succeeds("predict", model, "digits", "--json", "--top", 10, "--device", "cuda"))
        self.assertAlmostEqual(sum(one["probability"] for one in found["predictions"]), 1, 5)

    def test_it_goes_on_to_the_same_bits(self):
        longer = ("--set", "stages.tuned.train.steps=8")
        self.train("half.json", *longer, "--output", "at-once")
        self.train("half.json", "--output", "in-two")
        self.train("--resume", "in-two", *longer)
        at_once, in_two = (safetensors(self.folder / folder / "checkpoint.safetensors")[0]
                           for folder in ("at-once", "in-two"))
        self.assertEqual(in_two, at_once)
        self.assertEqual(self.read_json("in-two/result.json")["precision"], "bf16")


if __name__ == "__main__":
    unittest.main()
