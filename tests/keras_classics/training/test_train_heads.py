"""Training what has more than a softmax at its end: auxiliary heads, and the LeNet-5 of 1998."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from keras_classics import train
from keras_classics.datasets import data
from keras_classics.datasets.parts import Dataset
from keras_classics.training import fitting, measuring


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return data.load("digits", (16, 16, 1))


def two_headed() -> keras.Model:
    keras.utils.set_random_seed(0)
    image = layers.Input((16, 16, 1))
    shared = layers.Dense(32, activation="relu", name="shared")(layers.Flatten()(image))
    main = layers.Dense(10, activation="softmax", name="predictions")(layers.Dense(32, activation="relu")(shared))
    return keras.Model(image, [main, layers.Dense(10, activation="softmax", name="auxiliary_1")(shared)])


@pytest.mark.backends
def test_heads_are_trained_together_and_the_first_is_measured(digits: Dataset) -> None:
    model = two_headed()
    before = model.get_layer("auxiliary_1").get_weights()[0]
    history = fitting.fit(model, digits, epochs=4, progress=False)
    assert history["loss"][-1] < history["loss"][0]
    assert history["val_accuracy"][-1] > 0.7
    assert measuring.accuracy(model, digits.validation) == pytest.approx(history["val_accuracy"][-1])
    assert not np.allclose(before, model.get_layer("auxiliary_1").get_weights()[0])
    labels, scores = digits.validation.labels, measuring.predict(model, digits.validation)
    expected = -np.log(scores[np.arange(len(labels)), labels] + 1e-7).mean()
    assert history["val_loss"][-1] == pytest.approx(expected, rel=1e-3)


def test_the_network_without_heads_is_saved_beside_the_whole(digits: Dataset, tmp_path: Path) -> None:
    two_headed().save(tmp_path / "heads.keras")
    arguments = [tmp_path / "heads.keras", "--data", "digits", "--input-shape", 16, 16, 1, "--epochs", 1]
    assert train.main([*map(str, arguments), "--output", str(tmp_path / "run")]) == 0
    whole = keras.saving.load_model(tmp_path / "run" / "model.keras")
    alone = keras.saving.load_model(tmp_path / "run" / "inference.keras")
    assert (len(whole.outputs), len(alone.outputs)) == (2, 1)
    images = digits.test.images(slice(8))
    np.testing.assert_allclose(alone.predict(images, verbose=0), whole.predict(images, verbose=0)[0], atol=1e-6)
    for name in ("model", "inference"):
        assert json.loads((tmp_path / "run" / f"{name}.preprocess.json").read_text())["input_range"] == [0, 1]


def test_lenet_5_of_1998_learns_by_its_own_loss() -> None:
    digits = data.load("digits")
    model = train.build("lenet5", digits, seed=0, variant="1998")
    fitting.fit(model, digits, epochs=10, progress=False)
    assert type(model.loss[0]).__name__ == "MaximumAPosteriori"
    assert measuring.accuracy(model, digits.test) > 0.85
