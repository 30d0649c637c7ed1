from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from android_bench import compare, results, stats
from android_bench.__main__ import main
from android_bench.errors import InputError
from android_bench.results import Row


def samples(generator: np.random.Generator, median: float, repeats: int = 5, runs: int = 60) -> list[list[float]]:
    """Latencies of some processes: each has a level of its own, and single runs that other programs delay."""
    levels = median * generator.normal(1.0, 0.008, repeats)
    delays = generator.exponential(0.02, (repeats, runs))
    return (levels[:, None] * (1 + delays)).tolist()


@pytest.fixture
def rows(make_row: Callable[..., Row]) -> Callable[..., list[Row]]:
    def build(blocks: list[list[float]], **changes: Any) -> list[Row]:
        return [make_row(samples_us=block, repeat=number, **changes) for number, block in enumerate(blocks)]

    return build


def verdicts(rows: Callable[..., list[Row]], slowdown: float, pairs: int = 40) -> list[compare.Comparison]:
    generator = np.random.default_rng(1)
    found = []
    for _ in range(pairs):
        base = rows(samples(generator, 500.0))
        new = rows(samples(generator, 500.0 * slowdown))
        found += compare.compare(base, new, max_regression=0.05)
    return found


def test_two_runs_of_the_same_are_no_change_nineteen_times_of_twenty(rows: Callable[..., list[Row]]) -> None:
    assert sum(each.verdict == "no change" for each in verdicts(rows, 1.0)) >= 38


def test_five_percent_slower_is_caught(rows: Callable[..., list[Row]]) -> None:
    assert sum(each.regression for each in verdicts(rows, 1.05)) >= 38


def test_one_percent_slower_is_allowed(rows: Callable[..., list[Row]]) -> None:
    assert not any(each.regression for each in verdicts(rows, 1.01))


def test_ten_percent_faster_is_seen_and_no_regression(rows: Callable[..., list[Row]]) -> None:
    found = verdicts(rows, 0.9, pairs=20)
    assert {each.verdict for each in found} == {"faster"}
    assert not any(each.regression for each in found)


def test_contention_that_leaves_the_minimum_is_no_regression(rows: Callable[..., list[Row]]) -> None:
    generator = np.random.default_rng(2)
    base = samples(generator, 500.0)
    contended = [[value if number % 4 == 0 else value * 1.5 for number, value in enumerate(block)] for block in base]
    (comparison,) = compare.compare(rows(base), rows(contended), max_regression=0.05)
    assert comparison.raw.median.low > 1.3
    assert comparison.verdict == "no change"


def test_quiet_repeats_decide_where_there_are_enough(rows: Callable[..., list[Row]]) -> None:
    quiet, slow = [[500.0, 501.0]] * 3, [[800.0, 801.0]] * 2
    base = rows(quiet)
    new = rows(quiet) + rows(slow, noisy=["busy machine: 90"])
    (comparison,) = compare.compare(base, new, max_regression=0.05)
    assert comparison.verdict == "no change"
    assert len(comparison.new) == 3
    assert not comparison.noisy
    (comparison,) = compare.compare(base, rows(slow + quiet[:1], noisy=["busy machine: 90"]), max_regression=0.05)
    assert comparison.noisy


def test_the_latest_file_of_a_name_counts(rows: Callable[..., list[Row]]) -> None:
    old = rows([[900.0] * 5] * 3, model_sha256="a" * 64)
    new = rows([[500.0, 501.0]] * 3, model_sha256="b" * 64)
    (comparison,) = compare.compare(new, old + new, max_regression=0.05)
    assert len(comparison.new) == 3
    assert comparison.raw.median.estimate == 1.0


def test_nothing_shared_and_too_few_repeats_are_refused(rows: Callable[..., list[Row]]) -> None:
    with pytest.raises(InputError, match="share no target"):
        compare.compare(rows([[1.0]] * 3), rows([[1.0]] * 3, model="other"), 0.05)
    with pytest.raises(InputError, match="2 repeats"):
        compare.compare(rows([[1.0]] * 3), rows([[1.0]] * 2), 0.05)


def test_exit_codes_and_one_line(
    rows: Callable[..., list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base, same, slow = (tmp_path / name for name in ("base.jsonl", "same.jsonl", "slow.jsonl"))
    generator = np.random.default_rng(3)
    results.append(base, rows(samples(generator, 500.0)))
    results.append(same, rows(samples(generator, 500.0)))
    results.append(slow, rows(samples(generator, 600.0)))
    assert main(["compare", str(base), str(same)]) == 0
    assert "no change" in capsys.readouterr().out
    assert main(["compare", str(base), str(slow)]) == 3
    printed = capsys.readouterr()
    assert "REGRESSION" in printed.out
    assert printed.err.startswith("refused: lenet (litert, local) takes 1.")
    assert len(printed.err.splitlines()) == 1
    assert main(["compare", str(base), str(slow), "--max-regression", "0.5"]) == 0
    assert main(["compare", str(base), str(tmp_path / "none.jsonl")]) == 2


def test_an_interval_holds_its_estimate_and_one_block_has_none() -> None:
    generator = np.random.default_rng(4)
    interval = stats.percentile_interval(samples(generator, 500.0), 90)
    assert interval.low < interval.estimate < interval.high
    assert stats.percentile_interval([[1.0, 2.0]], 50) is None


def test_each_process_weighs_the_same_and_the_interval_holds_the_percentile() -> None:
    blocks = [[100.0] * 90, [200.0] * 10, [200.0] * 10]
    assert stats.pooled_percentile(blocks, 50) == 200.0
    assert stats.pooled_percentile([[1.0, 2.0], [3.0, 4.0]], 50) == 2.5
    generator = np.random.default_rng(5)
    uneven = [generator.normal(400, 10, 900), *(generator.normal(500, 10, 50) for _ in range(4))]
    interval = stats.percentile_interval([block.tolist() for block in uneven], 50)
    assert interval.low <= interval.estimate <= interval.high
