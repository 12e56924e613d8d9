"""scripts/gpu-check: the pack tried where there is no card, and machines that are made up."""

import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import unittest

TESTS = pathlib.Path(__file__).resolve().parents[1]
SOURCE = TESTS.parent
SCRIPT = SOURCE / "scripts" / "gpu-check"
sys.path.insert(0, str(TESTS / "cli"))
from support import idx_images, idx_labels, png

# A test program like googletest's. An address that is not its own ends the card's context: what comes behind it in the
# same process fails, too.
TEST_PROGRAM = r"""#!/usr/bin/env python3
import os, signal, sys, time
TESTS = ["CudaNorm.Backward", "CudaNorm.Dies", "CudaNorm.Forward", "NetworksOnCuda.Trains", "OpsOnCuda.Add",
         "OpsOnCuda.Multiplies", "OpsOnCuda.Norms", "OpsOnCuda.Oversteps", "OpsOnCuda.Pools", "OpsOnCuda.Wrong", "Shapes/CudaGemm.Forward/0", "CudnnPlans.Are"]
healthy = os.environ.get("FAKE_HEALTH") != "ill"
if sys.argv[1] == "--gtest_list_tests":
    suite = ""
    for test in TESTS:
        if test.split(".")[0] != suite:
            suite = test.split(".")[0]
            print(suite + ".")
        print("  " + test.split(".")[1] + ("  # GetParam() = 8-byte object <01-00>" if "/" in test else ""))
    sys.exit(0)
wanted = sys.argv[2].removeprefix("--gtest_filter=").split(":")
broken = failed = False
print("Note: Google Test filter = " + sys.argv[2])
for test in TESTS:
    if test not in wanted:
        continue
    print("[ RUN      ]", test, flush=True)
    if test == "NetworksOnCuda.Trains" and os.environ.get("FAKE_HEALTH") == "slow":
        time.sleep(100)
    if not healthy and test == "CudaNorm.Dies":
        os.kill(os.getpid(), signal.SIGKILL)
    broken = broken or (not healthy and test == "OpsOnCuda.Oversteps")
    wrong = not healthy and test in ("OpsOnCuda.Multiplies", "OpsOnCuda.Wrong")
    if broken:
        print("unknown file: Failure\nC++ exception with description \"cuda: cudaStreamSynchronize(stream()) failed: "
              "an illegal memory access was encountered (cudaErrorIllegalAddress) (allocator.cpp:1)\" thrown.")
    if wrong:
        print("ops_test.cpp:1: Failure\nValue of: near(y, expected)")
    failed = failed or broken or wrong
    ended = "[  FAILED  ]" if broken or wrong else "[       OK ]"
    broken = broken or (not healthy and test == "OpsOnCuda.Multiplies")  # of which it says nothing itself
    print(ended, test, "(1 ms)", flush=True)
sys.exit(failed)
"""


class GpuCheck(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="gpu-check-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def run_script(self, *arguments, script=SCRIPT, **options):
        return subprocess.run([sys.executable, script, *map(str, arguments)], cwd=self.folder, capture_output=True,
                              text=True, timeout=250, **options)

    def write(self, name, content, mode=0o644):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)

    def write_data(self):
        for name, count in (("train", 640), ("t10k", 60)):
            labels = [i % 10 for i in range(count)]
            images = [bytes([25 * label]) * 28 * 28 for label in labels]
            self.write(f"root/mnist/{name}-images-idx3-ubyte", idx_images(images, side=28))
            self.write(f"root/mnist/{name}-labels-idx1-ubyte", idx_labels(labels))
        with tarfile.open(self.folder / "root" / "cifar10-jpeg.tar.xz", "w:xz", preset=0) as archive:
            for split, count in (("train", 26), ("test", 3)):
                for i in range(10 * count):
                    image = png(32, 32, 3, 20 * (i % 10) + 10)
                    entry = tarfile.TarInfo(f"{split}/{i % 10}/{i}.png")
                    entry.size = len(image)
                    archive.addfile(entry, io.BytesIO(image))

    def pack(self, program):
        """A folder of these, made by `pack` of a build in which `program` is espalier, a file or what is in it."""
        self.write_data()
        self.write("build/bin/cuda_test", TEST_PROGRAM, 0o755)
        if isinstance(program, pathlib.Path):
            (self.folder / "build/bin/espalier").symlink_to(program)
        else:
            self.write("build/bin/espalier", program, 0o755)
        packed = self.run_script("pack", self.folder / "packed", "--build", self.folder / "build", "--data",
                                 self.folder / "root", "--level", "0")
        self.assertEqual((packed.returncode, packed.stderr), (0, ""), packed.stdout)
        self.assertRegex(packed.stdout, r"packed: \d+\.\d MB, for glibc \d+\.\d+ and newer; ")
        return self.folder / "packed" / "gpu-check"

    def found(self, out="out"):
        """By part, and the whole."""
        self.assertEqual(sorted(path.name for path in (self.folder / out).iterdir()),
                         ["gpu-check.json", "log.txt", "table.txt"])
        whole = json.loads((self.folder / out / "gpu-check.json").read_text())
        return {row["part"]: row for row in whole["parts"]}, whole


