"""What every architecture and variant does alike, on each backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import keras_classics as kc
from keras_classics.layers import EuclideanRadialBasisFunction

pytestmark = pytest.mark.backends


def test_a_keras_file_brings_the_same_model_back(
    variant: Callable[..., keras.Model],
    randomize: Callable[..., keras.Model],
    outputs: Callable[..., list[np.ndarray]],
    tmp_path: Path,
) -> None:
    model = randomize(variant())
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    for given, expected in zip(outputs(again), outputs(model), strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)


def test_a_training_step_lowers_the_loss_and_reaches_every_weight(variant: Callable[..., keras.Model]) -> None:
    keras.utils.set_random_seed(0)
    model = variant()
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    original = isinstance(model.get_layer("predictions"), EuclideanRadialBasisFunction)
    loss = kc.MaximumAPosteriori() if original else keras.losses.SparseCategoricalCrossentropy()
    model.compile(keras.optimizers.SGD(1e-3), loss=[loss] * len(model.outputs), run_eagerly=True)
    images = np.random.default_rng(0).random((4, *model.input_shape[1:]), "float32")
    labels = np.array([0, 1, 2, 0])

    def loss_of(weights: Any) -> float:
        for variable, value in zip(model.trainable_weights, weights, strict=True):
            variable.assign(value)
        given = keras.tree.flatten(model(images, training=True))
        return sum(float(keras.ops.convert_to_numpy(loss(labels, output))) for output in given)

    start = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.trainable_weights]
    model.train_on_batch(images, [labels] * len(model.outputs))
    end = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.trainable_weights]
    for weight, old, new in zip(model.trainable_weights, start, end, strict=True):
        assert np.isfinite(new).all(), weight.path
        assert not np.array_equal(new, old), weight.path
    before = loss_of(start)
    # Batch normalization of a few values bends the loss so much that the step may have to be far shorter.
    shorter = [[old + share * (new - old) for old, new in zip(start, end, strict=True)] for share in (1, 1e-2, 1e-4)]
    assert min(map(loss_of, shorter)) < before


def test_both_data_formats_give_the_same(
    variant: Callable[..., keras.Model], randomize: Callable[..., keras.Model], outputs: Callable[..., list[np.ndarray]]
) -> None:
    if keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no channels_first convolution on processors")
    last = randomize(variant())
    height, width, channels = last.input_shape[1:]
    keras.config.set_image_data_format("channels_first")
    try:
        first = variant(input_shape=(channels, height, width))
        first.set_weights(last.get_weights())
        images = np.random.default_rng(1).random((2, height, width, channels), "float32")
        given = keras.tree.flatten(first(images.transpose(0, 3, 1, 2)))
    finally:
        keras.config.set_image_data_format("channels_last")
    for output, expected in zip(given, outputs(last), strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)


def test_mixed_precision_computes_in_half_and_answers_in_float32(
    variant: Callable[..., keras.Model], randomize: Callable[..., keras.Model], outputs: Callable[..., list[np.ndarray]]
) -> None:
    full = randomize(variant())
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = variant()
    finally:
        keras.config.set_dtype_policy("float32")
    model.set_weights(full.get_weights())
    assert {layer.compute_dtype for layer in model.layers if layer.weights} >= {"bfloat16"}
    for given, expected in zip(outputs(model), outputs(full), strict=True):
        assert given.dtype == np.float32
        assert np.abs(given - expected).max() <= 0.1 * max(1, np.abs(expected).max())
