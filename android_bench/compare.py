"""Regression or noise: the same models and configurations, measured before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from android_bench.errors import InputError, Refused
from android_bench.results import Row, summarize
from android_bench.stats import Interval, median_ratio, minimum_ratio
from android_bench.table import milliseconds

FEWEST_REPEATS = 3
Key = tuple[str, str, str, str, int, tuple[int, ...]]


@dataclass(frozen=True)
class Comparison:
    """One model in one configuration, before and after.

    Attributes:
        median, minimum: new / base, with confidence intervals.
        verdict: "slower" or "faster" where both intervals lie on that side of 1, else "no change".
        regression: slower, and the interval of the median reaches the allowed regression.
        noisy: whether noisy repeats had to take part, because too few quiet ones are there.
    """

    base: tuple[Row, ...]
    new: tuple[Row, ...]
    median: Interval
    minimum: Interval
    verdict: str
    regression: bool
    noisy: bool


def key(row: Row) -> Key:
    """Return what must agree for two rows to be compared; the file and the runtime's version may differ."""
    return row.target, row.model, row.runtime, row.delegate, row.threads, tuple(row.cpus)


def compare(base: Sequence[Row], new: Sequence[Row], max_regression: float) -> list[Comparison]:
    """Return a comparison for everything that both measured.

    Where a file holds several versions of a model or a runtime, the latest counts, and where enough
    repeats are quiet on both sides, only those do. A contended machine moves the median and leaves the
    minimum, so a change must show in both.
    Raises InputError where nothing is shared or a side has too few repeats to tell.
    """
    before, after = _latest(base), _latest(new)
    shared = [each for each in before if each in after]
    if not shared:
        raise InputError("the two files share no target, model and configuration; measure the same ones twice")
    for each in shared:
        if any(not row.block_us or not row.minimum_us for row in (*before[each], *after[each])):
            raise InputError(
                f"{each[1]} on {each[0]} ({each[2]}) has no median or minimum to compare; use a runtime that has"
            )
        fewest = min(len(before[each]), len(after[each]))
        if fewest < FEWEST_REPEATS:
            raise InputError(
                f"{each[1]} on {each[0]} has {fewest} repeats on one side; measure {FEWEST_REPEATS} or more (--repeats)"
            )
    return [_comparison(before[each], after[each], max_regression) for each in shared]


def _latest(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        known = groups.setdefault(key(row), [])
        if known and (known[-1].model_sha256, known[-1].runtime_version) != (row.model_sha256, row.runtime_version):
            known.clear()
        known.append(row)
    return groups


def _comparison(base: Sequence[Row], new: Sequence[Row], max_regression: float) -> Comparison:
    quiet = [[row for row in rows if not row.noisy] for rows in (base, new)]
    noisy = min(map(len, quiet)) < FEWEST_REPEATS
    base, new = (base, new) if noisy else quiet
    median = median_ratio([row.block_us for row in base], [row.block_us for row in new])
    minimum = minimum_ratio([row.minimum_us or 0.0 for row in base], [row.minimum_us or 0.0 for row in new])
    if median.low > 1 and minimum.low > 1:
        verdict = "slower"
    elif median.high < 1 and minimum.high < 1:
        verdict = "faster"
    else:
        verdict = "no change"
    regression = verdict == "slower" and median.high >= 1 + max_regression
    return Comparison(tuple(base), tuple(new), median, minimum, verdict, regression, noisy)


def show(comparisons: Sequence[Comparison], console: Console) -> None:
    """Print one line for each comparison."""
    table = Table(title="new against base, median in milliseconds", title_justify="left")
    for name in (
        "model",
        "target",
        "runtime",
        "threads",
        "base",
        "new",
        "ratio",
        "95 % interval",
        "min ratio",
        "verdict",
    ):
        table.add_column(name, overflow="fold")
    for each in comparisons:
        row = each.new[0]
        (base,), (new,) = summarize(each.base), summarize(each.new)
        table.add_row(
            row.model,
            row.target,
            row.runtime,
            str(row.threads),
            milliseconds(base.p50_us),
            milliseconds(new.p50_us),
            f"{each.median.estimate:.3f}",
            f"{each.median.low:.3f}–{each.median.high:.3f}",
            f"{each.minimum.estimate:.3f}",
            ("REGRESSION" if each.regression else each.verdict) + (" *" if each.noisy else ""),
        )
    console.print(table)
    if any(each.noisy for each in comparisons):
        console.print(f"* fewer than {FEWEST_REPEATS} quiet repeats on a side: a whole machine's slow hour looks alike")


def refuse_regressions(comparisons: Sequence[Comparison]) -> None:
    """Raise Refused where a comparison is a regression."""
    worse = [
        f"{each.new[0].model} ({each.new[0].runtime}, {each.new[0].target}) takes {each.median.estimate:.3f} × as long"
        for each in comparisons
        if each.regression
    ]
    if worse:
        raise Refused("; ".join(worse))
