"""LeNet-5 against its paper's Fig. 2."""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
import numpy as np
import pytest

import keras_classics as kc


def shapes(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {layer.name: layer.output.shape[1:] for layer in model.layers}


def test_modern_layers_have_the_papers_shapes() -> None:
    assert shapes(kc.LeNet5()) == {
        "image": (32, 32, 1),
        "c1": (28, 28, 6),
        "s2": (14, 14, 6),
        "c3": (10, 10, 16),
        "s4": (5, 5, 16),
        "flatten": (400,),
        "c5": (120,),
        "f6": (84,),
        "predictions": (10,),
    }


def test_modern_parameters_and_macs_layer_by_layer() -> None:
    rows = {row.name: (row.parameters, row.macs) for row in kc.model_cost(kc.LeNet5()).layers if row.parameters}
    assert rows == {
        "c1": (156, 117_600),
        "c3": (2_416, 240_000),
        "c5": (48_120, 48_000),
        "f6": (10_164, 10_080),
        "predictions": (850, 840),
    }


def test_without_a_top_it_ends_at_s4() -> None:
    assert kc.LeNet5(include_top=False).output_shape == (None, 5, 5, 16)
    assert kc.LeNet5(include_top=False, pooling="avg").output_shape == (None, 16)


def test_logits_on_request() -> None:
    assert kc.LeNet5(classifier_activation=None).get_layer("predictions").activation.__name__ == "linear"


def test_1998_has_60_000_weights_and_340_908_connections() -> None:
    model = kc.LeNet5(variant="1998")
    rows = {row.name: row for row in kc.model_cost(model).layers}
    weights = {name: row.parameters for name, row in rows.items() if row.parameters}
    assert weights == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert kc.model_cost(model).parameters == kc.model_cost(model).trainable_parameters == 60_000
    # The paper counts biases, and in a subsampling unit four inputs and a bias.
    convolutions = [rows[name].macs + math.prod(rows[name].output_shape) for name in ("c1", "c3", "c5", "f6")]
    subsampling = [5 * math.prod(rows[name].output_shape) for name in ("s2", "s4")]
    assert convolutions == [122_304, 151_600, 48_120, 10_164]
    assert subsampling == [5_880, 2_000]
    assert sum(convolutions) + sum(subsampling) + rows["predictions"].macs == 340_908


def test_1998_keeps_the_papers_shapes() -> None:
    expected = {"c1": (28, 28, 6), "s2": (14, 14, 6), "c3": (10, 10, 16), "s4": (5, 5, 16), "c5": (120,), "f6": (84,)}
    given = shapes(kc.LeNet5(variant="1998"))
    assert {name: given[name] for name in expected} == expected


def test_1998_outputs_are_at_most_zero_and_the_nearest_code_wins(outputs: Callable[..., list[np.ndarray]]) -> None:
    (distances,) = outputs(kc.LeNet5(variant="1998"))
    assert distances.shape == (2, 10)
    assert (distances < 0).all()
    assert np.ptp(distances, axis=-1).min() > 0


def test_1998_takes_at_most_the_ten_digits() -> None:
    assert kc.LeNet5(variant="1998", classes=3).output_shape == (None, 3)
    with pytest.raises(ValueError, match="codes for 10 digits"):
        kc.LeNet5(variant="1998", classes=11)


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="'modern' or '1998'"):
        kc.LeNet5(variant="1989")
