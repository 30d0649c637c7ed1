"""What the benchmarks share: figures that are kept, tables, timing in turns, and networks that pass their input on."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import keras
import numpy as np
import pytest


def test_kept_figures_are_measured_once(tmp_path: Path, load: Callable[[str], ModuleType]) -> None:
    kept, calls = load("published").kept, []

    def measure(value: int) -> dict[str, int]:
        calls.append(value)
        return {"value": value}

    record = tmp_path / "folder" / "figures.json"
    record.parent.mkdir()
    assert kept(record, measure, 1) == {"value": 1}
    assert kept(record, measure, 2) == {"value": 1}
    assert kept(record, measure, 3, again=True) == {"value": 3}
    assert calls == [1, 3]


def test_what_fails_is_not_kept(tmp_path: Path, load: Callable[[str], ModuleType]) -> None:
    def measure() -> dict[str, int]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        load("published").kept(tmp_path / "figures.json", measure)
    assert not list(tmp_path.iterdir())


def test_published_text_and_figures(
    tmp_path: Path, load: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    published = load("published")
    table = published.table(("model", "ms"), [["a", "1"], ["b", "2"]])
    published.publish(tmp_path, "latency", ["Measured.", table], {"a": 1})
    expected = "Measured.\n\n| model | ms |\n| --- | --- |\n| a | 1 |\n| b | 2 |\n"
    assert (tmp_path / "latency.md").read_text() == expected
    assert json.loads((tmp_path / "latency.json").read_text()) == {"a": 1}
    assert "| b | 2 |" in capsys.readouterr().out


def test_a_turn_has_two_calls_at_least(load: Callable[[str], ModuleType]) -> None:
    calls: list[int] = []
    seconds = load("interleaved").fastest_within(lambda: calls.append(1), 0.0)()
    assert len(calls) == 2
    assert seconds > 0


def test_ratio_is_that_of_the_same_round(load: Callable[[str], ModuleType]) -> None:
    found = {"reference": [1.0, 10.0, 100.0], "other": [2.0, 20.0, 200.0]}
    ratio = load("interleaved").ratios(found, "reference")["other"]
    assert (ratio.ratio, ratio.low, ratio.high) == (2, 2, 2)
    assert ratio.seconds == 20


def test_footnotes_are_merged_where_they_differ_in_load_alone(load: Callable[[str], ModuleType]) -> None:
    merged = load("interleaved").merged
    one = "2026-11-23, A, 2 cores, load {}; Python 3.11."
    assert merged([one.format("1.5"), one.format("0.9"), one.format("1.2")]) == one.format("0.9 to 1.5")
    assert merged([one.format("1.0")] * 2) == one.format("1.0")
    later = "2026-11-24, A, 2 cores, load 1.0; Python 3.11."
    assert merged([one.format("1.0"), later]) == f"{one.format('1.0')}\n\n{later}"


def test_live_in_gives_the_statistics_of_the_images(load: Callable[[str], ModuleType]) -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.BatchNormalization(momentum=0.9)(inputs)
    model = keras.Model(inputs, keras.layers.Conv2D(4, 3)(x))
    images = np.random.default_rng(0).normal(5, 2, (16, 8, 8, 3)).astype(np.float32)
    normalization = load("random_weights").live_in(model, images).layers[1]
    mean, variance = map(keras.ops.convert_to_numpy, (normalization.moving_mean, normalization.moving_variance))
    np.testing.assert_allclose(mean, images.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(variance, images.var((0, 1, 2)), rtol=1e-3)
    assert normalization.momentum == 0.9
