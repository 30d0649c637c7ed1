"""How many multiply-accumulates a second one core of this machine can do, in float32 and in int8 (`peaks.c`)."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from keras_classics.errors import InputError

SOURCE = Path(__file__).with_suffix(".c")
KINDS = ("float32", "int8")
ROUNDS = 1_000_000
BLOCK = 5


def peaks(folder: Path) -> dict[str, Callable[[], float]]:
    """For each kind that the processor has instructions for, a task: nanoseconds per multiply-accumulate.

    Args:
        folder: for the compiled code.

    Raises:
        InputError: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise InputError("the processor's peak is measured in C and cc is missing; apt install gcc")
    library = folder.resolve() / "peaks.so"
    command = [compiler, "-O3", "-march=native", "-shared", "-fPIC", SOURCE, "-o", library]
    subprocess.run(list(map(str, command)), check=True)
    loaded = ctypes.CDLL(str(library))
    found = {}
    for kind in KINDS:
        multiply = loaded[f"multiply_{kind}"]
        multiply.argtypes, multiply.restype = [ctypes.c_long], ctypes.c_long
        if multiply(1):
            found[kind] = _fastest(multiply)
    return found


def _fastest(multiply: Callable[[int], int]) -> Callable[[], float]:
    def measure() -> float:
        best = float("inf")
        for _ in range(BLOCK):
            started = time.perf_counter()
            done = multiply(ROUNDS)
            best = min(best, (time.perf_counter() - started) / done)
        return best * 1e9

    return measure
