"""bench/compare.py: its arithmetic, its limits on both sides, and what it says when something is missing."""

import argparse
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

sys.dont_write_bytecode = True
BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"


def load_script():
    sys.path.insert(0, str(BENCH))
    try:
        spec = importlib.util.spec_from_file_location("compare", BENCH / "compare.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(BENCH))


compare = load_script()


def found(rate, milliseconds=1.0, peak=2**20):
    return {"threads": 1, "images_per_second": {"median": rate, "best": 2 * rate},
            "milliseconds": {"median": milliseconds, "best": milliseconds / 2}, "peak_memory_bytes": peak}


def arguments(**changed):
    return argparse.Namespace(**{"espalier": "espalier", "seconds": 1.0, "threads": 1, "rounds": 3, "isa": None,
                                 "input": None, "classes": None, "bf16": False,
                                 "catalogue": {"mlp": {"convolutional": False}, "lenet5": {"convolutional": True}},
                                 **changed})


class Race(unittest.TestCase):
    def test_contenders_take_turns_and_ratios_are_of_medians(self):
        rates = {"Espalier": iter([10.0, 40.0, 20.0]), "PyTorch eager": iter([5.0, 4.0, 8.0]),
                 "PyTorch compiled": iter([20.0, 20.0, 20.0])}
        order = []

        def output(command, name, _):
            order.append(name)
            return found(next(rates[name]))

        with mock.patch.object(compare, "output", output), mock.patch("builtins.print"):
            results, best, failed = compare.race("train", "mlp", 64, arguments())
        self.assertEqual(order, 3 * ["Espalier", "PyTorch eager", "PyTorch compiled"])
        self.assertEqual(results["Espalier"]["images_per_second"],
                         {"median": 20.0, "rounds": [10.0, 40.0, 20.0], "best": 80.0})
        self.assertNotIn("ratio", results["Espalier"])
        self.assertEqual(results["PyTorch eager"]["ratio"], {"of_medians": 4.0, "rounds": [2.0, 10.0, 2.5]})
        self.assertEqual(results["PyTorch compiled"]["ratio"], {"of_medians": 1.0, "rounds": [0.5, 2.0, 1.0]})
        self.assertEqual(best, {"PyTorch": "PyTorch compiled"})
        text = compare.table("train mlp", results, best, failed).splitlines()
        self.assertEqual(text[0], "train mlp")
        self.assertRegex(text[3], r"PyTorch eager +5\.0 +1\.0000 +1 +4\.00   2\.00 to 10\.00$")
        self.assertEqual(text[-1], "  1.00 times PyTorch's best (0.50 to 2.00; PyTorch compiled), in 1 MiB beside 1")

    def test_a_contender_that_fails_is_left_out_and_named(self):
        order = []

        def output(command, name, _):
            order.append(name)
            if name in broken:
                raise compare.Failure(f"{name}: exit code 1: no")
            return found(8.0)

        with mock.patch.object(compare, "output", output), mock.patch("builtins.print"):
            broken = {"PyTorch compiled"}
            results, best, failed = compare.race("train", "mlp", 64, arguments())
            self.assertEqual(order, ["Espalier", "PyTorch eager", "PyTorch compiled",
                                     "Espalier", "PyTorch eager", "Espalier", "PyTorch eager"])
            self.assertEqual((list(results), best), (["Espalier", "PyTorch eager"], {"PyTorch": "PyTorch eager"}))
            self.assertIn("  left out: PyTorch compiled: exit code 1: no",
                          compare.table("", results, best, failed).splitlines())
            for broken in ({"Espalier"}, {"PyTorch eager", "PyTorch compiled"}):
                with self.assertRaises(compare.Failure):
                    compare.race("train", "mlp", 64, arguments())

    def test_each_peer_has_a_best_of_its_own(self):
        rates = {"Espalier": 8.0, "ONNX Runtime": 5.0, "PyTorch eager, NCHW": 1.0, "PyTorch compiled, NCHW": 2.0,
                 "PyTorch eager, NHWC": 4.0, "PyTorch compiled, NHWC": 3.0, "PyTorch bf16 eager, NCHW": 10.0,
                 "PyTorch bf16 compiled, NCHW": 16.0, "PyTorch bf16 eager, NHWC": 11.0,
                 "PyTorch bf16 compiled, NHWC": 12.0}
        with mock.patch.object(compare, "output", lambda command, name, _: found(rates[name])), \
                mock.patch("builtins.print"):
            results, best, failed = compare.race("infer", "lenet5", 1, arguments(bf16=True))
        self.assertEqual(list(results), list(rates))
        self.assertEqual(best, {"PyTorch": "PyTorch eager, NHWC", "ONNX Runtime": "ONNX Runtime",
                                "PyTorch bf16": "PyTorch bf16 compiled, NCHW"})
        self.assertEqual([line.split("'s best")[0] for line in compare.table("", results, best, failed).splitlines()[-3:]],
                         ["  1.60 times ONNX Runtime", "  2.00 times PyTorch", "  0.50 times PyTorch bf16"])

    def test_who_races(self):
        def names(*task, **changed):
            return [contender.name for contender in compare.contenders(*task, arguments(**changed))]

        self.assertEqual(names("infer", "mlp", 1), ["Espalier", "ONNX Runtime", "PyTorch eager", "PyTorch compiled"])
        self.assertNotIn("ONNX Runtime", names("infer", "mlp", 1, isa="avx2"))
        self.assertNotIn("ONNX Runtime", names("train", "mlp", 1))
        self.assertEqual(names("train", "lenet5", 1)[1:],
                         ["PyTorch eager, NCHW", "PyTorch compiled, NCHW", "PyTorch eager, NHWC",
                          "PyTorch compiled, NHWC"])


    def test_all_are_given_the_same_task(self):
        for contender in compare.contenders("infer", "lenet5", 2, arguments(input="8x9x1", classes=7, bf16=True)):
            given = " ".join(contender.command)
            self.assertIn("infer --model lenet5 --batch 2 --seconds 1.0 --threads 1 --input 8x9x1 --classes 7", given)
            self.assertEqual("--bf16" in given, "bf16" in contender.name)
            self.assertEqual("--layout nhwc" in given, "NHWC" in contender.name)
            self.assertEqual("--compiled" in given, "compiled" in contender.name)
        self.assertNotIn("--input", compare.contenders("train", "mlp", 2, arguments())[0].command)


class Limits(unittest.TestCase):
    def test_both_sides_are_held_alike_and_nothing_is_set_for_one_library(self):
        outside = {"OPENBLAS_CORETYPE": "X", "OMP_NUM_THREADS": "1", "GOMP_CPU_AFFINITY": "0", "KMP_AFFINITY": "none",
                   "MKL_NUM_THREADS": "1", "ESPALIER_ISA": "avx512", "HOME": "/"}
        with mock.patch.dict(os.environ, outside, clear=True):
            self.assertEqual(compare.environment(None), {"HOME": "/"})
            self.assertEqual(compare.environment("avx2"),
                             {"HOME": "/", "ESPALIER_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2",
                              "ONEDNN_MAX_CPU_ISA": "AVX2"})

    def test_a_contender_gets_so_many_cores(self):
        code = "import os, json; print(json.dumps(len(os.sched_getaffinity(0))))"
        self.assertEqual(compare.output([sys.executable, "-c", code], "it", arguments(threads=1)), 1)


class Failures(unittest.TestCase):
    def test_a_contender_that_fails_is_named_with_its_last_line(self):
        for code, says in (("import sys; sys.exit('one\\ntwo')", "it: exit code 1: two"),
                           ("print('no json')", "it: printed no JSON object: 'no json\\n'")):
            with self.assertRaises(compare.Failure) as caught:
                compare.output([sys.executable, "-c", code], "it", arguments())
            self.assertEqual(str(caught.exception), says)

    def test_a_contender_on_other_threads_is_named(self):
        code = "print('{\"threads\": 2}')"
        contender = compare.Contender("it", [sys.executable, "-c", code])
        with self.assertRaises(compare.Failure) as caught:
            compare.turn(contender, arguments(threads=1))
        self.assertEqual(str(caught.exception), "it: ran with threads 2, was asked for 1")

    def run_script(self, script, *options, packages=()):
        with tempfile.TemporaryDirectory() as folder:
            for name in packages:
                (pathlib.Path(folder) / f"{name}.py").touch()
            return subprocess.run([sys.executable, "-S", BENCH / script, *options], capture_output=True, text=True,
                                  env={"PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"})

    def test_says_in_one_line_what_is_missing(self):
        for script, options, names in (("compare.py", ["train"], "torch, numpy"),
                                       ("compare.py", ["infer"], "torch, numpy, onnx, onnxruntime"),
                                       ("peers.py", ["train"], "torch, numpy"),
                                       ("mnist.py", [], "torch, numpy"), ("golden.py", [], "torch, numpy")):
            result = self.run_script(script, *options)
            self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertIn(f"{script}: needs {names}, which", result.stderr)

    def test_says_in_one_line_that_espalier_is_not_built(self):
        result = self.run_script("compare.py", "train", "--espalier", "absent", packages=["torch", "numpy"])
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(result.stderr, "compare.py: absent: no such program; scripts/quickstart builds it\n")


if __name__ == "__main__":
    unittest.main()
