"""All parts, in the order of what they tell, on the machine that has the card."""

import json
import os
import pathlib
import platform
import re
import signal
import sys
import tarfile
import tempfile

from gpu_check import ROOT, fail, machine
from gpu_check.commands import Failed, Runner, Skipped, Terminated
from gpu_check.googletest import Tests
from gpu_check.report import Report
from gpu_check.speed import Speed
from gpu_check.training import Training

# Which tests a part runs: the first group that a name is found in. Products of one image with one feature come first
# of all: what is wrong with them is wrong with everything.
GROUPS = {"one product": r"CudaGemm\.\w+/0$", "ops": r"^OpsOnCuda\.|CudaGemm\.",
          "plans": r"^CudnnPlans\.", "networks": r"^(Networks|CapturedStep|Loader|Surgery|Regularize)\w*\.",
          "kernels": r""}


def group_of(name):
    return next(group for group, pattern in GROUPS.items() if re.search(pattern, name))


class Check:
    def __init__(self, arguments, scratch, unpacked, report):
        self.device, self.seconds = arguments.device, arguments.seconds
        self.scratch, self.unpacked, self.report = scratch, unpacked, report
        self.runner = Runner(scratch, arguments.out / "log.txt")
        self.environment = machine.environment_of_ours(unpacked, scratch)
        self.program = unpacked / "bin" / "espalier"
        self.tests = report.tests = Tests(unpacked / "bin" / "cuda_test", self.environment, self.runner)
        self.test_names = None

    def espalier(self, arguments, limit, environment=None, watch=None):
        command = [self.program, *arguments, "--device", self.device]
        return self.runner.run(command, self.environment | (environment or {}), limit, watch)

    def run_tests(self, *groups):
        def body(deadline):
            if self.test_names is None:
                self.test_names = self.tests.names(deadline.left())
            names = [name for name in self.test_names if group_of(name) in groups]
            if not names:
                raise Failed("its test program has none")
            for group in groups:
                self.tests.run([name for name in names if group_of(name) == group], deadline)
            return self.tests.summary(names)

        return body

    def sanitized(self, tool, options, environment, precisions):
        """A small run under compute-sanitizer, whose own libraries are not ours: `env` changes them after it."""
        def body(deadline):
            program = machine.compute_sanitizer()
            if self.device != "cuda":
                raise Skipped("only for a card")
            if not program:
                raise Skipped("compute-sanitizer is not on this machine")
            done = []
            for precision in precisions:
                if done and deadline.left() < 10:
                    break
                ours = [f"{name}={value}" for name, value in {**self.environment, **environment}.items()
                        if os.environ.get(name) != value]
                command = [program, "--tool", tool, "--target-processes", "all", "--error-exitcode", 9, *options,
                           "env", *ours, self.program, "train", Training(self).tiny(), "--quiet",
                           "--output", f"{tool}-{precision}", "--device", self.device, "--precision", precision]
                result = self.runner.run(command, None, deadline.left())
                if "Device not supported" in result.out:
                    raise Skipped("compute-sanitizer does not support the card on this machine")
                found = [line.strip("= ") for line in result.out.splitlines() if line.startswith("=====")]
                if result.code == 9:
                    raise Failed(f"{precision}: {' / '.join(found[1:4])} ... {found[-1]}")
                result.checked()
                done.append(f"{precision}: {found[-1] if found else 'it said nothing'}")
            return "; ".join(done)

        return body


def parts_of(check, with_torch):
    """(name, limit in seconds, body), and what is to be closed at the end."""
    training, speed = Training(check), Speed(check, with_torch)
    parts = [("tests of products and ops", 60, check.run_tests("one product", "ops")),
             ("tests of kernels", 60, check.run_tests("kernels")),
             ("tests of networks", 60, check.run_tests("networks")),
             ("train mnist_mlp", 30, training.mnist)]
    parts += [(f"train resnet20 {precision}", 30, training.resnet(precision)) for precision in training.precisions]
    parts += [("train and cut", 30, training.cut),
              ("the same bits again", 40, training.again),
              ("stopped and gone on", 50, training.resumed),
              ("speeds", 150, speed.round),
              ("memcheck", 50, check.sanitized("memcheck", ["--padding", 1024], {"ESPALIER_CUDA_ALLOCATOR": "plain"},
                                               ("bf16", "tf32"))),
              ("racecheck", 40, check.sanitized("racecheck", ["--kernel-name", "kernel_substring=espalier"], {},
                                                ("bf16",))),
              ("kernels beside their floors", 60, speed.profile),
              ("speed, PyTorch compiled", 60, speed.compiled),
              ("speeds, second round", 150, speed.round)]
    if check.device == "cuda":  # which need no card, and are tested elsewhere
        parts.append(("tests of cuDNN's plans", 40, check.run_tests("plans")))
    return parts, speed.close


def unpack(packed, to):
    with tarfile.open(packed) as archive:
        archive.extractall(to, **({"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}))
    return json.loads((to / "about.json").read_text())


def main(arguments):
    packed = ROOT / "pack.tar.xz"
    if not packed.exists():
        fail(f"{packed}: is not there; `gpu-check pack FOLDER` makes a folder of it and a gpu-check to run there")
    card = machine.card_here() if arguments.device == "cuda" else None
    if arguments.device == "cuda" and card is None:
        fail("no GPU here: neither nvidia-smi nor the driver's library shows one", 3)
    arguments.out = arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "log.txt").unlink(missing_ok=True)

    def terminate(*_):
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        scratch, unpacked = pathlib.Path(folder), pathlib.Path(folder) / "pack"
        about = {"card": card or "none, on the CPU"}
        report = Report(arguments.out, arguments.budget, about)
        parts, close = [], None
        try:
            about |= unpack(packed, unpacked)
            machine.check_glibc(about["glibc"])
            check = Check(arguments, scratch, unpacked, report)
            machine.check_libraries([check.program, check.tests.program], check.environment)
            about |= {"torch": machine.torch_version(), "machine": platform.node()}
            print(", ".join(f"{name} {value}" for name, value in about.items() if value), flush=True)
            parts, close = parts_of(check, about["torch"] is not None)
            for name, limit, body in parts:
                if re.search(arguments.parts, name):
                    report.part(name, limit, body)
        except Terminated:
            report.leave_out([name for name, _, _ in parts], "ended by a signal")
            print("gpu-check: ended by SIGTERM", file=sys.stderr)
            return 128 + signal.SIGTERM
        finally:
            if close:
                close()
            if report.parts:
                rest = report.table().partition("\n\n")[2].partition("\n\n")[2]  # the parts were printed as they ended
                print(f"\n{rest}\n{arguments.out}: gpu-check.json, table.txt, log.txt", flush=True)
    return 1 if report.failed() else 0
