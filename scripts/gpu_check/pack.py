"""Packs what a machine with a GPU lacks of ours: programs, shared libraries, configs, images."""

import collections
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

from gpu_check import ROOT, fail

PROGRAMS = ("espalier", "cuda_test")
# What a machine with a driver that runs C++ programs has, or must have from NVIDIA.
NOT_PACKED = ("libc.so", "libm.so", "ld-linux", "libdl.so", "libpthread.so", "librt.so", "libcuda.so", "libcudart",
              "libcublas", "libcudnn", "libnvrtc", "libnvJitLink", "linux-vdso")
LARGEST = 60e6
CIFAR = "cifar10-jpeg.tar.xz"
IMAGES = {"train": 400, "test": 100}  # of each class


def libraries_of(programs):
    """{name: where it is} of the shared libraries to pack."""
    found = {}
    for program in programs:
        for line in subprocess.run(["ldd", program], capture_output=True, text=True).stdout.splitlines():
            name, _, rest = line.strip().partition(" => ")
            if rest and not name.startswith(NOT_PACKED):
                if rest == "not found":
                    fail(f"{program}: needs {name}, which is not on this machine")
                found[name] = rest.split(" (")[0]
    return found


def glibc_of(files):
    """The newest version of glibc that one of them asks for: "2.36"."""
    asked = [(0, 0)]
    for file in files:
        text = subprocess.run(["readelf", "-V", "-W", file], capture_output=True, text=True).stdout
        asked += [tuple(map(int, version.split("."))) for version in re.findall(r"Name: GLIBC_([\d.]+)", text)]
    return ".".join(map(str, max(asked)))


def some_of_cifar(archive):
    """A tar of the first images of each class, which the program reads as it reads the complete archive."""
    taken, packed = collections.Counter(), io.BytesIO()
    with tarfile.open(archive) as complete, tarfile.open(fileobj=packed, mode="w") as part:
        for image in complete:
            split, _, rest = image.name.removeprefix("./").partition("/")
            place = split, rest.partition("/")[0]
            if image.isfile() and taken[place] < IMAGES.get(split, 0):
                taken[place] += 1
                small = tarfile.TarInfo(image.name.removeprefix("./"))
                small.size = image.size
                part.addfile(small, complete.extractfile(image))
    if not taken:
        fail(f"{archive}: has no train/CLASS/IMAGE")
    return packed.getvalue()


def add_bytes(archive, name, content):
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def main(arguments):
    source = ROOT.parent
    programs = [source / arguments.build / "bin" / name for name in PROGRAMS]
    for program in programs:
        if not program.exists():
            fail(f"{program}: is not there; cmake --preset cuda && cmake --build --preset cuda builds it")
    for data in (arguments.data / "mnist", arguments.data / CIFAR):
        if not data.exists():
            fail(f"{data}: is not there; --data ROOT holds mnist/ and {CIFAR}")
    libraries = libraries_of(programs)
    described = subprocess.run(["git", "-C", source, "describe", "--always", "--dirty"], capture_output=True, text=True)
    about = {"source": described.stdout.strip(), "glibc": glibc_of([*programs, *libraries.values()])}

    to = arguments.folder
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(to / "pack.tar.xz", "w:xz",
                                                                 preset=arguments.level) as archive:
        add_bytes(archive, "about.json", json.dumps(about).encode())
        for program in programs:
            stripped = pathlib.Path(scratch) / program.name
            shutil.copy2(program, stripped)
            subprocess.run(["strip", stripped], stderr=subprocess.DEVNULL)  # a script, which a test has, stays as it is
            archive.add(stripped, f"bin/{program.name}")
        for name, place in libraries.items():
            archive.add(os.path.realpath(place), f"lib/{name}")
        archive.add(source / "configs", "share/espalier/configs")
        for script in ("cuda_peer.py", "models.py", "need.py"):
            archive.add(source / "bench" / script, f"bench/{script}")
        archive.add(arguments.data / "mnist", "data/mnist")
        add_bytes(archive, "data/cifar10-part.tar", some_of_cifar(arguments.data / CIFAR))
    shutil.copy2(ROOT / "gpu-check", to)
    shutil.copytree(ROOT / "gpu_check", to / "gpu_check", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("__pycache__"))

    size = sum(file.stat().st_size for file in to.rglob("*") if file.is_file())
    print(f"{to}: {size / 1e6:.1f} MB, for glibc {about['glibc']} and newer; on the machine with the GPU: "
          f"{to}/gpu-check run")
    if size > LARGEST:
        fail(f"{to}: {size / 1e6:.1f} MB are over {LARGEST / 1e6:.0f} MB", 1)
    return 0
