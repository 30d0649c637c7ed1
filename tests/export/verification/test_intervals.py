"""Paired intervals: what they cover, and how wide they are where few samples tell little."""

import numpy as np
import pytest
from scipy import stats

from export.verification import intervals


def test_two_proportions_as_in_the_paper() -> None:
    before = np.repeat([True, True, False, False], [80, 3, 1, 16])
    after = np.repeat([True, False, True, False], [80, 3, 1, 16])
    lost, won = 4 / 102, 2 / 102
    half = 1.959964 * np.sqrt((lost + won - (lost - won) ** 2) / 102)
    assert intervals.of_proportions(before, after) == pytest.approx((lost - won - half, lost - won + half))


@pytest.mark.parametrize("count", [1, 14, 100, 10_000])
def test_samples_that_all_agree_still_leave_room(count: int) -> None:
    same = np.ones(count, bool)
    low, high = intervals.of_proportions(same, same)
    assert low == -high
    assert high == pytest.approx(min(1, intervals.RULE_OF_THREE / count), rel=0.3)
    if count > 1:
        assert intervals.of_means(np.zeros(count)) == pytest.approx((-min(1, 3 / count), min(1, 3 / count)))


@pytest.mark.parametrize("count", [14, 50, 300])
@pytest.mark.parametrize(("lost", "won"), [(0.02, 0.0), (0.05, 0.03), (0.2, 0.1)])
def test_proportions_are_covered_95_times_in_100(count: int, lost: float, won: float) -> None:
    """Over all numbers of lost and won samples, each with its exact probability."""
    covered = 0.0
    for lost_count in range(count + 1):
        for won_count in range(count + 1 - lost_count):
            share = stats.multinomial.pmf([lost_count, won_count, count - lost_count - won_count], count,
                                          [lost, won, 1 - lost - won])  # fmt: skip
            if share < 1e-7:
                continue
            before = np.arange(count) < lost_count
            after = (np.arange(count) >= lost_count) & (np.arange(count) < lost_count + won_count)
            low, high = intervals.of_proportions(before, after)
            covered += share * (low <= lost - won <= high)
    assert covered >= 0.93


def test_the_bootstrap_gives_the_error_of_a_mean_and_is_always_the_same() -> None:
    values = np.random.default_rng(0).normal(0.3, 1, 200)

    def drops(counts: np.ndarray) -> np.ndarray:
        return counts @ values / counts.sum(axis=1)

    low, high = intervals.by_bootstrap(200, drops)
    error = values.std(ddof=1) / np.sqrt(200)
    assert (low + high) / 2 == pytest.approx(values.mean())
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 199) * error, rel=0.08)
    assert intervals.by_bootstrap(200, drops) == (low, high)


def test_few_samples_widen_the_bootstrap_and_one_tells_nothing() -> None:
    def half(values: np.ndarray) -> float:
        low, high = intervals.by_bootstrap(len(values), lambda counts: counts @ values / len(values))
        return (high - low) / 2

    pair = np.array([0.0, 1.0])
    assert half(pair) == pytest.approx(stats.t.ppf(0.975, 1) * pair.std(ddof=1) / np.sqrt(2), rel=0.08)
    assert intervals.by_bootstrap(1, lambda counts: counts[:, 0]) is None
    assert intervals.by_bootstrap(9, lambda counts: np.zeros(len(counts))) is None
    assert intervals.of_means(np.array([0.1])) is None
