"""Models with published weights are exported in the range that these were trained on."""

from __future__ import annotations

import json

import numpy as np
import pytest

import keras_classics as kc
from export.command import parser
from export.inputs import recorded_range
from export.prepare import _published_range


@pytest.mark.parametrize(
    ("model", "weights", "limits"),
    [
        ("mobilenet_v1", "imagenet", (-1, 1)),
        ("resnet18", "imagenet", (-0.485 / 0.229, (1 - 0.406) / 0.225)),
        ("vgg16", "imagenet-keras", (-123.68, 255 - 103.939)),
    ],
)
def test_published_names_bring_their_range(model, weights, limits, tmp_path):
    given = _published_range(parser().parse_args([model, "--weights", weights]))
    assert given.limits == pytest.approx(limits)
    description = kc.preprocessing_for(model, weights).description()
    (tmp_path / "model.preprocess.json").write_text(json.dumps(description))
    recorded = recorded_range(tmp_path / "model.keras")
    pixels = np.random.default_rng(0).random((1, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(recorded.scale(pixels), given.scale(pixels))
