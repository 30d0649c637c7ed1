"""Comparisons on a machine whose own speed changes, with rows made for it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from android_bench import noise, report, results, yardstick
from android_bench.__main__ import main
from android_bench.compare import Comparison, compare
from android_bench.document import Document
from android_bench.results import Row

KIND = "NumPy 2.0.0, 64×64 float32 product"
REPEATS, RUNS, BURSTS = 5, 60, 30


def measure(bursts: Sequence[float] | np.ndarray, kind: str = KIND) -> dict[str, Any]:
    """A yardstick of bursts that are spread evenly over `RUNS` samples."""
    after = np.linspace(1, RUNS, len(bursts)).round().astype(int).tolist()
    return {"kind": kind, "after": after, "bursts_us": list(map(float, bursts))}


@pytest.fixture
def measured(make_row: Callable[..., Row]) -> Callable[..., list[Row]]:
    """A function that returns rows of a model with a yardstick, on a machine of some slowness.

    `response` is the share (an exponent) of that slowness that reaches the model.
    """

    def build(
        generator: np.random.Generator, median: float, slowness: float = 1.0, response: float = 1.0, **changes: Any
    ) -> list[Row]:
        rows = []
        for repeat in range(REPEATS):
            level = median * slowness**response * generator.normal(1.0, 0.005)
            bursts = 5.0 * slowness * generator.normal(1.0, 0.01, BURSTS)
            samples = (level * (1 + generator.exponential(0.02, RUNS))).tolist()
            known = {"samples_us": samples, "cpu_us": samples, "yardstick": measure(bursts), **changes}
            rows.append(make_row(repeat=repeat, **known))
        return rows

    return build


def comparisons(
    measured: Callable[..., list[Row]], slowdown: float, response: float = 1.0, drift: float = 0.12, pairs: int = 40
) -> list[Comparison]:
    """Each side of a pair meets its own speed of the machine, up to `drift` slower or faster."""
    generator = np.random.default_rng(1)
    found = []
    for _ in range(pairs):
        base, new = (
            measured(generator, median, 1 + generator.uniform(-drift, drift), response)
            for median in (500.0, 500.0 * slowdown)
        )
        found += compare(base, new, max_regression=0.05)
    return found


def test_a_drifting_machine_does_not_make_the_same_file_slower_or_faster(measured: Callable[..., list[Row]]) -> None:
    found = comparisons(measured, 1.0)
    assert sum(each.verdict == "no change" for each in found) >= 38
    assert sum(each.raw.verdict == "no change" for each in found) < 20


def test_eight_percent_slower_is_caught_on_a_drifting_machine(measured: Callable[..., list[Row]]) -> None:
    assert sum(each.verdict == "slower" for each in comparisons(measured, 1.08, drift=0.08)) >= 38


def test_five_percent_slower_is_caught_where_the_machine_hardly_moved(measured: Callable[..., list[Row]]) -> None:
    assert sum(each.regression for each in comparisons(measured, 1.05, drift=0.02)) >= 38


@pytest.mark.parametrize("response", [0.7, 1.3])
def test_a_model_that_follows_the_yardstick_by_about_a_third_more_or_less_gets_no_verdict(
    measured: Callable[..., list[Row]], response: float
) -> None:
    found = comparisons(measured, 1.0, response)
    assert sum(each.verdict == "no change" for each in found) >= 38


def test_below_the_smallest_difference_nothing_is_told(measured: Callable[..., list[Row]]) -> None:
    generator = np.random.default_rng(2)
    least = yardstick.SMALLEST_DIFFERENCE
    for slowdown, verdict in ((1 + 0.8 * least, "no change"), (1 + 3 * least, "slower"), (1 - 3 * least, "faster")):
        exact = {"samples_us": [500.0, 501.0], "cpu_us": None, "yardstick": measure([5.0])}
        slower = {**exact, "samples_us": [500.0 * slowdown, 501.0 * slowdown]}
        base, new = (measured(generator, 500.0, **each) for each in (exact, slower))
        (comparison,) = compare(base, new, 0.05)
        assert comparison.verdict == verdict


def test_a_clock_twice_as_fast_hides_no_more_and_shows_no_more_than_the_formula_says(
    measured: Callable[..., list[Row]],
) -> None:
    generator = np.random.default_rng(3)
    (same,) = compare(measured(generator, 500.0), measured(generator, 500.0, slowness=0.5), 0.05)
    assert same.raw.verdict == "faster"
    assert same.verdict == "no change"
    (slower,) = compare(measured(generator, 500.0), measured(generator, 800.0, slowness=0.5), 0.05)
    assert slower.raw.verdict == "faster"
    assert slower.verdict == "slower"


def test_speed_that_changes_within_a_repeat_is_taken_out_sample_by_sample(make_row: Callable[..., Row]) -> None:
    speed = np.where(np.arange(RUNS) < RUNS / 2, 1.0, 1.4)
    row = make_row(samples_us=(500 * speed).tolist(), cpu_us=(500 * speed).tolist(), yardstick=measure(5 * speed[::2]))
    corrected = yardstick.corrected_samples(row)
    assert np.percentile(corrected, 10) == pytest.approx(100)
    assert np.percentile(corrected, 90) == pytest.approx(100)


def test_time_that_others_took_of_the_core_is_left_out(make_row: Callable[..., Row]) -> None:
    row = make_row(samples_us=[500.0, 900.0, 500.0], cpu_us=[501.0, 510.0, 502.0], yardstick=measure([5.0, 5.0]))
    assert yardstick.corrected_samples(row).tolist() == [100.0, 102.0, 100.0]
    assert yardstick.corrected_minimum(row) == 100.0


def test_a_clock_too_coarse_for_processor_time_leaves_the_wall_time(make_row: Callable[..., Row]) -> None:
    row = make_row(samples_us=[500.0, 510.0], cpu_us=[0.0, 10_000.0], yardstick=measure([5.0, 5.0]))
    assert yardstick.corrected_samples(row).tolist() == [100.0, 102.0]


def test_a_median_that_moves_without_its_minimum_is_no_change(measured: Callable[..., list[Row]]) -> None:
    generator = np.random.default_rng(6)
    contended = [500.0 if number % 4 == 0 else 600.0 for number in range(RUNS)]
    base = measured(generator, 500.0, samples_us=[500.0] * RUNS, cpu_us=None)
    new = measured(generator, 500.0, samples_us=contended, cpu_us=None, yardstick=base[0].yardstick)
    (comparison,) = compare([*base[:1] * 3], new, 0.05)
    assert comparison.corrected.median.low > 1.1
    assert comparison.verdict == "no change"


def test_only_yardsticks_of_one_kind_correct_and_the_difference_is_said(
    measured: Callable[..., list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(4)
    base = measured(generator, 500.0)
    other = measured(generator, 500.0, yardstick=measure([9.0], "NumPy 3.0.0, 64×64 float32 product"))
    (comparison,) = compare(base, other, 0.05)
    assert comparison.corrected is comparison.machine is None
    assert comparison.decisive == comparison.raw
    without = measured(generator, 500.0, yardstick=None)
    assert compare(base, without, 0.05)[0].corrected is None
    paths = [tmp_path / "base.jsonl", tmp_path / "new.jsonl"]
    results.append(paths[0], base)
    results.append(paths[1], other)
    assert main(["compare", *map(str, paths)]) == 0
    printed = capsys.readouterr().out
    assert "different yardsticks" in printed
    assert "corrected" not in printed


def test_the_table_shows_the_machine_beside_the_ratios(
    measured: Callable[..., list[Row]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generator = np.random.default_rng(5)
    base, new = tmp_path / "base.jsonl", tmp_path / "new.jsonl"
    results.append(base, measured(generator, 500.0))
    results.append(new, measured(generator, 500.0, slowness=1.1))
    assert main(["compare", str(base), str(new)]) == 0
    printed = capsys.readouterr().out
    assert "corrected" in printed
    assert "1.1" in printed
    assert "no change" in printed
    assert "the machine's own speed changed; less than 4% beyond that cannot be told" in printed


def test_a_machine_that_slows_meanwhile_makes_the_row_noisy(make_document: Callable[..., Document]) -> None:
    assert noise.reasons(make_document(yardstick=measure([5.0] * 30)), threads=1) == []
    (reason,) = noise.reasons(make_document(yardstick=measure([5.0] * 15 + [5.5] * 15)), threads=1)
    assert reason == "uneven machine: its own speed moved by 10% meanwhile"
    assert noise.reasons(make_document(yardstick=measure([5.0, 9.0])), threads=1) == []


def test_page_and_markdown_mention_a_machine_that_moved_between_repeats(
    make_row: Callable[..., Row], tmp_path: Path
) -> None:
    rows = [make_row(repeat=number, yardstick=measure([speed])) for number, speed in enumerate((5.0, 5.2, 6.0))]
    report.write(rows, tmp_path / "report.html")
    assert "own speed moved by 20% between its repeats" in (tmp_path / "report.html").read_text()
    head, _, line = (tmp_path / "report.md").read_text().splitlines()[-3:]
    assert dict(zip(head.split(" | "), line.split(" | "), strict=True))["machine moved"] == "20%"
    report.write(rows[:2], tmp_path / "report.html")
    assert "own speed moved" not in (tmp_path / "report.html").read_text()
