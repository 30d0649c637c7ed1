"""Preprocessing of published weights: in the range of the input, or in the exported graph itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_classics as kc
from export import export_tflite
from export.cli.arguments import parser
from export.cli.job import _published_range
from export.client import Worker
from export.data.input_range import recorded_range


@pytest.mark.parametrize(
    ("model", "weights", "limits"),
    [
        ("mobilenet_v1", "imagenet", (-1, 1)),
        ("resnet18", "imagenet", (-0.485 / 0.229, (1 - 0.406) / 0.225)),
        ("vgg16", "imagenet-keras", (-123.68, 255 - 103.939)),
    ],
)
def test_published_names_bring_their_range(model: str, weights: str, limits: Any, tmp_path: Path) -> None:
    given = _published_range(parser().parse_args([model, "--weights", weights]))
    assert given.limits == pytest.approx(limits)
    description = kc.preprocessing_for(model, weights).description()
    (tmp_path / "model.preprocess.json").write_text(json.dumps(description))
    recorded = recorded_range(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).random((1, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(recorded.scale(pixels), given.scale(pixels))


def test_normalization_is_exported_in_the_graph(worker: Worker, tmp_path: Path) -> None:
    network = kc.MobileNetV2((32, 32, 3), alpha=0.35, classes=4)
    normalization = kc.preprocessing_for("mobilenet_v2").normalization(pixel_maximum=255)
    whole = keras.Sequential([keras.Input((32, 32, 3)), normalization, network])
    blocks = np.random.default_rng(0).integers(256, size=(8, 8, 8, 3))
    photos = blocks.repeat(4, axis=1).repeat(4, axis=2).astype(np.float32)
    report = export_tflite(
        whole, tmp_path / "whole.tflite", "int8", calibration=photos, input_range=(0, 255), gate=False, worker=worker
    )
    assert report.fully_integer
    residual_sums = sum(isinstance(layer, keras.layers.Add) for layer in network.layers)
    assert report.ops["ADD"] == residual_sums + 1  # the mean, which zero padding keeps out of the first kernel
    assert "MUL" not in report.ops  # the deviation, which that kernel has taken in
    assert report.input["scale"] == pytest.approx(1)
