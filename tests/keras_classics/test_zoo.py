"""The tables that `python -m keras_classics` prints."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

import keras_classics as kc
from keras_classics import __main__ as command
from keras_classics import registry


@pytest.fixture(autouse=True)
def _forget_models() -> Iterator[None]:
    yield
    keras.backend.clear_session()


def test_the_zoo_names_every_model_with_its_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    for name in kc.list_models():
        assert f"{registry.entry(name).counts.parameters:,}" in rows[name]
        assert f"{registry.entry(name).counts.macs:,}" in rows[name]
    assert "He et al. 2015" in rows["resnet50"]
    assert "76.13 %" in rows["resnet50"]
    assert "70.42 %" in rows["mobilenet_v1"]
    assert "%" not in rows["lenet5"]


def test_the_cost_of_a_model_on_the_terminal_and_as_csv(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert command.main(["cost", "lenet5", "--csv", str(tmp_path / "lenet5.csv")]) == 0
    printed = capsys.readouterr().out
    assert "416,520" in printed
    assert "61,706" in printed
    with (tmp_path / "lenet5.csv").open(encoding="utf-8", newline="") as file:
        assert [row["name"] for row in csv.DictReader(file)] == [
            "c1",
            "s2",
            "c3",
            "s4",
            "flatten",
            "c5",
            "f6",
            "predictions",
        ]


def test_the_cost_at_another_size(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["cost", "mobilenet_v1", "--input-shape", "128", "128", "3", "--classes", "10"]) == 0
    assert f"{kc.model_cost(kc.MobileNetV1((128, 128, 3), 10)).macs:,}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cost", "lenet"], "did you mean lenet5"),
        (["cost", "lenet5", "--input-shape", "3", "3", "1"], "at least 16×16"),
        (["price"], "unknown command 'price'"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_2(
    arguments: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
