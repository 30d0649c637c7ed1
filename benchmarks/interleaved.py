"""Timing several things in turn, so that a slow minute of the machine falls on all of them alike."""

from __future__ import annotations

import datetime
import math
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")
BLOCK = 10
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks"


@dataclass(frozen=True)
class Ratio:
    """How much longer something takes than the reference.

    Attributes:
        seconds: the median over the rounds.
        ratio: the median over the rounds of (seconds / the reference's seconds in the same round).
        low, high: 95 % interval of that median.
    """

    seconds: float
    ratio: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.ratio:.3f} ({self.low:.3f}–{self.high:.3f})"


def rounds(tasks: Mapping[str, Callable[[], T]], count: int) -> dict[str, list[T]]:
    """What each task measured in each round; the order within a round is random."""
    found: dict[str, list[T]] = {name: [] for name in tasks}
    for _ in range(count):
        for name in random.sample(list(tasks), len(tasks)):
            found[name].append(tasks[name]())
    return found


def fastest(run: Callable[[], object], block: int = BLOCK) -> Callable[[], float]:
    """A task: seconds of the fastest of `block` calls, the figure that other processes disturb least."""

    def measure() -> float:
        best = math.inf
        for _ in range(block):
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        return best

    return measure


def fastest_within(run: Callable[[], object], seconds: float) -> Callable[[], float]:
    """A task like `fastest`, with as many calls as fit into `seconds`, two at least: equal turns for long and short."""

    def measure() -> float:
        best, calls, began = math.inf, 0, time.perf_counter()
        while calls < 2 or time.perf_counter() - began < seconds:
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
            calls += 1
        return best

    return measure


def ratios(found: Mapping[str, Sequence[float]], reference: str) -> dict[str, Ratio]:
    """Each task's `Ratio` to the reference."""
    return {
        name: Ratio(statistics.median(seconds), *_median_interval(np.divide(seconds, found[reference])))
        for name, seconds in found.items()
    }


def _median_interval(values: np.ndarray) -> tuple[float, float, float]:
    """Median and 95 % interval: the order statistics between which the median lies whatever the distribution.

    Below six values the interval is their whole range, which holds less than 95 %.
    """
    values = np.sort(values)
    count = len(values)
    tail, rank = 0.0, 0
    while (tail := tail + math.comb(count, rank) / 2**count) <= 0.025:
        rank += 1
    rank = max(rank - 1, 0)
    return float(np.median(values)), float(values[rank]), float(values[count - 1 - rank])


def machine() -> str:
    """The processor's name, its number of cores here, and how busy they were in the last minute."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    found = re.search(r"model name\s*: (.*)", text)
    name = found[1] if found else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def footnote(*packages: str) -> str:
    """Date, machine and versions, as they stand under each table."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return f"{datetime.date.today().isoformat()}, {machine()}; Python {platform.python_version()}, {versions}."


def merged(footnotes: Iterable[str]) -> str:
    """Those of several measurements as one for each date, machine and versions, with the range of their loads."""
    loads: dict[tuple[str, str], set[float]] = {}
    for each in footnotes:
        before, load, after = re.split(r"(?<=load )([\d.]+)(?=;)", each)
        loads.setdefault((before, after), set()).add(float(load))
    return "\n\n".join(
        f"{before}{' to '.join(str(load) for load in sorted({min(found), max(found)}))}{after}"
        for (before, after), found in loads.items()
    )


def litert(path: str | os.PathLike[str], threads: int = 1) -> Callable[[], object]:
    """A call that runs the file once in LiteRT, on its input as zeros."""
    from ai_edge_litert.interpreter import Interpreter

    from keras_classics.quiet import quiet_stderr

    with quiet_stderr():
        interpreter = Interpreter(os.fspath(path), num_threads=threads)
        interpreter.allocate_tensors()
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], np.zeros(details["shape"], details["dtype"]))
    return interpreter.invoke
