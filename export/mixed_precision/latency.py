"""How much longer one file takes than another on this CPU, measured side by side."""

from __future__ import annotations

import math
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.record import Record
from export.tflite_file.interpreter import Interpreter

ROUNDS = 15
"""Both files are timed in so many rounds; the quartiles of fewer were too far apart to tell files by."""
BLOCK_SECONDS = 0.05
"""A block of runs of one file takes about this long, so that other work on the machine meets both files alike."""


@dataclass(frozen=True, eq=False)
class LatencyRatio(Record):
    """A file's latency over that of another.

    Attributes:
        ratio: the median over the rounds.
        low, high: the quartiles.
        cpu: the processor on which it holds.
    """

    ratio: float
    low: float
    high: float
    rounds: int
    cpu: str


def latency_ratio(path: str | os.PathLike[str], reference: str | os.PathLike[str]) -> LatencyRatio:
    """Time of a file over that of `reference`, both in the LiteRT interpreter at one thread.

    The two take turns in blocks of about 50 ms, so that other work on the machine meets both alike; a block counts
    by its fastest run, which that work disturbs least.
    """
    pair = [Interpreter(path), Interpreter(reference)]
    counts = [_runs_in_a_block(interpreter) for interpreter in pair]
    random = np.random.default_rng(0)
    ratios = []
    for _ in range(ROUNDS):
        seconds = np.zeros(2)
        for index in random.permutation(2):
            seconds[index] = _fastest(pair[index], counts[index])
        ratios.append(seconds[0] / seconds[1])
    low, middle, high = (round(float(quantile), 3) for quantile in np.quantile(ratios, (0.25, 0.5, 0.75)))
    return LatencyRatio(middle, low, high, ROUNDS, cpu_name())


def fastest(interpreter: Interpreter) -> float:
    """Seconds of the fastest run in a block, which other work on the machine disturbs least."""
    return _fastest(interpreter, _runs_in_a_block(interpreter))


def _runs_in_a_block(interpreter: Interpreter) -> int:
    interpreter.invoke()  # the first run also prepares
    return max(3, int(BLOCK_SECONDS / _fastest(interpreter, 3)))


def _fastest(interpreter: Interpreter, runs: int) -> float:
    """Seconds of the fastest of so many runs."""
    best = math.inf
    for _ in range(runs):
        started = time.perf_counter()
        interpreter.invoke()
        best = min(best, time.perf_counter() - started)
    return best


def cpu_name() -> str:
    """What this machine's processor calls itself."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
