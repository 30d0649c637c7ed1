"""How often a model or file is right, and what a file lost of that."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from export.data.samples import Images, Inputs, batches


def correct(run: Callable[[Inputs], list[np.ndarray]], inputs: Sequence[Images], labels: np.ndarray) -> np.ndarray:
    """Whether the greatest first output is at the label: bool (N,), for every sample."""
    predicted = [run(batch)[0].reshape(len(batch[0]), -1).argmax(axis=1) for batch in batches(inputs)]
    return np.concatenate(predicted) == labels


def paired_drop(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """By how many percentage points accuracy fell, and the 95 % interval of that.

    Both were measured on the same samples, so only those on which they differ make it uncertain.
    """
    lost, won, count = int((before & ~after).sum()), int((after & ~before).sum()), len(before)
    drop = (lost - won) / count
    error = np.sqrt(max(lost + won - count * drop**2, 0)) / count
    low, high = drop - 1.96 * error, drop + 1.96 * error
    return {"points": 100 * drop, "low": float(100 * low), "high": float(100 * high), "lost": lost, "won": won}
