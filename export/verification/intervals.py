"""How sure a difference is that was measured on the same samples before and after: its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Interval = tuple[float, float]
DEVIATIONS = 1.959964  # of a normal distribution, between which 95 % of it lie
RESAMPLES = 1000
RULE_OF_THREE = 3.0  # an event that none of n samples shows has a share of at most 3/n, at 95 % (Hanley & Lippman 1983)
SEED = 0
AT_ONCE = 100


def of_proportions(before: np.ndarray, after: np.ndarray) -> Interval:
    """Of by how much a share fell: both bool (N,), whether each sample was right.

    Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data": one sample more that was lost and one more that was won. So it is about 3/N to each side where no
    sample differs, as the rule of three has it, and never empty.
    """
    count = len(before) + 2
    lost, won = (np.sum(before & ~after) + 1) / count, (np.sum(after & ~before) + 1) / count
    half = DEVIATIONS * np.sqrt((lost + won - (lost - won) ** 2) / count)
    return float(max(lost - won - half, -1)), float(min(lost - won + half, 1))


def of_means(differences: np.ndarray) -> Interval | None:
    """Of the mean of (N,) differences of shares, each between -1 and 1, by Student's t; None for a single sample.

    Where all are alike, the rule of three says how often another sample may differ from them.
    """
    count = len(differences)
    if count < 2:
        return None
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    half = _student(count) * deviation / np.sqrt(count) if deviation else min(1.0, RULE_OF_THREE / count)
    return float(mean - half), float(mean + half)


def by_bootstrap(count: int, drops: Callable[[np.ndarray], np.ndarray], resamples: int = RESAMPLES) -> Interval | None:
    """Of any statistic: around the drop on the samples, by the standard error over resamples of them.

    Student's t and a factor of √(N/(N−1)) widen it for few samples, for which the plain percentiles are too close
    (Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 4.1).

    Args:
        count: N, of the samples.
        drops: takes how often each sample occurs, (R, N) integers, and gives the drop in each of the R resamples;
            not a number where it has none.

    Returns:
        None where resamples tell nothing: for a single sample, or where they are all alike.
    """
    if count < 2:
        return None
    random = np.random.default_rng(SEED)
    found = [
        drops(random.multinomial(count, np.full(count, 1 / count), size=min(AT_ONCE, resamples - start)))
        for start in range(0, resamples, AT_ONCE)
    ]
    values = np.concatenate(found)
    values = values[np.isfinite(values)]
    error = float(values.std()) if len(values) > resamples / 2 else 0.0
    if not error:
        return None
    half = _student(count) * np.sqrt(count / (count - 1)) * error
    drop = float(drops(np.ones((1, count), int))[0])
    return float(drop - half), float(drop + half)


def _student(count: int) -> float:
    """How many standard errors of a mean of so many samples hold 95 %."""
    from scipy import stats

    return float(stats.t.ppf(0.975, count - 1))
