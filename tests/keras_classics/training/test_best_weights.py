"""The best weights, the end of a training that no longer improves, and one that has learned nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from keras_classics import train
from keras_classics.datasets.parts import Dataset, Part
from keras_classics.training import fitting, measuring
from keras_classics.training.checkpoint import Checkpoint

Network = Callable[..., keras.Model]


@pytest.fixture
def misleading(few_digits: Dataset) -> Dataset:
    """Validation labels that are all wrong, so that accuracy falls from that of chance."""
    labels = (few_digits.validation.labels + 1) % 10
    return replace(few_digits, validation=Part(labels, few_digits.validation.source))


@pytest.mark.backends
def test_the_best_epoch_is_kept_also_by_a_training_that_goes_on(
    misleading: Dataset, network: Network, tmp_path: Path, same: Callable[[keras.Model, keras.Model], bool]
) -> None:
    model, resumed = network(), network()
    history = fitting.fit(model, misleading, epochs=6, keep_best=True, progress=False)["val_accuracy"]
    assert max(history) > history[-1]  # else this proves nothing
    assert measuring.accuracy(model, misleading.validation) == max(history)
    checkpoint = Checkpoint(tmp_path / "checkpoint.npz", {})
    fitting.fit(network(), misleading, epochs=6, keep_best=True, progress=False, checkpoint=checkpoint)
    fitting.fit(resumed, misleading, epochs=6, keep_best=True, progress=False, checkpoint=checkpoint, resume=True)
    assert same(model, resumed)


def test_a_training_that_no_longer_improves_ends(misleading: Dataset, network: Network) -> None:
    accuracies = fitting.fit(network(), misleading, epochs=40, patience=3, progress=False)["val_accuracy"]
    assert len(accuracies) < 40
    assert accuracies.index(max(accuracies)) == len(accuracies) - 4


def test_the_share_of_the_largest_class(digits: Dataset) -> None:
    labels = np.array([0, 2, 2, 2, 1])
    assert measuring.largest_share(Part(labels, digits.train.source)) == 0.6


def test_a_model_that_says_one_class_alone_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for name, count in (("many", 24), ("few", 8)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(count):
            noise = random.integers(0, 256, (16, 16), np.uint8)
            Image.fromarray(noise).save(tmp_path / "photos" / name / f"{number}.png")
    arguments = ["lenet5", "--data", str(tmp_path / "photos"), "--epochs", "1", "--learning-rate", "1e-9"]
    keras.utils.set_random_seed(0)
    image = keras.layers.Input((16, 16, 1))
    flat = keras.layers.Flatten()(image)
    bias = keras.initializers.Constant([0.0, 5.0])
    output = keras.layers.Dense(2, "softmax", kernel_initializer="zeros", bias_initializer=bias)(flat)
    keras.Model(image, output).save(tmp_path / "constant.keras")
    arguments[0] = str(tmp_path / "constant.keras")
    assert train.main([*arguments, "--output", str(tmp_path / "run")]) == 0
    assert "is the share of the largest class" in capsys.readouterr().err
