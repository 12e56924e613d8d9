"""Images a second of training, ours and PyTorch's by turns, and each kernel's time beside its floor."""

import json
import queue
import subprocess
import threading

from gpu_check import PYTHON
from gpu_check.commands import Failed, Skipped, end

# MODEL:BATCH[:INPUT:CLASSES], the most telling first
CASES = ("vgg19:128", "resnet56:128", "resnet50:64:224x224x3:1000", "mlp:64", "lenet5:64", "vgg19:512",
         "resnet50:256:224x224x3:1000")
PRECISIONS = ("bf16", "tf32", "f32")
COMPILED = (("vgg19:128", "bf16"),)  # compiling takes long
PROFILED = (("vgg19:128", "tf32"), ("resnet50:64:224x224x3:1000", "tf32"), ("vgg19:128", "f32"))
# Where there is no card
SMALL_CASES, SMALL_PRECISIONS, SMALL_PROFILED = ("mlp:64", "lenet5:16"), ("f32",), (("lenet5:16", "f32"),)


class Peer:
    """bench/cuda_peer.py, which is asked for one measurement after the other: PyTorch is loaded once."""

    def __init__(self, check):
        self.check, self.process, self.lines = check, None, None

    def begin(self):
        command = [PYTHON, self.check.unpacked / "bench" / "cuda_peer.py", "--device", self.check.device,
                   "--seconds", self.check.seconds]
        with open(self.check.runner.log, "a") as log:
            self.process = self.check.runner.start(command, None, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                                   stderr=log, text=True)
        self.lines = queue.Queue()

        def read(pipe, lines):
            for line in pipe:
                lines.put(line)
            lines.put("")

        threading.Thread(target=read, args=(self.process.stdout, self.lines), daemon=True).start()

    def ask(self, case, precision, kind, limit):
        """Images a second; Failed where it has none."""
        if self.process is None:
            self.begin()
        question = f"{case} {precision} {kind}"
        try:
            self.process.stdin.write(question + "\n")
            self.process.stdin.flush()
            line = self.lines.get(timeout=limit)
        except (BrokenPipeError, queue.Empty):
            line = ""
        self.check.runner.note(["cuda_peer.py", question], line or "no answer")
        if not line:
            self.close()
            raise Failed(f"PyTorch gave no answer for {question}")
        found = json.loads(line)
        if "error" in found:
            raise Failed(f"PyTorch, {question}: {found['error']}")
        return found["images_per_second"]

    def close(self):
        if self.process:
            end(self.process)
            self.process.stdin.close()
            self.process.stdout.close()
        self.process = None


class Speed:
    def __init__(self, check, with_torch):
        self.check, self.report = check, check.report
        self.peer = Peer(check) if with_torch else None
        on_card = check.device == "cuda"
        self.cases, self.precisions = (CASES, PRECISIONS) if on_card else (SMALL_CASES, SMALL_PRECISIONS)
        self.profiled = PROFILED if on_card else SMALL_PROFILED

    def bench(self, case, precision, limit, *more):
        model, batch, *rest = case.split(":")
        command = ["bench", "train", "--model", model, "--batch", batch, "--json", "--precision", precision,
                   "--seconds", self.check.seconds, *more]
        command += [word for option, value in zip(("--input", "--classes"), rest) for word in (option, value)]
        return json.loads(self.check.espalier(command, limit).checked().out)

    def round(self, deadline):
        """Each case once, as far as the time goes."""
        done, wrong, all_of_them = 0, [], len(self.cases) * len(self.precisions)
        for case in self.cases:
            for precision in self.precisions:
                if deadline.left() < 3:
                    break
                done += 1
                try:
                    shown = self.bench(case, precision, min(40, deadline.left()))
                    self.report.add_speed(case, precision, "espalier", shown["images_per_second"]["median"])
                except Failed as why:
                    wrong.append(f"{case} {precision}: {why}")
                if self.peer and deadline.left() > 3:
                    try:
                        speed = self.peer.ask(case, precision, "eager", min(60, deadline.left()))
                        self.report.add_speed(case, precision, "eager", speed)
                    except Failed as why:
                        wrong.append(str(why))
        if wrong and deadline.left() > 3:
            raise Failed(f"{len(wrong)} were not measured; first {wrong[0]}")
        return f"{done} of {all_of_them}" + ("" if self.peer else "; this python has no PyTorch")

    def compiled(self, deadline):
        if not self.peer:
            raise Skipped("this python has no PyTorch")
        if self.check.device == "cpu":
            raise Skipped("only for a card")
        for case, precision in COMPILED:
            speed = self.peer.ask(case, precision, "compiled", deadline.left())
            self.report.add_speed(case, precision, "compiled", speed)

    def profile(self, deadline):
        wrong = []
        for case, precision in self.profiled:
            if deadline.left() < 3:
                break
            try:
                shown = self.bench(case, precision, deadline.left(), "--verbose")["profile"]
            except Failed as why:
                wrong.append(f"{case} {precision}: {why}")
                continue
            kernels = {}
            for row in shown.pop("kernels"):
                calls, ms, floor = kernels.get(row["kernel"], (0, 0, 0))
                kernels[row["kernel"]] = calls + 1, ms + row["milliseconds"], floor + row["floor_milliseconds"]
            self.report.kernels[case, precision] = {**shown, "kernels": kernels}
        if wrong:
            raise Failed(wrong[0])
        return f"{len(self.report.kernels)} of {len(self.profiled)}"

    def close(self):
        if self.peer:
            self.peer.close()
