"""What this machine has: a card, a C library that is new enough, NVIDIA's libraries."""

import ctypes
import os
import pathlib
import shutil
import subprocess

from gpu_check import PYTHON, fail


def card_here():
    """The first card's name, or None."""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
        found = subprocess.run(query, capture_output=True, text=True)
        if found.returncode == 0 and found.stdout.strip():
            return found.stdout.strip().splitlines()[0]
    try:  # a container may have only the driver
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    name, card = ctypes.create_string_buffer(100), ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(card), 0) or driver.cuDeviceGetName(name, 100, card):
        return None
    return name.value.decode()


def check_glibc(needed):
    here = os.confstr("CS_GNU_LIBC_VERSION").split()[-1]  # "glibc 2.36"
    if tuple(map(int, here.split("."))) < tuple(map(int, needed.split("."))):
        fail(f"this machine has glibc {here}, the packed programs need {needed} or newer")


def nvidia_folders():
    """Where PyTorch's wheels keep NVIDIA's libraries."""
    try:
        import nvidia
    except ImportError:
        return []
    return sorted(str(folder) for root in nvidia.__path__ for folder in pathlib.Path(root).glob("*/lib"))


def environment_of_ours(unpacked, scratch):
    """Only for our programs: the packed libraries come first there, and would come between others and their own."""
    folders = [str(unpacked / "lib"), *nvidia_folders(), "/usr/local/cuda/lib64", os.environ.get("LD_LIBRARY_PATH", "")]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ESPALIER_")}
    return kept | {"LD_LIBRARY_PATH": ":".join(filter(None, folders)), "ESPALIER_DATA": str(unpacked / "data"),
                   "XDG_CACHE_HOME": str(scratch / "cache")}


def check_libraries(programs, environment):
    """Ends with one line where the loader does not find all that they need."""
    missing = set()
    for program in programs:
        listed = subprocess.run(["ldd", program], env=environment, capture_output=True, text=True).stdout
        missing |= {line.split()[0] for line in listed.splitlines() if "not found" in line}
    if missing:
        fail(f"this machine lacks {', '.join(sorted(missing))}: CUDA 13's libraries and cuDNN 9 are looked for in the "
             f"wheels of {PYTHON}, in /usr/local/cuda and where LD_LIBRARY_PATH says")


def torch_version():
    """"2.11.0+cu130", or None."""
    asked = "import torch; print(torch.__version__)"
    found = subprocess.run([PYTHON, "-c", asked], capture_output=True, text=True)
    return found.stdout.strip() if found.returncode == 0 else None


def compute_sanitizer():
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path="/usr/local/cuda/bin")
