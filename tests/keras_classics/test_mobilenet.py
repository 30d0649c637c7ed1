"""The MobileNets against their papers' tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics import blocks


def test_v2_stages_have_the_shapes_of_table_2(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("mobilenet_v2")
    ends = [
        model.get_layer(f"stage{stage}_block{repeats}_project_norm")
        for stage, repeats in zip(range(1, 8), (1, 2, 3, 4, 3, 3, 1), strict=True)
    ]
    assert [layer.output.shape[1:] for layer in ends] == [
        (112, 112, 16),
        (56, 56, 24),
        (28, 28, 32),
        (14, 14, 64),
        (14, 14, 96),
        (7, 7, 160),
        (7, 7, 320),
    ]


def test_v2_adds_where_stride_is_one_and_channels_agree(abstract_model: Callable[..., keras.Model]) -> None:
    added = [layer.name for layer in abstract_model("mobilenet_v2").layers if layer.name.endswith("_add")]
    assert len(added) == 10
    assert not any(name.startswith(("stage1_", "stage7_")) or "_block1_" in name for name in added)


def test_v2_bottlenecks_are_linear(abstract_model: Callable[..., keras.Model]) -> None:
    names = {layer.name for layer in abstract_model("mobilenet_v2").layers}
    assert not any(name.endswith("_project_relu") for name in names)


def test_v2_slim_for_small_images() -> None:
    model = kc.MobileNetV2(input_shape=(32, 32, 1), classes=10, alpha=0.35, stem_stride=1)
    assert kc.model_cost(model).parameters == 422_730


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), "1"])
def test_a_senseless_width_is_refused(alpha: Any) -> None:
    with pytest.raises(ValueError, match="alpha"):
        kc.MobileNetV2(input_shape=(32, 32, 3), alpha=alpha)


def test_channels_round_to_eight_and_never_lose_a_tenth() -> None:
    assert [blocks.make_divisible(count) for count in (8, 11, 12, 24 * 0.35, 90, 32 * 0.35, 3)] == [
        8,
        16,
        16,
        8,
        88,
        16,
        8,
    ]


def test_v1_has_thirteen_pairs_with_the_shapes_of_table_1(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("mobilenet_v1")
    ends = [model.get_layer(f"block{block}_pointwise_conv").output.shape[1:] for block in (1, 3, 5, 11, 13)]
    assert ends == [(112, 112, 64), (56, 56, 128), (28, 28, 256), (14, 14, 512), (7, 7, 1024)]
    assert sum(isinstance(layer, keras.layers.DepthwiseConv2D) for layer in model.layers) == 13


@pytest.mark.parametrize(
    ("alpha", "size", "mega_macs"),
    [(1.0, 224, 569), (0.75, 224, 325), (0.5, 224, 149), (0.25, 224, 41), (1.0, 128, 186)],
)
def test_v1_multipliers_cost_what_tables_6_and_7_say(
    alpha: Any, size: int, mega_macs: int, abstract_model: Callable[..., keras.Model]
) -> None:
    result = kc.model_cost(abstract_model("mobilenet_v1", alpha=alpha, input_shape=(size, size, 3)))
    assert round(result.macs / 1e6) == pytest.approx(mega_macs, abs=1)


def test_v1_equals_keras_applications(
    randomize: Callable[..., keras.Model], outputs: Callable[..., list[np.ndarray]]
) -> None:
    theirs = randomize(
        keras.applications.MobileNet(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    )
    ours = kc.MobileNetV1(input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    for layer in theirs.layers:
        if not layer.weights:
            continue
        weights = layer.get_weights()
        if layer.name == "conv_preds":
            ours.get_layer("predictions").set_weights([weights[0][0, 0], weights[1]])
            continue
        kind = "norm" if layer.name.endswith("_bn") else "conv"
        name = layer.name.removesuffix("_bn")
        part = "stem" if name == "conv1" else "block{2}_{1}".format(*name.split("_"))
        part = part.replace("_dw", "_depthwise").replace("_pw", "_pointwise")
        ours.get_layer(f"{part}_{kind}").set_weights(weights)
    assert ours.count_params() == theirs.count_params()
    (given,), (expected,) = outputs(ours), outputs(theirs)
    assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max()


def test_v2_equals_keras_applications(
    randomize: Callable[..., keras.Model], outputs: Callable[..., list[np.ndarray]]
) -> None:
    theirs = randomize(
        keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    )
    ours = kc.MobileNetV2(input_shape=(64, 64, 3), classes=10, classifier_activation=None, epsilon=1e-3, padding="same")
    ours.set_weights(theirs.get_weights())
    (given,), (expected,) = outputs(ours), outputs(theirs)
    assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max()
