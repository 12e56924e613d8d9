"""What has been found: a table, and the same as JSON, both written anew after each part."""

import json
import os
import statistics
import time

from gpu_check.commands import Deadline, Failed, Skipped, Stopped, Terminated

MIN_SECONDS = 5  # with which a part is still begun


def write(path, text):
    """All of it or nothing, whenever this is killed."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    os.replace(fresh, path)


class Report:
    def __init__(self, out, budget, about):
        self.out, self.budget, self.about = out, budget, about
        self.start, self.deadline = time.monotonic(), Deadline(budget)
        self.parts = []     # {"part", "status", "seconds", "note"}
        self.speeds = {}    # (case, precision, who): [images a second]
        self.kernels = {}   # (case, precision): bench's profile, by kernel
        self.tests = None

    def part(self, name, limit, body):
        """body(Deadline) says what is to be noted of it; one that fails takes no other along."""
        limit = min(limit, self.deadline.left() - 2)
        row = {"part": name, "status": "skipped", "seconds": 0, "note": "no time was left"}
        self.parts.append(row)
        start = time.monotonic()
        if limit >= MIN_SECONDS:
            row["status"], row["note"] = "STOPPED", "by a signal"
            try:
                row["note"] = body(Deadline(limit)) or ""
                row["status"] = "ok"
            except Skipped as why:
                row["status"], row["note"] = "skipped", str(why)
            except Failed as why:
                row["status"], row["note"] = "STOPPED" if isinstance(why, Stopped) else "FAILED", str(why)
            except Terminated:
                raise
            except Exception as why:  # of this script: what a program printed was not as expected
                row["status"], row["note"] = "FAILED", f"{type(why).__name__}: {why}"
            finally:
                row["seconds"] = round(time.monotonic() - start, 1)
                self.end_of(row)
        else:
            self.end_of(row)

    def leave_out(self, names, why):
        """Those of them that were not come to."""
        known = {row["part"] for row in self.parts}
        self.parts += [{"part": name, "status": "skipped", "seconds": 0, "note": why}
                       for name in names if name not in known]
        self.write()

    def end_of(self, row):
        print(self.line(row), flush=True)
        self.write()

    @staticmethod
    def line(row):
        note = " ".join(row["note"].split())
        return f"{row['part']:28} {row['seconds']:6.1f} s  {row['status']:7}  {note}".rstrip()

    def add_speed(self, case, precision, who, images_per_second):
        self.speeds.setdefault((case, precision, who), []).append(images_per_second)

    def failed(self):
        return any(row["status"] in ("FAILED", "STOPPED") for row in self.parts)

    def speed_table(self):
        whos = [who for who in ("espalier", "eager", "compiled") if any(key[2] == who for key in self.speeds)]
        heads = "".join(f"{who:>12}" for who in whos)
        lines = [f"{'images a second, training':28} {'':5}{heads}   ours/best other"]
        for case, precision in dict.fromkeys(key[:2] for key in self.speeds):
            found = {who: statistics.median(self.speeds[case, precision, who])
                     for who in whos if (case, precision, who) in self.speeds}
            cells = "".join(f"{found[who]:12,.0f}" if who in found else " " * 12 for who in whos)
            best = max((speed for who, speed in found.items() if who != "espalier"), default=None)
            ratio = f"   {found['espalier'] / best:.2f}" if best and "espalier" in found else ""
            lines.append(f"{case:28} {precision:5}{cells}{ratio}")
        return lines

    def kernel_tables(self):
        lines = []
        for (case, precision), found in self.kernels.items():
            peaks = f"{found['peak_gflops']:,.0f} GFLOP/s and {found['peak_gigabytes']:,.0f} GB/s"
            lines += ["", f"{case} {precision}: a step's kernels by themselves; floors by {peaks}, as measured",
                      f"{'kernel':30} {'calls':>5} {'ms':>9} {'floor':>9} {'of it':>6}"]
            for kernel, (calls, ms, floor) in found["kernels"].items():
                lines.append(f"{kernel:30} {calls:5} {ms:9.4f} {floor:9.4f} {100 * floor / ms:4.0f} %")
        return lines

    def table(self):
        lines = [", ".join(f"{name} {value}" for name, value in self.about.items() if value), ""]
        lines += [self.line(row) for row in self.parts]
        for suite, first in sorted(self.tests.first_failures.items()) if self.tests else ():
            lines += ["", f"{first['test']} {first['end']}:"]
            lines += [f"    {line}" for line in first["message"].splitlines()]
        if self.speeds:
            lines += ["", *self.speed_table()]
        return "\n".join([*lines, *self.kernel_tables()]) + "\n"

    def write(self):
        write(self.out / "table.txt", self.table())
        speeds = [{"case": case, "precision": precision, "who": who, "rounds": rates,
                   "images_per_second": statistics.median(rates)}
                  for (case, precision, who), rates in self.speeds.items()]
        kernels = [{"case": case, "precision": precision, **found, "kernels": [
            {"kernel": kernel, "calls": calls, "milliseconds": ms, "floor_milliseconds": floor}
            for kernel, (calls, ms, floor) in found["kernels"].items()]}
            for (case, precision), found in self.kernels.items()]
        report = {**self.about, "budget": self.budget, "seconds": round(time.monotonic() - self.start, 1),
                 "parts": self.parts, "tests": self.tests.as_json() if self.tests else {}, "speeds": speeds,
                 "kernels": kernels}
        write(self.out / "gpu-check.json", json.dumps(report, indent=1) + "\n")
