"""ResNet against its paper's tables and the network of keras.applications."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics.layers import PaddedIdentity


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152, 20, 32, 44, 56, 110])
def test_as_many_layers_with_weights_as_the_name_says(depth: int, abstract_model: Callable[..., keras.Model]) -> None:
    counted = [
        layer
        for layer in abstract_model(f"resnet{depth}").layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense) and "shortcut" not in layer.name
    ]
    assert len(counted) == depth


def test_stages_have_the_sizes_of_table_1(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("resnet50")
    shapes = [model.get_layer(f"stage{s}_block{b}_relu").output.shape[1:] for s, b in ((1, 3), (2, 4), (3, 6), (4, 3))]
    assert shapes == [(56, 56, 256), (28, 28, 512), (14, 14, 1024), (7, 7, 2048)]


def test_v1_strides_in_the_first_convolution_of_a_bottleneck(abstract_model: Callable[..., keras.Model]) -> None:
    for version, strides in (("v1", (2, 1)), ("v1.5", (1, 2))):
        model = abstract_model("resnet50", version=version)
        parts = [model.get_layer(f"stage2_block1_{part}_conv").strides[0] for part in ("reduce", "spatial")]
        assert tuple(parts) == strides


@pytest.mark.parametrize(("shortcut", "projections", "paddings"), [("A", 0, 3), ("B", 3, 0), ("C", 16, 0)])
def test_shortcut_options_of_resnet34(
    shortcut: str, projections: int, paddings: int, abstract_model: Callable[..., keras.Model]
) -> None:
    model = abstract_model("resnet34", shortcut=shortcut)
    names = [layer.name for layer in model.layers]
    assert sum(name.endswith("_shortcut_conv") for name in names) == projections
    assert sum(isinstance(layer, PaddedIdentity) for layer in model.layers) == paddings
    assert sum(name.endswith("_add") for name in names) == 16


def test_projections_only_add_parameters(abstract_model: Callable[..., keras.Model]) -> None:
    a, b, c = (kc.model_cost(abstract_model("resnet34", shortcut=option)).parameters for option in "ABC")
    assert a < b < c


def test_the_plain_network_differs_by_its_shortcuts_alone(abstract_model: Callable[..., keras.Model]) -> None:
    plain = abstract_model("resnet20", plain=True)
    assert not [layer.name for layer in plain.layers if layer.name.endswith(("_add", "_shortcut"))]
    assert plain.count_params() == abstract_model("resnet20").count_params()


def test_zero_init_residual_starts_blocks_as_identities() -> None:
    model = kc.ResNet20(zero_init_residual=True)
    gammas = [not layer.gamma.numpy().any() for layer in model.layers if layer.name.endswith("_second_norm")]
    assert gammas == [True] * 9


@pytest.mark.parametrize(("argument", "value"), [("version", "v2"), ("shortcut", "D"), ("padding", "valid")])
def test_unknown_options_are_refused(argument: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"{argument} is '{value}'"):
        kc.ResNet18(**{argument: value})


def test_equals_keras_applications(
    randomize: Callable[..., keras.Model], outputs: Callable[..., list[np.ndarray]]
) -> None:
    theirs = randomize(
        keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
    )
    ours = kc.ResNet50(
        input_shape=(64, 64, 3),
        classes=10,
        classifier_activation=None,
        version="v1",
        use_bias=True,
        epsilon=1.001e-5,
    )
    parts = ["shortcut", "reduce", "spatial", "expand"]
    for layer in theirs.layers:
        if not layer.weights:
            continue
        name = layer.name.replace("_bn", "_norm").replace("conv1_", "stem_")
        if layer.name.startswith("conv") and "block" in layer.name:
            stage, block, part, kind = name.split("_")
            name = f"stage{int(stage[4:]) - 1}_{block}_{parts[int(part)]}_{kind}"
        ours.get_layer(name).set_weights(layer.get_weights())
    assert ours.count_params() == theirs.count_params()
    (given,), (expected,) = outputs(ours), outputs(theirs)
    assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max()
