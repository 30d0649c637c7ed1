"""How fast the machine itself was, so that a comparison can leave it out.

The runner times a fixed matrix product in bursts between the samples: the yardstick. A virtual machine's neighbours, a
governor and heat change its time about as they change a model's, and about is what `uncertainty` is for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from android_bench.results import Row

# A change of the machine's speed by more than this share is worth a word.
MOVED = 0.05
# A row is cut into so many windows of at least so many bursts to see whether the machine's speed moved meanwhile.
WINDOWS = 5
FEWEST_IN_WINDOW = 4
# The bursts around a sample whose median is the machine's speed just then.
NEAREST = 9
# What the yardstick cannot tell: differences below this share, and this share of the machine's own change. Both were
# chosen on the pairs at a load of 6 to 10 of benchmarks/idle_comparison.py; docs/bench.md has the table.
SMALLEST_DIFFERENCE = 0.015
UNCERTAIN_SHARE = 0.33


def kinds(rows: Sequence[Row]) -> set[str | None]:
    """Return the kinds of the rows' yardsticks, None for rows without; figures of one kind alone can be compared."""
    return {row.yardstick.kind if row.yardstick else None for row in rows}


def machine_ratio(base: Sequence[Row], new: Sequence[Row]) -> float:
    """Return how many times as long as during `base` the yardstick took during `new`; all rows need one."""
    before, after = (np.median([row.yardstick_us for row in rows]) for rows in (base, new))
    return float(after / before)


def corrected_samples(row: Row) -> np.ndarray:
    """Return each sample in units of the yardstick as it was then: the median of the `NEAREST` bursts around it."""
    assert row.yardstick is not None
    bursts = np.asarray(row.yardstick.bursts_us)
    starts = np.clip(np.arange(len(bursts)) - NEAREST // 2, 0, None)
    speeds = [np.median(bursts[start : index + NEAREST // 2 + 1]) for index, start in enumerate(starts)]
    middles = np.arange(len(row.samples_us)) + 0.5
    at_samples: np.ndarray = np.interp(middles, row.yardstick.after, speeds)
    corrected: np.ndarray = _processor_us(row) / at_samples
    return corrected


def corrected_minimum(row: Row) -> float:
    """Return the row's shortest sample in units of its shortest burst, for both are of the machine's best moment."""
    assert row.yardstick is not None
    return float(_processor_us(row).min() / min(row.yardstick.bursts_us))


def _processor_us(row: Row) -> np.ndarray:
    """Return each sample without what other programs took of its core.

    Only rows of one thread have a yardstick, so that its processor time, or the wall time where that is less, is it.
    A clock that counts no processor time for a sample is too coarse for any.
    """
    if row.cpu_us is None or min(row.cpu_us) == 0:
        return np.asarray(row.samples_us)
    return np.minimum(row.samples_us, row.cpu_us)


def uncertainty(machine: float) -> float:
    """Return what a corrected ratio may be wrong by, as a share of it, where the machine's own ratio is `machine`.

    No model follows the yardstick exactly: `SMALLEST_DIFFERENCE` may be wrong in any case, and where the machine's
    speed changed, `UNCERTAIN_SHARE` of that change may have been the model's or not have touched it.
    """
    return math.hypot(SMALLEST_DIFFERENCE, UNCERTAIN_SHARE * math.log(machine))


def moved_within(bursts: Sequence[float]) -> float:
    """Return by what share the machine's slowest fifth of a measurement was slower than its fastest.

    It is 0 for too few bursts to tell.
    """
    if len(bursts) < WINDOWS * FEWEST_IN_WINDOW:
        return 0.0
    return _spread([float(np.median(window)) for window in np.array_split(bursts, WINDOWS)])


def moved_between(rows: Sequence[Row]) -> float | None:
    """Return by what share the machine was slower in its slowest repeat than in its fastest; None if unknown."""
    times = [row.yardstick_us for row in rows if row.yardstick_us is not None]
    return _spread(times) if times and len(kinds(rows)) == 1 else None


def _spread(values: Sequence[float]) -> float:
    return max(values) / min(values) - 1
