"""Regression or noise: the same models and configurations, measured before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from android_bench import yardstick
from android_bench.errors import InputError, RefusedError
from android_bench.results import Row, summarize
from android_bench.stats import Interval, median_ratio, minimum_ratio
from android_bench.table import milliseconds

# The fewest processes of a side that an interval can be drawn from.
FEWEST_REPEATS = 3
Key = tuple[str, str, str, str, int, tuple[int, ...]]


@dataclass(frozen=True)
class Ratios:
    """new / base of the medians and of the mean minima, and what follows: "slower", "faster" or "no change"."""

    median: Interval
    minimum: Interval
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """One model in one configuration, before and after.

    Attributes:
        base: the rows before that took part.
        new: the rows after that took part.
        raw: of the latencies as they were.
        machine: new / base of the yardstick's time; None where the rows have no yardstick of one kind.
        corrected: of the latencies in units of their yardstick, if there is one; the intervals are wider by what
            the yardstick cannot tell.
        regression: slower, and the interval of the median reaches the allowed regression.
        noisy: whether noisy repeats had to take part, because too few quiet ones are there.
    """

    base: tuple[Row, ...]
    new: tuple[Row, ...]
    raw: Ratios
    machine: float | None
    corrected: Ratios | None
    regression: bool
    noisy: bool

    @property
    def decisive(self) -> Ratios:
        """The ratios that the verdict is about: corrected where they could be."""
        return self.corrected or self.raw

    @property
    def verdict(self) -> str:
        """The decisive ratios' verdict: "slower", "faster" or "no change"."""
        return self.decisive.verdict


def key(row: Row) -> Key:
    """Return what must agree for two rows to be compared; the file and the runtime's version may differ."""
    return row.target, row.model, row.runtime, row.delegate, row.threads, tuple(row.cpus)


def compare(base: Sequence[Row], new: Sequence[Row], max_regression: float) -> list[Comparison]:
    """Compare everything that both files measured.

    Where a file holds several versions of a model or a runtime, the latest counts, and where enough
    repeats are quiet on both sides, only those do. A contended machine moves the median and leaves the
    minimum, so a change must show in both. Where both sides have yardsticks of one kind, the machine's own change
    is left out.

    Args:
        base: the rows before.
        new: the rows after.
        max_regression: the share by which the median may become longer.

    Returns:
        A comparison for each target, model and configuration.

    Raises:
        InputError: where nothing is shared or a side has too few repeats to tell.
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
    raw = _raw(base, new)
    machine = corrected = None
    kinds = yardstick.kinds((*base, *new))
    if len(kinds) == 1 and None not in kinds:
        machine = yardstick.machine_ratio(base, new)
        corrected = _corrected(base, new, yardstick.uncertainty(machine))
    decisive = corrected or raw
    regression = decisive.verdict == "slower" and decisive.median.high >= 1 + max_regression
    return Comparison(tuple(base), tuple(new), raw, machine, corrected, regression, noisy)


def _raw(base: Sequence[Row], new: Sequence[Row]) -> Ratios:
    median = median_ratio(*([row.block_us for row in rows] for rows in (base, new)))
    minimum = minimum_ratio(*([row.minimum_us or 0.0 for row in rows] for rows in (base, new)))
    return Ratios(median, minimum, _verdict(median, minimum))


def _corrected(base: Sequence[Row], new: Sequence[Row], uncertainty: float) -> Ratios:
    """Return the ratios of latencies in units of the yardstick; the median's interval is wider by `uncertainty`.

    Waits for a core are left out already, so that the minima need only have moved to the same side, without their
    interval.
    """
    median = median_ratio(*([yardstick.corrected_samples(row) for row in rows] for rows in (base, new)))
    minimum = minimum_ratio(*([yardstick.corrected_minimum(row) for row in rows] for rows in (base, new)))
    median = median.widened(uncertainty)
    moved = Interval(*[minimum.estimate] * 3).widened(yardstick.SMALLEST_DIFFERENCE)
    return Ratios(median, minimum, _verdict(median, moved))


def _verdict(median: Interval, minimum: Interval) -> str:
    if median.low > 1 and minimum.low > 1:
        return "slower"
    return "faster" if median.high < 1 and minimum.high < 1 else "no change"


def show(comparisons: Sequence[Comparison], console: Console) -> None:
    """Print one line for each comparison, and what to know of them."""
    table = Table(title="new against base, median in milliseconds", title_justify="left")
    yardsticks = any(each.corrected for each in comparisons)
    ratios = ("ratio", "machine", "corrected") if yardsticks else ("ratio",)
    for name in ("model", "target", "runtime", "threads", "base", "new", *ratios, "95 % interval", "min", "verdict"):
        table.add_column(name, overflow="fold")
    for each in comparisons:
        row, told = each.new[0], each.decisive
        (base,), (new,) = summarize(each.base), summarize(each.new)
        values = [each.raw.median.estimate, each.machine, each.corrected and each.corrected.median.estimate]
        table.add_row(
            Text(row.model),  # names may hold what rich takes for markup
            Text(row.target),
            Text(row.runtime),
            str(row.threads),
            milliseconds(base.p50_us),
            milliseconds(new.p50_us),
            *("" if value is None else f"{value:.3f}" for value in values[: len(ratios)]),
            f"{told.median.low:.3f}–{told.median.high:.3f}",
            f"{told.minimum.estimate:.3f}",
            ("REGRESSION" if each.regression else each.verdict) + (" *" if each.noisy else ""),
        )
    console.print(table)
    if yardsticks:
        console.print("machine: the yardstick's own ratio; corrected: processor time in units of the yardstick")
    for line in dict.fromkeys(note for each in comparisons for note in _notes(each)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _notes(comparison: Comparison) -> list[str]:
    """Return what to know before believing a comparison."""
    machine, place = comparison.machine, _place(comparison)
    found = []
    if comparison.noisy:
        found.append(f"* fewer than {FEWEST_REPEATS} quiet repeats on a side: a whole machine's slow hour looks alike")
    if machine is not None and max(machine, 1 / machine) > 1 + yardstick.MOVED:
        least = yardstick.uncertainty(machine)
        found.append(f"{place}: the machine's own speed changed; less than {least:.0%} beyond that cannot be told")
    if machine is None and len(yardstick.kinds((*comparison.base, *comparison.new))) > 1:
        found.append(f"{place}: the sides have different yardsticks, so that the machine's own speed is not left out")
    return found


def _place(comparison: Comparison) -> str:
    row = comparison.new[0]
    return f"{row.model} ({row.runtime}, {row.target})"


def refuse_regressions(comparisons: Sequence[Comparison]) -> None:
    """Raise RefusedError where a comparison is a regression."""
    worse = [
        f"{_place(each)} takes {each.decisive.median.estimate:.3f} × as long" for each in comparisons if each.regression
    ]
    if worse:
        raise RefusedError("; ".join(worse))
