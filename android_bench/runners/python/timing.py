"""The latency loop: warm-up and measurement are two lengths of one series of timed calls."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

# Without a count or a duration, a measurement is half a second long, but at least 50 and at most 1,000 inferences.
SERIES_SECONDS = 0.5
FEWEST_SAMPLES = 50
MOST_SAMPLES = 1000
# A measurement of a given duration ends here, too: it bounds the document at some megabytes.
MOST_SUSTAINED_SAMPLES = 200_000
# Warm-up compares the medians of windows of at least 5 inferences and 50 ms, and ends when two successive ones differ
# by at most 3 %, or after 3 s.
WINDOW_SAMPLES = 5
WINDOW_SECONDS = 0.05
STEADY_CHANGE = 0.03
WARMUP_SECONDS = 3.0


class Sample(NamedTuple):
    """One timed call: its wall time, and the processor time of all threads of this process, both in microseconds."""

    wall_us: float
    cpu_us: float


class Length(NamedTuple):
    """How long a series is: at least `fewest` calls, at most `most`, and between them until `seconds` have passed."""

    fewest: int
    most: float
    seconds: float


class Watcher(Protocol):
    """What looks at the machine between two inferences."""

    def look(self) -> None:
        """Look, if the last time was long enough ago."""


def timed(call: Callable[[], None]) -> Sample:
    """Time one call."""
    cpu = time.process_time_ns()
    wall = time.perf_counter_ns()
    call()
    wall = time.perf_counter_ns() - wall
    return Sample(wall / 1000, (time.process_time_ns() - cpu) / 1000)


def series(call: Callable[[], None], length: Length, watchers: Sequence[Watcher] = ()) -> list[Sample]:
    """Time successive calls.

    Args:
        call: what is timed.
        length: how often.
        watchers: each looks once after every call, outside the timed part.

    Returns:
        Every sample, in order.
    """
    samples: list[Sample] = []
    stop = time.perf_counter() + length.seconds
    while len(samples) < length.fewest or (len(samples) < length.most and time.perf_counter() < stop):
        samples.append(timed(call))
        for watcher in watchers:
            watcher.look()
    return samples


def warm_up(invoke: Callable[[], None], runs: int | None) -> tuple[int, bool]:
    """Run until the latency no longer moves.

    Args:
        invoke: one inference.
        runs: inferences; None for as many as it takes.

    Returns:
        How many there were, and whether two successive windows agreed; a given count counts as agreed.
    """
    if runs is not None:
        return len(series(invoke, Length(runs, runs, 0.0))), True
    start = time.perf_counter()
    count = 0
    previous = None
    while time.perf_counter() - start < WARMUP_SECONDS:
        window = series(invoke, Length(WINDOW_SAMPLES, float("inf"), WINDOW_SECONDS))
        count += len(window)
        median = float(np.median([sample.wall_us for sample in window]))
        if previous is not None and abs(median - previous) <= STEADY_CHANGE * previous:
            return count, True
        previous = median
    return count, False


def measure(
    invoke: Callable[[], None], runs: int | None, seconds: float | None, watchers: Sequence[Watcher]
) -> list[Sample]:
    """Time inferences with Python's garbage collection off.

    Args:
        invoke: one inference.
        runs: inferences; None for a duration.
        seconds: the duration; None for `SERIES_SECONDS` within the usual counts.
        watchers: what looks at the machine between inferences.

    Returns:
        Every sample, in order; nothing is dropped.
    """
    if runs is not None:
        length = Length(runs, runs, 0.0)
    elif seconds is not None:
        length = Length(1, MOST_SUSTAINED_SAMPLES, seconds)
    else:
        length = Length(FEWEST_SAMPLES, MOST_SAMPLES, SERIES_SECONDS)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return series(invoke, length, watchers)
    finally:
        if collecting:
            gc.enable()
