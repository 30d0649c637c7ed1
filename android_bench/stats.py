"""Percentiles of latencies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the value below which `percent` % of `samples` lie, linearly interpolated; same unit as the samples."""
    return float(np.percentile(np.asarray(samples, np.float64), percent))
