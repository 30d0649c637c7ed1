"""The table that says which layer of a file hurts."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from export import Worker, export_tflite
from export.cli.show import show_layers
from keras_classics import train
from keras_classics.datasets.parts import Dataset


@pytest.mark.parametrize("io", ["int8", pytest.param("float32", marks=pytest.mark.slow)])
def test_every_operation_is_found_in_the_file(
    io: str, mnist: Dataset, tmp_path: Path, worker: Worker, live_in: Callable[[keras.Model, np.ndarray], keras.Model]
) -> None:
    images = mnist.calibration.images(slice(16))
    model = live_in(train.build("mobilenet_v2", mnist), images)
    options = {"calibration": images, "gate": False, "layers": True, "worker": worker}
    exact = export_tflite(model, tmp_path / "float.tflite", **options).layers
    layers = [layer.name for layer in model.layers if not layer.name.endswith(("_norm", "dropout"))]
    told = [name for row in exact["rows"] for name in (*row["fused"], row["operation"])]
    assert told[1:] == [*layers[1:], "predictions/1"]  # an input may be called otherwise
    assert min(row["sqnr_db"] for row in exact["rows"] if row["sqnr_db"] is not None) > 100
    errors = export_tflite(model, tmp_path / "int8.tflite", "int8", io=io, **options).layers
    assert [row["operation"] for row in errors["rows"]] == [row["operation"] for row in exact["rows"]]
    assert errors["samples"] == 8
    assert all(row["sqnr_db"] < 60 for row in errors["rows"] if "CONV" in row["operator"])
    pads = [row for row in errors["rows"] if row["operator"] == "PAD"]
    assert pads
    assert all(row["own_sqnr_db"] is None for row in pads)


def test_the_layer_that_hurts_is_named(
    spoiled: keras.Model, mnist: Dataset, tmp_path: Path, worker: Worker, capsys: pytest.CaptureFixture[str]
) -> None:
    report = export_tflite(
        spoiled,
        tmp_path / "spoiled.tflite",
        "int8",
        calibration=mnist.calibration.images(),
        gate=False,
        layers=True,
        worker=worker,
    )
    rows = {row["operation"]: row for row in report.layers["rows"]}
    assert report.layers["worst_own"] == "down"
    assert rows["f6/1"]["sqnr_db"] > 20 > rows["down"]["sqnr_db"]
    assert rows["f6/1"]["fused"] == ["f6"]
    show_layers(report.layers)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["down"]]
    assert "FULLY_CONNECTED" in line
    assert "*" in line


def test_nothing_is_measured_that_nobody_asked_for(lenet: keras.Model, tmp_path: Path, worker: Worker) -> None:
    report = export_tflite(lenet, tmp_path / "a.tflite", worker=worker)
    assert report.layers is None
    assert "layers" not in report.seconds
