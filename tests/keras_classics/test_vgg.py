"""VGG against its paper's Table 1 and the networks of keras.applications."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest

import keras_classics as kc


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_as_many_layers_with_weights_as_the_name_says(depth: int, abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model(f"vgg{depth}")
    assert sum(bool(layer.weights) for layer in model.layers) == depth
    assert model.get_layer("stage5_pool").output.shape[1:] == (7, 7, 512)


def test_batch_norm_keeps_the_biases(abstract_model: Callable[..., keras.Model]) -> None:
    model = abstract_model("vgg16", batch_norm=True)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) == sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers) == 13
    assert all(layer.use_bias for layer in convolutions)


@pytest.mark.parametrize("depth", [16, pytest.param(19, marks=pytest.mark.slow)])
def test_equals_keras_applications(
    depth: int, randomize: Callable[..., keras.Model], outputs: Callable[..., list[np.ndarray]]
) -> None:
    constructor = {16: keras.applications.VGG16, 19: keras.applications.VGG19}[depth]
    theirs = randomize(constructor(weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None))
    ours = kc.create_model(f"vgg{depth}", input_shape=(32, 32, 3), classes=10, classifier_activation=None)
    for layer in theirs.layers:
        if layer.weights:
            name = layer.name.replace("block", "stage").replace("conv", "layer")
            own = name + "_conv" if name.startswith("stage") else name
            ours.get_layer(own).set_weights(layer.get_weights())
    (given,), (expected,) = outputs(ours), outputs(theirs)
    assert np.abs(given - expected).max() <= 1e-4 * np.abs(expected).max()
