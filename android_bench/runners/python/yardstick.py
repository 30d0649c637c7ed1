"""A fixed piece of work, timed between inferences: how fast the core is while they run."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from android_bench.runners.python.timing import timed

# The side of the square matrices; at 64 no BLAS shares the product among threads.
SIDE = 64
# Products in a burst, and the shortest pause between two bursts in seconds.
PRODUCTS = 8
PAUSE_SECONDS = 0.01
# Bursts may take this share of the time, so that they do not heat a slow core by much.
MOST_SHARE = 0.025
# The seed of the matrix, whose values do not matter.
MATRIX_SEED = 20260101


class Yardstick:
    """Times bursts of a float32 matrix product."""

    def __init__(self) -> None:
        generator = np.random.RandomState(MATRIX_SEED)
        self._matrix = generator.random_sample((SIDE, SIDE)).astype(np.float32)
        self._product = np.empty_like(self._matrix)
        self._due = 0.0
        self._samples = 0
        self._after: list[int] = []
        self._bursts: list[float] = []

    def look(self) -> None:
        """Time a burst of products after this sample, if the last was long enough ago."""
        self._samples += 1
        opened = time.perf_counter()
        if opened < self._due:
            return
        self._multiply(1)  # the inference has taken its place in the cache
        wall, cpu = timed(lambda: self._multiply(PRODUCTS))
        self._bursts.append((min(wall, cpu) or wall) / PRODUCTS)  # some clocks count no time so short
        self._after.append(self._samples)
        closed = time.perf_counter()
        self._due = closed + max(PAUSE_SECONDS, (closed - opened) / MOST_SHARE)

    def reading(self) -> dict[str, Any]:
        """Return what was multiplied with what, after how many samples, and the µs of one product in each burst."""
        kind = f"NumPy {np.__version__}, {SIDE}×{SIDE} float32 product"
        return {"kind": kind, "after": self._after, "bursts_us": [round(each, 4) for each in self._bursts]}

    def _multiply(self, times: int) -> None:
        for _ in range(times):
            np.dot(self._matrix, self._matrix, out=self._product)
