"""Percentiles of latencies, and how sure they are.

Samples of one process share its memory layout and its minute of the machine, so they are not
independent: every interval resamples whole processes (blocks), never single samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The confidence of every interval.
CONFIDENCE = 0.95
# Bootstrap samples of an interval, and the seed that draws them, so that the same rows give the same interval.
DRAWS = 2000
SEED = 0
# Quantiles that stand for the samples of one process, so that each process weighs the same.
BLOCK_POINTS = 51
Blocks = Sequence[Sequence[float] | np.ndarray]


@dataclass(frozen=True)
class Interval:
    """An estimate and its bootstrap confidence interval at `CONFIDENCE`."""

    estimate: float
    low: float
    high: float

    def widened(self, share: float) -> Interval:
        """Widen the interval of a ratio that may also be wrong for reasons of its own.

        Independent errors add up as squares, and those of a ratio do so in its logarithm.

        Args:
            share: by how much of itself the ratio may be wrong.

        Returns:
            An interval around the same estimate.
        """
        below = math.hypot(math.log(self.estimate / self.low), share)
        above = math.hypot(math.log(self.high / self.estimate), share)
        return Interval(self.estimate, self.estimate * math.exp(-below), self.estimate * math.exp(above))


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return a percentile.

    Args:
        samples: at least one.
        percent: which percentile, 0 to 100.

    Returns:
        The value below which `percent` % of the samples lie, linearly interpolated, in the samples' unit.
    """
    return float(np.percentile(np.asarray(samples, np.float64), percent))


def pooled_percentile(blocks: Blocks, percent: float) -> float:
    """Return a percentile over the samples of several processes.

    Args:
        blocks: the samples of each; every block weighs the same, however many samples it has.
        percent: which percentile, 0 to 100.

    Returns:
        The percentile, in the samples' unit.
    """
    if len({len(block) for block in blocks}) == 1:
        return float(np.percentile(np.asarray(blocks, np.float64), percent))
    samples = np.concatenate([np.asarray(block, np.float64) for block in blocks])
    weights = np.concatenate([np.full(len(block), 1 / len(block)) for block in blocks])
    order = np.argsort(samples, kind="stable")
    places = np.cumsum(weights[order]) - weights[order] / 2
    return float(np.interp(percent / 100 * len(blocks), places, samples[order]))


def percentile_interval(blocks: Blocks, percent: float) -> Interval | None:
    """Return a pooled percentile with its interval.

    Args:
        blocks: the samples of each process.
        percent: which percentile, 0 to 100.

    Returns:
        The interval, in the samples' unit; None for a single block, which cannot tell.
    """
    if len(blocks) < 2:
        return None
    generator = np.random.default_rng(SEED)
    draws = np.percentile(_resample(_quantiles(blocks), generator), percent, axis=1)
    return _interval(pooled_percentile(blocks, percent), draws)


def median_ratio(base: Blocks, new: Blocks) -> Interval:
    """Return how much longer the median became.

    Args:
        base: the samples of each process before, at least two processes.
        new: the same after.

    Returns:
        new / base of the pooled medians, with its interval.
    """
    generator = np.random.default_rng(SEED)
    draws = [np.median(_resample(_quantiles(blocks), generator), axis=1) for blocks in (new, base)]
    return _interval(pooled_percentile(new, 50) / pooled_percentile(base, 50), draws[0] / draws[1])


def minimum_ratio(base: Sequence[float], new: Sequence[float]) -> Interval:
    """Return how much longer the shortest inferences became, which other programs disturb least.

    Args:
        base: the shortest inference of each process before, at least two.
        new: the same after.

    Returns:
        new / base of the means of these minima, with its interval.
    """
    generator = np.random.default_rng(SEED)
    minima = [np.asarray(blocks)[:, None] for blocks in (new, base)]
    draws = [_resample(each, generator).mean(axis=1) for each in minima]
    return _interval(float(minima[0].mean() / minima[1].mean()), draws[0] / draws[1])


def _quantiles(blocks: Blocks) -> np.ndarray:
    """Return (blocks, `BLOCK_POINTS`): each block as equally many quantiles, so that each weighs the same."""
    points = (np.arange(BLOCK_POINTS) + 0.5) * 100 / BLOCK_POINTS
    return np.array([np.percentile(np.asarray(block, np.float64), points) for block in blocks])


def _resample(blocks: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return (draws, values) of blocks drawn with replacement.

    One block fewer than there are is drawn: with n draws of n the spread would come out too small
    by (n − 1) / n, which matters for five (Rao and Wu 1988).
    """
    count = len(blocks)
    chosen = generator.integers(0, count, (DRAWS, count - 1))
    return blocks[chosen].reshape(DRAWS, -1)


def _interval(estimate: float, draws: np.ndarray) -> Interval:
    tail = (1 - CONFIDENCE) / 2 * 100
    return Interval(estimate, float(np.percentile(draws, tail)), float(np.percentile(draws, 100 - tail)))