class Refusals(GpuCheck):
    def check(self, result, code, text):
        self.assertEqual((result.returncode, result.stdout), (code, ""))
        self.assertEqual(len(result.stderr.splitlines()), 1)
        self.assertIn(text, result.stderr)

    def copy(self):
        shutil.copy2(SCRIPT, self.folder)
        shutil.copytree(SCRIPT.parent / "gpu_check", self.folder / "gpu_check")
        return self.folder / "gpu-check"

    def test_nothing_is_built(self):
        self.check(self.run_script("pack", "to", "--build", "build/none", "--data", "root"), 2,
                   "is not there; cmake --preset cuda")
        self.assertFalse((self.folder / "to").exists())

    def test_no_data(self):
        for name in ("espalier", "cuda_test"):
            self.write(f"build/bin/{name}", "")
        self.check(self.run_script("pack", "to", "--build", self.folder / "build", "--data", "root"), 2,
                   "root/mnist: is not there")

    def test_nothing_is_packed(self):
        self.check(self.run_script("run", script=self.copy()), 2, "pack.tar.xz: is not there")

    @unittest.skipIf(shutil.which("nvidia-smi"), "there may be a card")
    def test_no_card(self):
        script = self.copy()
        (self.folder / "pack.tar.xz").touch()
        self.check(self.run_script("run", script=script), 3, "no GPU here")

    def test_a_c_library_that_is_too_old(self):
        script = self.copy()
        with tarfile.open(self.folder / "pack.tar.xz", "w:xz") as archive:
            about = tarfile.TarInfo("about.json")
            about.size = len(b'{"glibc": "9.99"}')
            archive.addfile(about, io.BytesIO(b'{"glibc": "9.99"}'))
        self.check(self.run_script("run", "--device", "cpu", script=script), 2, "packed programs need 9.99 or newer")


@unittest.skipIf(os.environ.get("ESPALIER_SANITIZE"), "the program is the same, and slow")
class OnTheCpu(GpuCheck):
    def test_all_of_it_runs_in_an_empty_environment(self):
        script = self.pack(pathlib.Path(os.environ["ESPALIER_BINARY"]).resolve())
        result = self.run_script("run", "--device", "cpu", "--out", self.folder / "out", "--seconds", "0.05",
                                 script=script, env={})
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stdout)
        parts, whole = self.found()
        for name in ("tests of products and ops", "tests of kernels", "tests of networks", "train mnist_mlp",
                     "train resnet20 f32", "train and cut", "the same bits again", "stopped and gone on", "speeds",
                     "kernels beside their floors"):
            self.assertEqual(parts[name]["status"], "ok", parts[name])
        self.assertEqual(parts["memcheck"]["status"], "skipped")
        self.assertEqual({(row["case"], row["precision"]) for row in whole["speeds"] if row["who"] == "espalier"},
                         {("mlp:64", "f32"), ("lenet5:16", "f32")})
        self.assertTrue(all(len(row["rounds"]) == 2 for row in whole["speeds"]))
        kernels = {row["kernel"]: row for row in whole["kernels"][0]["kernels"]}
        self.assertGreater(kernels["conv2d_forward"]["milliseconds"], 0)
        self.assertGreater(kernels["conv2d_forward"]["floor_milliseconds"], 0)
        self.assertIn("images a second, training", (self.folder / "out/table.txt").read_text())


