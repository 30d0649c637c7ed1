"""The recipe: what it learns, that it can be repeated, in how many bits, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from keras_classics.datasets.parts import Dataset, Part
from keras_classics.errors import InputError
from keras_classics.training import fitting, measuring
from keras_classics.training.checkpoint import Checkpoint, History


@pytest.mark.backends
def test_training_learns(digits: Dataset, network: Callable[..., keras.Model]) -> None:
    model = network()
    history = fitting.fit(model, digits, epochs=8, progress=False)
    assert history["loss"][-1] < history["loss"][0] / 3
    assert history["val_accuracy"][-1] > 0.9
    assert measuring.accuracy(model, digits.test) > 0.9


@pytest.mark.backends
def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    few_digits: Dataset, network: Callable[..., keras.Model], same: Callable[[keras.Model, keras.Model], bool]
) -> None:
    models = []
    for seed in (1, 1, 2):
        models.append(network(seed=seed))
        fitting.fit(models[-1], few_digits, epochs=2, seed=seed, progress=False)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])


@pytest.mark.backends
@pytest.mark.parametrize("count", [1, 255, 256, 257])
def test_accuracy_counts_every_image_once(digits: Dataset, count: int, network: Callable[..., keras.Model]) -> None:
    model, part = network(), Part(digits.train.labels[:count], digits.train.source)
    scores = keras.ops.convert_to_numpy(model(part.images(), training=False))
    assert measuring.accuracy(model, part) == np.mean(scores.argmax(1) == part.labels)


@pytest.mark.backends
def test_logits_and_probabilities_are_trained_alike(few_digits: Dataset, network: Callable[..., keras.Model]) -> None:
    histories = [
        fitting.fit(network(activation), few_digits, epochs=2, learning_rate=1e-3, progress=False)
        for activation in ("softmax", None)
    ]
    np.testing.assert_allclose(histories[0]["val_loss"], histories[1]["val_loss"], rtol=1e-3)


@pytest.mark.backends
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_computes_in_16_bits_and_leaves_a_float32_model(
    few_digits: Dataset, precision: Any, tmp_path: Path, network: Callable[..., keras.Model]
) -> None:
    model = network()
    seen = []

    class Looking(Checkpoint):
        def save(self, model: keras.Model, history: History) -> None:
            seen.extend(layer.compute_dtype for layer in model.layers)

    history = fitting.fit(
        model,
        few_digits,
        epochs=2,
        mixed_precision=precision,
        checkpoint=Looking(tmp_path / "checkpoint.npz", {}),
        progress=False,
    )
    assert set(seen[:-1]) == {precision, "float32"}
    assert seen[0] == precision
    assert seen[len(model.layers) - 1] == "float32"
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    assert history["loss"][1] < history["loss"][0]
    images = few_digits.validation.images()
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    np.testing.assert_allclose(measuring.predict(model, few_digits.validation), expected, atol=1e-5)


def test_batch_normalization_bears_a_larger_rate(network: Callable[..., keras.Model]) -> None:
    plain = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    assert fitting.default_learning_rate(network()) > fitting.default_learning_rate(plain)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, r"epochs is 0; it takes a whole number of at least 1"),
        ({"epochs": 1, "batch_size": 0}, r"batch size is 0"),
        ({"epochs": 1, "learning_rate": 0.0}, r"learning rate is 0\.0; it takes a number above 0"),
        ({"epochs": 1, "learning_rate": float("nan")}, r"learning rate is nan"),
        (
            {"epochs": 2, "learning_rate": 1e30},
            r"the loss is (nan|inf) at step \d of epoch \d; use a lower learning rate",
        ),
    ],
)
def test_senseless_arguments_are_refused(
    few_digits: Dataset, arguments: Any, message: str, network: Callable[..., keras.Model]
) -> None:
    with pytest.raises(InputError, match=message):
        fitting.fit(network(), few_digits, progress=False, **arguments)


def test_a_model_that_does_not_fit_the_data_is_refused(few_digits: Dataset) -> None:
    def model(shape: tuple[int, ...], classes: int, outputs: int = 1) -> keras.Model:
        image = keras.layers.Input(shape)
        heads = [keras.layers.Dense(classes + i)(keras.layers.Flatten()(image)) for i in range(outputs)]
        return keras.Model(image, heads, name="odd")

    for wrong, message in (
        (model((8, 8, 3), 10), r"odd takes images of shape \(8, 8, 3\) and digits has \(8, 8, 1\)"),
        (model((64,), 10), r"odd takes images of shape \(64,\)"),
        (model((8, 8, 1), 3), r"odd has 3 outputs and digits 10 classes"),
        (model((8, 8, 1), 10, outputs=2), r"odd has 1 inputs and 2 outputs"),
    ):
        with pytest.raises(InputError, match=message):
            fitting.fit(wrong, few_digits, epochs=1, progress=False)


@pytest.mark.backends
def test_an_image_that_vanishes_during_training_is_named(
    few_digits: Dataset, network: Callable[..., keras.Model]
) -> None:
    class Vanishing:
        def pixels(self, indices: np.ndarray) -> np.ndarray:
            raise InputError("gone.png cannot be read as an image")

    broken = replace(few_digits, train=Part(few_digits.train.labels, Vanishing()))
    with pytest.raises(InputError, match=r"^gone\.png cannot be read as an image$"):
        fitting.fit(network(), broken, epochs=1, progress=False)