class OnACard(GpuCheck):
    """A machine on which nvidia-smi shows one, and programs that are made up."""

    def setUp(self):
        super().setUp()
        self.write("path/nvidia-smi", "#!/bin/sh\necho 'Made Up, 580.1, 1 MiB, 1 MHz'\n", 0o755)
        self.script = self.pack("#!/bin/sh\necho 'espalier: cuda: all is lost' >&2\nexit 1\n")

    def machine(self, health):
        return {**os.environ, "PATH": f"{self.folder}/path:{os.environ['PATH']}", "FAKE_HEALTH": health}

    def check(self, health, *arguments):
        return self.run_script("run", "--out", self.folder / "out", *arguments, script=self.script,
                               env=self.machine(health))

    def test_a_test_that_breaks_its_process_takes_no_other_along(self):
        result = self.check("ill", "--parts", "^tests")
        self.assertEqual(result.returncode, 1, result.stderr)
        parts, whole = self.found()
        self.assertEqual(whole["card"], "Made Up, 580.1, 1 MiB, 1 MHz")
        self.assertEqual(list(parts), ["tests of products and ops", "tests of kernels", "tests of networks",
                                       "tests of cuDNN's plans"])
        ops, kernels, networks, plans = parts.values()
        self.assertRegex(ops["note"], r"^4 passed, 3 failed; first OpsOnCuda\.Multiplies: ops_test\.cpp:1: Failure$")
        self.assertRegex(kernels["note"], r"^2 passed, 1 died; first CudaNorm\.Dies: DIED$")
        self.assertEqual([networks["status"], networks["note"], plans["status"]], ["ok", "1 passed", "ok"])
        self.assertEqual(whole["tests"]["OpsOnCuda"]["ok"], 3)  # Norms and Pools, behind what breaks, too
        self.assertIn("near(y, expected)", whole["tests"]["OpsOnCuda"]["first_failure"]["message"])
        self.assertIn("near(y, expected)", (self.folder / "out/table.txt").read_text())
        self.assertEqual(whole["tests"]["CudaNorm"]["first_failure"]["test"], "CudaNorm.Dies")

    def test_parts_that_fail_do_not_end_the_others(self):
        result = self.check("well", "--parts", "^(tests of|train|speeds$)")
        self.assertEqual(result.returncode, 1, result.stderr)
        parts, _ = self.found()
        self.assertEqual({name: row["status"] for name, row in parts.items()},
                         {"tests of products and ops": "ok", "tests of kernels": "ok", "tests of networks": "ok",
                          "train mnist_mlp": "FAILED", "train resnet20 tf32": "FAILED", "train resnet20 bf16": "FAILED",
                          "train and cut": "FAILED", "speeds": "FAILED", "tests of cuDNN's plans": "ok"})
        self.assertEqual(parts["train mnist_mlp"]["note"], "exit code 1: espalier: cuda: all is lost")

    def test_what_there_is_no_time_for_is_named(self):
        start = time.monotonic()
        result = self.check("slow", "--budget", "10", "--parts", "^tests|speeds")
        self.assertLess(time.monotonic() - start, 30)
        self.assertEqual(result.returncode, 1, result.stderr)
        parts, whole = self.found()
        self.assertEqual(parts["tests of products and ops"]["status"], "ok")
        self.assertRegex(parts["tests of networks"]["note"], r"^1 was stopped; first NetworksOnCuda\.Trains")
        for name in ("speeds", "speeds, second round", "tests of cuDNN's plans"):
            self.assertEqual([parts[name]["status"], parts[name]["note"]], ["skipped", "no time was left"])
        self.assertEqual(whole["tests"]["NetworksOnCuda"], {"stopped": 1, "first_failure": {
            "test": "NetworksOnCuda.Trains", "end": "STOPPED", "message": ""}})

    def test_a_signal_writes_what_is_known(self):
        with subprocess.Popen([sys.executable, self.script, "run", "--out", self.folder / "out", "--parts", "^tests"],
                              cwd=self.folder, env=self.machine("slow"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as process:
            lines = [process.stdout.readline() for _ in range(3)]  # the card and two parts; the third waits
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=30)
        self.assertEqual((process.returncode, err), (128 + signal.SIGTERM, "gpu-check: ended by SIGTERM\n"), lines)
        parts, _ = self.found()
        self.assertEqual([row["status"] for row in parts.values()][:3], ["ok", "ok", "STOPPED"])
        self.assertEqual(parts["tests of cuDNN's plans"]["note"], "ended by a signal")
        self.assertIn("tests of cuDNN's plans", (self.folder / "out/table.txt").read_text())


if __name__ == "__main__":
    unittest.main()
